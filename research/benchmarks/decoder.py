"""The decoder alone, and the head alone.

    python research/benchmarks/decoder.py [--output FILE.json]

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
import subprocess
import sys
import time

import keras
import tensorflow as tf
from machine import machine
from networks import disturbed

from keras_dup import decoders, export, layers

SIDE, CHANNELS = 512, 64
HEADS = ((21, 16), (21, 32), (150, 16))  # classes, ratio
LARGE = ((21, 1024, 2048), (150, 512, 512), (150, 1024, 2048))  # classes, height, width; ratio 16


def decoder(name, classes):
    """A folded network from the features to the label map, and features."""
    x, low = keras.Input((SIDE // 16, SIDE // 16, 256)), keras.Input((SIDE // 4, SIDE // 4, 256))
    if name == "ours":
        upsampling = layers.DUpsampling(classes, 16, name="dupsampling")
        scores = decoders.dupsampling_decoder(x, [("f", low, 4)], 16, upsampling, CHANNELS)
    else:
        scores = decoders.bilinear_decoder(x, [("f", low, 4)], 16, classes)
    model = keras.Model([x, low], keras.layers.Softmax()(scores))
    network = export.fold(disturbed(model))
    features = [tf.random.normal((1, *tensor.shape[1:])) for tensor in (x, low)]
    return lambda: network(features, training=False)


def heads(classes, ratio, size=(SIDE, SIDE)):
    """{name: function to the label map}; W is a variable, as in a deployed network."""
    features = tf.random.normal((1, size[0] // ratio, size[1] // ratio, CHANNELS))
    ways = {}
    for name, compiled in (("ours", False), ("ours, compiled", True)):
        layer = export.folding.PackedLabels(classes, ratio, jit_compile=compiled)
        layer.build(features.shape)
        layer.bias.assign(tf.random.normal(layer.bias.shape))
        ways[name] = lambda layer=layer: layer(features)
    whole = tf.Variable(tf.random.normal((1, 1, CHANNELS, ratio**2 * classes)))
    half = tf.Variable(tf.cast(whole, tf.bfloat16))

    def floor():
        ids = tf.fill((1, *size, 1), tf.constant(1, tf.uint8))
        return ids, tf.nn.conv2d(features, whole, 1, "VALID")

    def bfloat16():
        return floor()[0], tf.nn.conv2d(tf.cast(features, tf.bfloat16), half, 1, "VALID")

    return {"floor": floor, **ways, "floor, bfloat16": bfloat16}


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
    graph = tf.function(heads(classes, 16, (height, width))[name], autograph=False)
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
            command = [sys.executable, __file__, *words]
            printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            mib[row][name] = float(printed.splitlines()[-1])
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
