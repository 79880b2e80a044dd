"""What `export.fold` saves: `python -m research.benchmarks.folding [side]`.

Image to label map, each as one TensorFlow graph, interleaved, medians: the network with an argmax,
and the folded network.
"""

import statistics
import sys
import time

import tensorflow as tf

from keras_dup import export, models
from keras_dup.data import Shapes
from research.benchmarks.machine import machine

NETWORKS = (("efficientnet_lite0", 16), ("resnet50", 32), ("resnet50", 16), ("xception65", 16))
RUNS = 7


def main():
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 513
    image = tf.constant(Shapes(1, (side, side)).image(0)[None], tf.float32)
    print(machine())
    print(f"{'':24} {'plain':>9} {'folded':>9} {'ratio':>6}  layers")
    for backbone, output_stride in NETWORKS:
        model = models.build(backbone, 21, output_stride, decoder="dupsampling")
        folded = export.fold(model)
        plain = _graph(lambda x, model=model: tf.argmax(model(x, training=False), -1))
        short = _graph(lambda x, folded=folded: folded(x, training=False))
        ways, seconds = (plain, short), ([], [])
        for run in range(RUNS + 1):
            for way, times in zip(ways, seconds, strict=True):
                start = time.perf_counter()
                way(image)
                if run:  # the first one traces
                    times.append(time.perf_counter() - start)
        before, after = map(statistics.median, seconds)
        name = f"{backbone} at {output_stride}"
        print(
            f"{name:24} {1000 * before:6.0f} ms {1000 * after:6.0f} ms "
            f"{before / after:6.2f}  {len(model.layers)} -> {len(folded.layers)}"
        )


def _graph(function):
    return tf.function(function, autograph=False)


if __name__ == "__main__":
    main()
