"""Time and memory of a training step, with the packed cross-entropy and with the plain one.

    python -m research.benchmarks.training_step [--backbone NAME] [--classes 21 59 150]
        [--sides 257 513] [--batch 2] [--repeats 3] [--output FILE.json]

Every row runs in processes of its own, the two losses alternating; the time is the median of their
steps, the memory the largest of the process. "inputs" is the memory of the process before the first
step.
"""

import argparse
import json
import pathlib
import resource
import statistics
import time

from research.benchmarks.machine import machine, printed_by

STEPS = 6


def step(backbone, classes, side, batch, packed):
    """Runs in a process of its own; {"seconds", "before_mib", "peak_mib", "loss"}."""
    import keras
    import numpy as np

    from keras_dup import training

    keras.utils.set_random_seed(0)
    recipe = training.Recipe(
        name="step",
        num_classes=classes,
        backbone=backbone,
        low_level_features=(),
        decoder="dupsampling",
        crop_size=(side, side),
        batch_size=batch,
        steps=STEPS,
        learning_rate=0.01,
    )
    model = training.training_copy(training.build_network(recipe), recipe, packed=packed)
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (batch, side, side, 3)).astype("float32")
    labels = rng.integers(0, classes, (batch, side, side)).astype("int32")
    before, seconds, losses = _peak(), [], []
    for _ in range(STEPS):
        start = time.perf_counter()
        losses.append(model.train_on_batch(image, labels, return_dict=True)["loss"])
        seconds.append(time.perf_counter() - start)
    seconds = statistics.median(seconds[1:])  # the first is also the tracing
    return {"seconds": seconds, "before_mib": before, "peak_mib": _peak(), "loss": float(losses[0])}


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def row(backbone, classes, side, batch, repeats):
    found = {True: [], False: []}
    for _ in range(repeats):
        for packed, runs in found.items():
            words = ["--step", backbone, classes, side, batch, int(packed)]
            runs.append(json.loads(printed_by("training_step", *words)))
    result = {"backbone": backbone, "classes": classes, "side": side, "batch": batch}
    for packed, runs in found.items():
        medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        result["packed" if packed else "plain"] = medians
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--classes", type=int, nargs="+", default=[21, 59, 150])
    parser.add_argument("--sides", type=int, nargs="+", default=[257, 513])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--step", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        backbone, *numbers = arguments.step
        print(json.dumps(step(backbone, *map(int, numbers))))
        return
    results = {"machine": machine(), "rows": []}
    print(f"{'':24} {'seconds a step':>20} {'MiB above the inputs':>26} {'loss':>20}")
    print(
        f"{'side, classes, batch':24} {'plain':>10} {'packed':>9} {'plain':>10} {'packed':>9} ratio"
    )
    for side in arguments.sides:
        for classes in arguments.classes:
            found = row(arguments.backbone, classes, side, arguments.batch, arguments.repeats)
            results["rows"].append(found)
            plain, packed = found["plain"], found["packed"]
            extra = [run["peak_mib"] - run["before_mib"] for run in (plain, packed)]
            print(
                f"{side:6} {classes:8} {arguments.batch:8} {plain['seconds']:10.2f} "
                f"{packed['seconds']:9.2f} {extra[0]:10.0f} {extra[1]:9.0f} "
                f"{extra[1] / extra[0]:5.2f} {plain['loss']:9.5f} {packed['loss']:9.5f}",
                flush=True,
            )
    print(results["machine"])
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
