"""Ten steps on pictures with uneven void.

    python tests/references/ten_steps.py OUTPUT [key=value ...]

A process of its own, since $TF_CONFIG, $KERAS_BACKEND and the number of devices ($DEVICES, logical
CPUs) are settled when TensorFlow or JAX starts. OUTPUT becomes the folder of the run. A `Fork` is
such a process without the seconds of an import.
"""

import multiprocessing
import os
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from keras_dup import data, layers, models, training
from keras_dup.training import _recipe_files, _run

RECIPE = training.Recipe(
    name="ten_steps",
    num_classes=7,
    train_count=24,
    val_count=1,
    low_level_features=(),
    decoder="dupsampling",
    channels=8,
    crop_size=(32, 32),
    batch_size=8,
    steps=10,
    steps_per_epoch=5,
    learning_rate=0.05,
    weight_decay=4e-5,
    clip_norm=0.5,
)


class UnevenVoid(data.Shapes):
    """The built-in shapes, of which every picture has another share of void."""

    def label_map(self, i):
        label_map = super().label_map(i)
        label_map[: i % 8 * 4] = data.VOID
        time.sleep(float(os.environ.get("PAUSE", "0")))  # seconds a picture takes
        return label_map


def build(num_classes, output_stride, projection=None, channels=64, **_):
    """In place of `models.build`: one convolution and the paper's head, quick to trace."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(image)
    x = keras.layers.Conv2D(8, output_stride, output_stride, padding="same")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2D(channels, 1, name="compressed")(x)
    projection = None if isinstance(projection, str) else projection  # "random"
    x = layers.DUpsampling(num_classes, output_stride, projection, name="dupsampling")(x)
    x = layers.Crop()([x, image])
    return keras.Model(image, layers.AdaptiveTemperatureSoftmax(name="softmax")(x))


def main(output, *overrides):
    count = int(os.environ.get("DEVICES", "1"))
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count}"  # JAX's
    if keras.backend.backend() == "tensorflow" and "TF_CONFIG" not in os.environ:
        cpu = tf.config.list_physical_devices("CPU")[0]
        devices = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, devices)
    models.build = build
    size = RECIPE.crop_size
    _run.datasets = lambda recipe, run: (UnevenVoid(recipe.train_count, size), data.Shapes(1, size))
    report = training.train_or_exit(_recipe_files.override(RECIPE, overrides), output)
    if report:
        model = models.load(pathlib.Path(output) / "model.keras")
        np.savez(pathlib.Path(output) / "weights.npz", *model.get_weights())


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ten_steps", "kills"])


class Fork(FORKS.Process):
    """A fork of a process that has imported TensorFlow and has run nothing, as a `Popen`.

    Args:
        target, arguments: what it calls.
        log: path of the file that gets what it prints.
        environment: {name: value} added to its environment.
    """

    def __init__(self, target, arguments, log, environment=()):
        super().__init__(target=target, args=[str(argument) for argument in arguments])
        self.log, self.environment = str(log), dict(environment)
        self.start()

    def run(self):
        os.environ.update(self.environment)
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        super().run()

    def wait(self, seconds=None):
        self.join(seconds)
        return self.exitcode

    def poll(self):
        return self.exitcode


if __name__ == "__main__":
    main(*sys.argv[1:])
