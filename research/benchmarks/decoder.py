"""The decoder alone, and the head alone.

    python -m research.benchmarks.decoder [--output FILE.json]

Decoders: features of ResNet-50 for an image of 512 x 512 at stride 16 (ASPP's output and b1u2c3)
-> label map, ours and the vanilla one, both folded. Heads: (1, 512/r, 512/r, 64) -> label map,
beside the floor, which is the product with W and writing as many ids; with the search for the
largest class by TensorFlow and compiled by XLA (`fold(jit_compile=True)`), how long the first call
takes then, and beside the product in bfloat16. Interleaved, medians. Before, the peak of memory of
the heads at larger sizes, each in a process of its own, beside all scores at once.
"""

import argparse
import json
import pathlib
import resource
import statistics
import time

import keras
import tensorflow as tf

from keras_dup import export, layers, models
from research.benchmarks.machine import machine, printed_by
from research.benchmarks.networks import FEATURE, disturbed

SIDE, CHANNELS = 512, 64
HEADS = ((21, 16), (21, 32), (150, 16))  # classes, ratio
LARGE = ((21, 1024, 2048), (150, 512, 512), (150, 1024, 2048))  # classes, height, width; ratio 16


def decoder(name, classes):
    """A folded network from the features to the label map, as a function of features drawn once."""
    kind = "dupsampling" if name == "ours" else "bilinear"
    model = models.build("resnet50", classes, 16, FEATURE, CHANNELS, decoder=kind)
    scores = model.get_layer("crop").input[0]
    first = "subsampling" if name == "ours" else "projection_conv"
    low = model.get_layer(f"fuse_{FEATURE[0]}_{first}").input
    inputs = [model.get_layer("aspp_projection_relu").output, low]
    cut = keras.Model(inputs, scores)
    cut = keras.Model(cut.inputs, keras.layers.Softmax()(cut.output))
    network = export.fold(disturbed(cut))
    sides = SIDE // 16, SIDE // 4
    features = [tf.random.normal((1, side, side, 256)) for side in sides]
    return lambda: network(features, training=False)


def head(classes, ratio, size=(SIDE, SIDE), compiled=False):
    """A folded network from C~ to the label map, as a function of features drawn once."""
    inputs = keras.Input((size[0] // ratio, size[1] // ratio, CHANNELS))
    scores = layers.DUpsampling(classes, ratio)(inputs)
    model = keras.Model(inputs, layers.AdaptiveTemperatureSoftmax()(scores))
    network = export.fold(disturbed(model), jit_compile=compiled)
    features = tf.random.normal((1, *inputs.shape[1:]))
    return lambda: network(features, training=False)


def heads(classes, ratio):
    """{name: function}: the head, and its floor, the product with W and as many ids written."""
    features = tf.random.normal((1, SIDE // ratio, SIDE // ratio, CHANNELS))
    whole = tf.Variable(tf.random.normal((1, 1, CHANNELS, ratio**2 * classes)))
    half = tf.Variable(tf.cast(whole, tf.bfloat16))

    def floor():
        ids = tf.fill((1, SIDE, SIDE, 1), tf.constant(1, tf.uint8))
        return ids, tf.nn.conv2d(features, whole, 1, "VALID")

    def bfloat16():
        return floor()[0], tf.nn.conv2d(tf.cast(features, tf.bfloat16), half, 1, "VALID")

    return {
        "floor": floor,
        "ours": head(classes, ratio),
        "ours, compiled": head(classes, ratio, compiled=True),
        "floor, bfloat16": bfloat16,
    }


def medians(functions, runs):
    """{name: seconds}, interleaved; that of the first call of what XLA compiles, too."""
    graphs = {name: tf.function(f, autograph=False) for name, f in functions.items()}
    seconds, first = {name: [] for name in graphs}, {}
    for run in range(runs + 2):
        for name, graph in graphs.items():
            start = time.perf_counter()
            tf.nest.flatten(graph())[0].numpy()
            took = time.perf_counter() - start
            if run > 1:  # the first one traces
                seconds[name].append(took)
            elif run == 0 and "compiled" in name:
                first[f"{name}, first call"] = took
    return {**{name: statistics.median(times) for name, times in seconds.items()}, **first}


def memory(name, classes, height, width):
    """Peak in MiB above what the process held before; runs in a process of its own."""
    network = head(classes, 16, (height, width), "compiled" in name)
    graph = tf.function(network, autograph=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(5):
        graph().numpy()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        name, *numbers = arguments.memory
        print(memory(name, *map(int, numbers)))
        return
    mib = {}  # before this process grows: a new one starts with the peak of its parent
    for classes, height, width in LARGE:
        row = f"{classes} classes, {height} x {width}"
        mib[row] = {"all scores": classes * height * width * 4 / 2**20}
        for name in ("ours", "ours, compiled"):
            words = ["--memory", name, *map(str, (classes, height, width))]
            mib[row][name] = float(printed_by("decoder", *words))
        print(f"{row:28}", ", ".join(f"{name} {value:.0f} MiB" for name, value in mib[row].items()))
    found = {}
    for classes in (21, 150):
        names = ("ours", "vanilla")
        name = f"decoder, {classes} classes"
        found[name] = medians({n: decoder(n, classes) for n in names}, arguments.runs)
    for classes, ratio in HEADS:
        name = f"head, {classes} classes, ratio {ratio}"
        found[name] = medians(heads(classes, ratio), arguments.runs)
    for name, seconds in found.items():
        first = next(iter(seconds.values()))
        columns = (f"{n} {1000 * s:.2f} ms ({s / first:.2f})" for n, s in seconds.items())
        print(f"{name:28}", ", ".join(columns))
    results = {"seconds": found, "mib": mib, "machine": machine()}
    print(results["machine"])
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
