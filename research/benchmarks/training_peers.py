"""Time and memory of a training step beside the peers.

    python -m research.benchmarks.training_peers [--size 512 512] [--batch 2] [--repeats 3]
        [--only WORD ...] [--output FILE.json]

Forward, backward and SGD with momentum, cross-entropy of every pixel, 21 classes, ResNet-50 with
the low-level feature at stride 4: ours and the vanilla decoder's as `keras_dup.training` trains
them, the peers compiled by Keras. Every step runs in processes of its own, alternating; the time is
the median of a process's steps, then of the processes; the memory is the peak above the inputs.
"""

import argparse
import json
import pathlib
import resource
import statistics
import time

from research.benchmarks.machine import machine, printed_by

STEPS = 5
OURS = {"ours": "dupsampling", "vanilla": "bilinear"}
NETWORKS = (
    "ours, stride 32",
    "ours, stride 16",
    "vanilla decoder, stride 16",
    "vanilla decoder, stride 8",
    "keras-hub DeepLabV3+, P5",
    "keras-hub DeepLabV3+, P4",
    "keras-cv DeepLabV3+, P5",
)


def compiled(name, size, batch):
    """A Keras model that takes (B, H, W, 3) and is trained on (B, H, W) class ids."""
    import keras

    from research.benchmarks.networks import FEATURE, keras_cvs_model, keras_hubs_model

    who, level = name.replace(",", "").split()[0], name.split()[-1]
    if who in OURS:
        from keras_dup import training

        recipe = training.Recipe(
            name="step",
            num_classes=21,
            backbone="resnet50",
            output_stride=int(level),
            low_level_features=FEATURE,
            decoder=OURS[who],
            crop_size=tuple(size),
            batch_size=batch,
            steps=STEPS,
            learning_rate=0.01,
        )
        return training.training_copy(training.build_network(recipe), recipe)
    model = keras_hubs_model(level) if who == "keras-hub" else keras_cvs_model(size)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=who == "keras-hub")
    sgd = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer=sgd, loss=loss, metrics=[], jit_compile=False)
    return model


def step(name, size, batch):
    """Runs in a process of its own; {"seconds", "mib"}."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    model = compiled(name, size, batch)
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (batch, *size, 3)).astype("float32")
    if not name.startswith(tuple(OURS)):
        image = image / 127.5 - 1
    labels = rng.integers(0, 21, (batch, *size)).astype("int32")
    before, seconds = _peak(), []
    for _ in range(STEPS):
        start = time.perf_counter()
        model.train_on_batch(image, labels)
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds[1:]), "mib": _peak() - before}


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[512, 512])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[""])
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        print(json.dumps(step(arguments.step, arguments.size, arguments.batch)))
        return
    names = [name for name in NETWORKS if any(word in name for word in arguments.only)]
    runs = {name: [] for name in names}
    for _ in range(arguments.repeats):
        for name, found in runs.items():
            words = ["--size", *arguments.size, "--batch", arguments.batch, "--step", name]
            found.append(json.loads(printed_by("training_peers", *words)))
    rows = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in runs.items()
    }
    first = next(iter(rows.values()))
    print("| network | a step | of the first | memory | of the first |\n|---|---|---|---|---|")
    for name, row in rows.items():
        ratios = [row[key] / first[key] for key in ("seconds", "mib")]
        print(
            f"| {name} | {row['seconds']:.2f} s | {ratios[0]:.2f} | "
            f"{row['mib']:.0f} MiB | {ratios[1]:.2f} |"
        )
    results = {"size": arguments.size, "batch": arguments.batch, "rows": rows}
    results["machine"] = machine("keras-hub", "keras-cv")
    print(results["machine"])
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
