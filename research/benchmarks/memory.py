"""Memory of predictions: `python -m research.benchmarks.memory [predictions] [side]`.

Prints the resident memory of the process along 1000 predictions on images of many sizes, by the
Keras model, its SavedModel and its LiteRT file, then the peak for one image of 4096 x 4096 pixels
in windows.
"""

import resource
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf

from keras_dup import export, inference, models
from keras_dup.data import Shapes
from research import interpreter
from research.benchmarks.machine import machine

SIZES = [(96 + 16 * i, 128 + 8 * j) for i in range(4) for j in range(4)]


def resident(process="self"):
    """MiB that a process holds now."""
    with open(f"/proc/{process}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def peak():
    """MiB that it held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main():
    predictions = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    side = int(sys.argv[2]) if len(sys.argv) > 2 else 4096
    print(machine())
    model = models.load("voc_animals")
    images = [Shapes(1, size).image(0) for size in SIZES]
    with tempfile.TemporaryDirectory() as folder:
        served = export.saved_model(model, f"{folder}/served", verbose=False)
        export.litert(model, f"{folder}/m.tflite", input_size=None, verbose=False)
        serve = tf.saved_model.load(served["path"]).signatures["serve_uint8"]
        run = interpreter.load(f"{folder}/m.tflite")
        ways = {
            "predict": lambda image: inference.predict(model, image),
            "SavedModel": lambda image: serve(image=tf.constant(image[None])),
            "LiteRT": lambda image: run(image[None]),
        }
        for name, predict in ways.items():
            held = []
            for i in range(predictions):
                predict(images[i % len(images)])
                if (i + 1) % (predictions // 10) == 0:
                    held.append(f"{resident():.0f}")
            print(f"{name}, {predictions} predictions, MiB after each tenth: {' '.join(held)}")
    before, start = peak(), time.perf_counter()
    image = np.tile(images[-1], (side // 96, side // 128, 1))[:side, :side]
    inference.predict(model, image, window=1025)
    seconds = time.perf_counter() - start
    print(
        f"{image.shape[0]} x {image.shape[1]} in windows of 1025: {seconds:.0f} s, "
        f"peak {peak():.0f} MiB, {before:.0f} before"
    )


if __name__ == "__main__":
    main()
