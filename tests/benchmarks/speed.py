"""Image to label map: this package's networks, the vanilla decoder's and keras-hub's, side by side.

    python tests/benchmarks/speed.py [--side 512] [--batch 1] [--runs 9] [--output FILE.json]

ResNet-50 throughout, 21 classes, weights at random, every network one TensorFlow graph that ends in
class ids, interleaved, medians. Ours as they are deployed (`export.fold`); the vanilla decoder's
(DeepLabv3+, Fig. 1 of the paper) folded too, which spares its batch norms and its softmax.
keras-hub's DeepLabV3+ ends at a quarter of the image: its scores are resized, then the argmax.
"""

import argparse
import json
import pathlib
import statistics
import time

import keras_hub
import tensorflow as tf
from machine import machine

from keras_dup import export, models
from keras_dup.data import Shapes

FEATURE = ("b1u2c3",)  # Table 3's low-level feature that both decoders have


def ours(output_stride, decoder="dupsampling"):
    model = models.build("resnet50", 21, output_stride, FEATURE, decoder=decoder)
    folded = export.fold(model)
    return lambda image: folded(image, training=False)


def keras_hubs(level):
    """Its DeepLabV3+ on `P5`, stride 32, or `P4`, stride 16, whose encoder has no last stage."""
    stages = {"P5": 4, "P4": 3}[level]
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512][:stages],
        stackwise_num_blocks=[3, 4, 6, 3][:stages],
        stackwise_num_strides=[1, 2, 2, 2][:stages],
        block_type="bottleneck_block",
    )
    backbone = keras_hub.models.DeepLabV3Backbone(
        encoder,
        spatial_pyramid_pooling_key=level,
        upsampling_size={"P5": 8, "P4": 4}[level],
        dilation_rates=[6, 12, 18],
        low_level_feature_key="P2",
    )
    model = keras_hub.models.DeepLabV3ImageSegmenter(backbone, 21)

    def label_map(image):
        scores = model(image / 127.5 - 1, training=False)
        return tf.argmax(tf.image.resize(scores, tf.shape(image)[1:3]), -1, tf.int32)

    return label_map


NETWORKS = {
    "ours, stride 32": lambda: ours(32),
    "ours, stride 16": lambda: ours(16),
    "vanilla decoder, stride 16": lambda: ours(16, "bilinear"),
    "vanilla decoder, stride 8": lambda: ours(8, "bilinear"),
    "keras-hub DeepLabV3+, P5": lambda: keras_hubs("P5"),
    "keras-hub DeepLabV3+, P4": lambda: keras_hubs("P4"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    shapes = Shapes(arguments.batch, (arguments.side, arguments.side))
    image = tf.stack([tf.cast(shapes.image(i), tf.float32) for i in range(arguments.batch)])
    graphs = {name: tf.function(build(), autograph=False) for name, build in NETWORKS.items()}
    seconds = {name: [] for name in graphs}
    for run in range(arguments.runs + 1):
        for name, graph in graphs.items():
            start = time.perf_counter()
            graph(image).numpy()
            if run:  # the first one traces
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    first = medians["ours, stride 32"], medians["ours, stride 16"]
    print(f"{'':28} {'median':>9} {'/ ours at 32':>13} {'/ ours at 16':>13}")
    for name, median in medians.items():
        ratios = " ".join(f"{median / ours:13.2f}" for ours in first)
        print(f"{name:28} {1000 * median:6.0f} ms {ratios}")
    print(machine("keras-hub"))
    if arguments.output:
        found = {"side": arguments.side, "batch": arguments.batch, "seconds": seconds}
        arguments.output.write_text(json.dumps({**found, "machine": machine("keras-hub")}))


if __name__ == "__main__":
    main()
