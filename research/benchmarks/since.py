"""Is anything slower than at another commit? Both run by turns, in pairs.

    python -m research.benchmarks.since COMMIT [--runs 15] [--only WORD ...] [--output FILE.json]

For TensorFlow and JAX image to label map (a folded network, one image) and a training step (the
network of a run, with its loss and its batch norms, 2 images), and the LiteRT file, whose bytes are
compared as well. Each side runs in a process of its own with the same packages. "now / then" is the
median of the ratios of the pairs, in brackets their quartiles. Random weights, output stride 16.
"""

import argparse
import hashlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
SIDES = {"efficientnet_lite0": 257, "resnet50": 257, "xception65": 129}  # of the images, pixels
KINDS = {
    "tensorflow": ("label map", "step"),
    "litert": ("label map",),
    "jax": ("label map", "step"),
}
WARM_UP = 3


def serve(backend, kind, backbone):
    """Runs in a process of its own: a line on stdin is one run, its seconds a line on stdout."""
    answers, sys.stdout = sys.stdout, sys.stderr
    call, facts = {"label map": label_map, "step": step}[kind](backend, backbone)
    for _ in range(WARM_UP):
        call()
    print(json.dumps(facts), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        call()
        print(time.perf_counter() - start, file=answers, flush=True)


def label_map(backend, backbone):
    """A function that segments one image, and what is known of it."""
    import keras

    from keras_dup import export, models

    keras.utils.set_random_seed(0)
    image = pixels(1, SIDES[backbone])
    model = models.build(backbone, 21, 16, decoder="dupsampling")
    if backend == "litert":
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.tflite"
            export.litert(model, path, input_size=image.shape[1:3], min_agreement=0, verbose=False)
            content = path.read_bytes()
        from ai_edge_litert.interpreter import Interpreter

        runner = Interpreter(model_content=content, num_threads=len(os.sched_getaffinity(0)))
        runner.allocate_tensors()
        runner.set_tensor(runner.get_input_details()[0]["index"], image)
        return runner.invoke, {"file": hashlib.sha256(content).hexdigest()}
    network = export.fold(model)
    if backend == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda x: network(x, training=False), autograph=False)
        return (lambda: compiled(tf.constant(image)).numpy()), {}
    import jax

    state = [
        [variable.value for variable in variables]
        for variables in (network.trainable_variables, network.non_trainable_variables)
    ]
    compiled = jax.jit(lambda state, x: network.stateless_call(*state, x, training=False)[0])
    return (lambda: jax.block_until_ready(compiled(state, image))), {}


def step(backend, backbone):
    """A function that trains on one batch, and the loss before it, which both sides must have."""
    import keras
    import numpy as np

    from keras_dup import training

    keras.utils.set_random_seed(0)
    side = SIDES[backbone] // 2 + 1
    recipe = training.Recipe(
        name="step",
        num_classes=21,
        backbone=backbone,
        low_level_features=(),
        decoder="dupsampling",
        crop_size=(side, side),
        batch_size=2,
        steps=10,
        learning_rate=1e-6,
    )
    model = training.training_copy(training.build_network(recipe), recipe)
    image = pixels(2, side)
    labels = np.random.default_rng(1).integers(0, 21, (2, side, side)).astype("int32")

    def train():
        return float(model.train_on_batch(image, labels, return_dict=True)["loss"])

    return train, {"loss": train()}


def pixels(images, side):
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (images, side, side, 3)).astype("float32")


def started(tree, program):
    """The process of one side."""
    backend = "jax" if program[0] == "jax" else "tensorflow"
    environment = {"PYTHONPATH": str(tree), "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-W", "ignore", __file__, "--serve", *program]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=os.environ | environment, cwd=tree, **pipes)


def answer(sides, name, program):
    """The next line of a side, which has said itself why there is none."""
    line = sides[name].stdout.readline()
    if not line:
        raise SystemExit(f"since: {', '.join(program)} fails {name}: see above")
    return line


def compared(program, then, now, runs):
    """The row of a program: seconds of both sides, and the ratios of their pairs."""
    sides = {"then": started(then, program), "now": started(now, program)}
    facts = {name: json.loads(answer(sides, name, program)) for name in sides}
    seconds = {name: [] for name in sides}
    for run in range(runs):
        for name in sorted(sides, reverse=run % 2 == 0):  # neither is always the first
            print(file=sides[name].stdin, flush=True)
            seconds[name].append(float(answer(sides, name, program)))
    for process in sides.values():
        process.stdin.close()
        process.wait()
    ratios = [now / then for then, now in zip(*seconds.values(), strict=True)]
    row = {name: statistics.median(values) for name, values in seconds.items()}
    first, ratio, last = statistics.quantiles(ratios, n=4)
    return row | {"ratio": ratio, "quartiles": [first, last], "facts": facts}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", nargs="?")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(*arguments.serve)
    if not arguments.commit:
        parser.error("which commit to compare with?")
    from research.benchmarks.machine import machine

    programs = [(b, kind, name) for name in SIDES for b in KINDS for kind in KINDS[b]]
    programs = [p for p in programs if any(word in " ".join(p) for word in arguments.only)]
    results = {"machine": machine("jax"), "then": arguments.commit, "runs": arguments.runs}
    results["rows"] = rows = {}
    print(f"{'':40}{'then':>9}   {'now':>9}      now / then")
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder) / "then"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", tree, arguments.commit], check=True)
        try:
            for program in programs:
                row = rows[", ".join(program)] = compared(program, tree, ROOT, arguments.runs)
                same = " the same file" * ("file" in row["facts"]["now"])
                same *= row["facts"]["now"] == row["facts"]["then"]
                milliseconds = "".join(f"{1e3 * row[side]:9.1f} ms" for side in ("then", "now"))
                first, last = row["quartiles"]
                ratio = f"   {row['ratio']:.3f} ({first:.3f} to {last:.3f}){same}"
                print(f"{', '.join(program):40}{milliseconds}{ratio}", flush=True)
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)
    if arguments.output:
        from research.files import write_json

        write_json(results, arguments.output)


if __name__ == "__main__":
    main()
