"""Image to label map: this package's networks, the vanilla decoder's, keras-hub's, keras-cv's.

    python tests/benchmarks/speed.py [--size 512 512] [--batch 1] [--runs 9] [--xla]
        [--only WORD ...] [--output FILE.json]

21 classes, every network one TensorFlow graph that ends in class ids, interleaved, medians. Weights
and batch norms are at random, since grappler drops a bias of zeros. Ours as they are deployed
(`export.fold`); the vanilla decoder's (DeepLabv3+, Fig. 1 of the paper) folded too, which spares
its batch norms and its softmax. What the peers give is resized to the image, then the argmax.
"ours, keras-hub's encoder" is our decoder on the peer's ResNet-50, with its low-level feature, P2.
The memory is the peak of a process that runs one network, above that of the built network.
"""

import argparse
import importlib.util
import json
import pathlib
import statistics
import subprocess
import sys
import time

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from machine import machine

from keras_dup import export, models
from keras_dup.data import Shapes

FEATURE = ("b1u2c3",)  # Table 3's low-level feature that both decoders have


def disturbed(model):
    """Batch norms and biases as a training leaves them: nothing is 0 or 1."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def ours(output_stride, decoder="dupsampling", backbone="resnet50", features=FEATURE, **keywords):
    model = models.build(backbone, 21, output_stride, features, decoder=decoder, **keywords)
    folded = export.fold(disturbed(model))
    return lambda image: folded(image, training=False)


def ours_on_keras_hubs(level):
    rescaling = keras.layers.Rescaling(1 / 127.5, -1)
    stride = {"P5": 32, "P4": 16}[level]
    return ours(stride, backbone=_resnet50(level), features=("P2",), preprocessing=rescaling)


def keras_hubs(level):
    """Its DeepLabV3+ on `P5`, stride 32, or `P4`, stride 16, whose encoder has no last stage."""
    backbone = keras_hub.models.DeepLabV3Backbone(
        _resnet50(level),
        spatial_pyramid_pooling_key=level,
        upsampling_size={"P5": 8, "P4": 4}[level],
        dilation_rates=[6, 12, 18],
        low_level_feature_key="P2",
    )
    return _label_map(keras_hub.models.DeepLabV3ImageSegmenter(backbone, 21))


def keras_cvs(size):
    """Its DeepLabV3+ on ResNet-50 V2, for one size of image."""
    import keras_cv

    encoder = keras_cv.models.ResNetV2Backbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[3, 4, 6, 3],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=False,
        input_shape=(*size, 3),
    )
    return _label_map(keras_cv.models.DeepLabV3Plus(num_classes=21, backbone=encoder))


def _resnet50(level):
    stages = {"P5": 4, "P4": 3}[level]
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512][:stages],
        stackwise_num_blocks=[3, 4, 6, 3][:stages],
        stackwise_num_strides=[1, 2, 2, 2][:stages],
        block_type="bottleneck_block",
    )


def _label_map(model):
    disturbed(model)

    def label_map(image):
        scores = model(image / 127.5 - 1, training=False)
        return tf.argmax(tf.image.resize(scores, tf.shape(image)[1:3]), -1, tf.int32)

    return label_map


def networks(size):
    found = {
        "ours, stride 32": lambda: ours(32),
        "ours, stride 16": lambda: ours(16),
        "ours, keras-hub's encoder, P5": lambda: ours_on_keras_hubs("P5"),
        "ours, keras-hub's encoder, P4": lambda: ours_on_keras_hubs("P4"),
        "vanilla decoder, stride 16": lambda: ours(16, "bilinear"),
        "vanilla decoder, stride 8": lambda: ours(8, "bilinear"),
        "keras-hub DeepLabV3+, P5": lambda: keras_hubs("P5"),
        "keras-hub DeepLabV3+, P4": lambda: keras_hubs("P4"),
        "ours, xception65, stride 16": lambda: ours(16, backbone="xception65", features=None),
        "ours, efficientnet_lite0, 16": lambda: ours(
            16, backbone="efficientnet_lite0", features=None
        ),
    }
    if importlib.util.find_spec("keras_cv"):  # the extra `peers`
        found["keras-cv DeepLabV3+, P5"] = lambda: keras_cvs(size)
    return found


def memory(name, arguments):
    """MiB of a network in a process of its own."""
    size, batch = map(str, arguments.size), str(arguments.batch)
    command = [sys.executable, __file__, "--size", *size, "--batch", batch, "--peak", name]
    command += ["--xla"] if arguments.xla else []
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(printed.splitlines()[-1])


def _status(name):
    """A line of /proc/self/status, in MiB: VmRSS is the memory, VmHWM its peak."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[512, 512])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--only", nargs="+", help="words of the names of networks to run")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shapes = Shapes(arguments.batch, arguments.size)
    image = tf.stack([tf.cast(shapes.image(i), tf.float32) for i in range(arguments.batch)])
    if arguments.peak:
        build = networks(arguments.size)[arguments.peak]
        graph = tf.function(build(), autograph=False, jit_compile=arguments.xla)
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        before = _status("VmRSS")
        for _ in range(3):
            graph(image).numpy()
        print(_status("VmHWM") - before)
        return
    graphs = {
        name: tf.function(build(), autograph=False, jit_compile=arguments.xla)
        for name, build in networks(arguments.size).items()
        if not arguments.only or any(word in name for word in arguments.only)
    }
    seconds = {name: [] for name in graphs}
    for run in range(arguments.runs + 2):
        for name, graph in graphs.items():
            start = time.perf_counter()
            graph(image).numpy()
            if run > 1:  # the first one traces
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    first = list(medians.values())[:2]
    mib = {name: memory(name, arguments) for name in medians}
    print(f"{'':32} {'median':>9} {'/ first':>9} {'/ second':>9} {'memory':>9}")
    for name, median in medians.items():
        ratios = " ".join(f"{median / one:9.2f}" for one in first)
        print(f"{name:32} {1000 * median:6.0f} ms {ratios} {mib[name]:5.0f} MiB")
    peers = [name for name in ("keras-hub", "keras-cv") if importlib.util.find_spec(_module(name))]
    results = {**vars(arguments), "seconds": seconds, "mib": mib, "machine": machine(*peers)}
    print(results["machine"])
    if arguments.output:
        arguments.output.write_text(json.dumps({**results, "output": None}, indent=1) + "\n")


def _module(name):
    return name.replace("-", "_")


if __name__ == "__main__":
    main()
