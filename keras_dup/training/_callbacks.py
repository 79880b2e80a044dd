"""What happens around the steps of a run: counting, speed, validation, progress, NaN."""

import math
import resource
import sys
import time

import keras
from tqdm import tqdm

from keras_dup import evaluation
from keras_dup._whole import writing
from keras_dup.data._pipeline import epoch_order
from keras_dup.training._distribution import is_chief
from keras_dup.training._predictor import THREADS, predictor


class Count(keras.callbacks.Callback):
    """Counts the batches of a run in `model.done`; first of the callbacks, the others read it.

    Not the optimizer's iterations, which leave out what mixed_float16 skips.
    """

    def on_train_batch_end(self, batch, logs=None):
        self.model.done += 1


class Speed(keras.callbacks.Callback):
    """Adds images_per_second, waiting and peak_memory_mib to the logs of an epoch.

    `waiting` is the share of the time of the steps that went by until a batch was there; None
    with XLA on TensorFlow and on PyTorch, which tell no time. The first step of a process, in which
    Keras traces it, does not count in either. The memory is that of the first GPU, or of this
    process.
    """

    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size
        self.traced = False

    def on_epoch_begin(self, epoch, logs=None):
        self.seconds, self.waited, self.steps = 0.0, 0.0, 0

    def on_train_batch_begin(self, batch, logs=None):
        self.begun = time.time()  # `TrainingModel` tells when the batch has arrived

    def on_train_batch_end(self, batch, logs=None):
        if self.traced:
            self.seconds += time.time() - self.begun
            self.waited += logs.get("arrived", self.begun) - self.begun
            self.steps += 1
        self.traced = True

    def on_epoch_end(self, epoch, logs=None):
        timed = logs.pop("arrived", None) is not None
        if self.steps:
            logs["images_per_second"] = self.batch_size * self.steps / self.seconds
            logs["waiting"] = self.waited / self.seconds if timed else None
        logs["peak_memory_mib"] = _peak_memory() / 2**20


def _peak_memory():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.config.list_logical_devices("GPU"):
            return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    if keras.backend.backend() == "jax":
        import jax

        if known := jax.local_devices()[0].memory_stats():
            return known["peak_bytes_in_use"]
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Validation(keras.callbacks.Callback):
    """Adds val_miou and val_pixel_accuracy, at source size, to the logs of an epoch.

    The trained weights, or their moving averages, go into the network that predicts, whose best
    state is kept in best.keras. Not `validation_data`: under `MirroredStrategy` that fails on
    batches of one image, and images of different sizes make no larger batch.
    """

    def __init__(self, network, val_data, output, best=-math.inf):
        super().__init__()
        self.network, self.val_data, self.output, self.best = network, val_data, output, best
        self.report = None

    def on_epoch_end(self, epoch, logs=None):
        self.model.update_network()
        if not is_chief():
            return
        threads = THREADS if keras.backend.backend() == "jax" else 1
        options = {"threads": threads, "warn": False, "verbose": sys.stderr.isatty()}
        self.report = evaluation.evaluate(predictor(self.network), self.val_data, **options)
        logs.update({f"val_{key}": self.report[key] for key in ("miou", "pixel_accuracy")})
        if logs["val_miou"] > self.best:
            self.best = logs["val_miou"]
            with writing(self.output / "best.keras") as temporary:
                self.network.save(temporary)


class Progress(keras.callbacks.Callback):
    """A bar over all steps of a run, and a line per validation; early how long the run will take.

    The lines go to standard output, the bar to standard error; both look the same in a notebook.
    """

    def __init__(self, title, steps, done, best=None):
        super().__init__()
        self.title, self.shown = title, is_chief()
        slow = {} if sys.stderr.isatty() else {"mininterval": 30}
        options = {"total": steps, "initial": done, "unit": " steps", "disable": not self.shown}
        self.bar = tqdm(desc=title, **options, **slow)
        self.steps, self.left, self.taken = steps, steps - done, 0
        self.told = self.left < 10 * _TELL_AFTER
        self.best = best or (-math.inf, done)  # mIoU, step

    def on_train_batch_begin(self, batch, logs=None):
        if self.taken == 0:
            self.start = time.perf_counter()
            self.say(f"{self.title}: compiling, which the first step waits for")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()
        self.bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)
        self.taken += 1
        if self.taken == 1:
            now = time.perf_counter()
            self.say(f"{self.title}: compiled, first step after {now - self.start:.0f} s")
            self.start = now
        if not self.told and self.taken == 1 + _TELL_AFTER:
            seconds = (time.perf_counter() - self.start) / _TELL_AFTER
            minutes = seconds * self.left / 60
            self.say(
                f"{self.title}: {self.left} steps of {seconds:.2f} s, about {minutes:.0f} "
                "minutes, and the validations on top"
            )
            self.told = True

    def on_epoch_end(self, epoch, logs=None):
        if "val_miou" not in logs:
            return
        step, miou = self.model.done, logs["val_miou"]
        self.best = max(self.best, (miou, step), key=lambda found: found[0])
        line = f"step {step} of {self.steps}: loss {logs['loss']:.4f}, mIoU {100 * miou:.2f} %"
        line += f" (best {100 * self.best[0]:.2f} % at step {self.best[1]})"
        if logs.get("waiting") is not None:
            line += f", {logs['images_per_second']:.3g} images/s"
            line += f", {100 * logs['waiting']:.0f} % of the time waiting for images"
        if self.taken > 1 and step < self.steps:
            seconds = (time.perf_counter() - self.start) / (self.taken - 1) * (self.steps - step)
            line += f", {tqdm.format_interval(seconds)} left"
        self.say(line)

    def say(self, text):
        if self.shown:
            tqdm.write(text)


_TELL_AFTER = 5


class NotANumber(keras.callbacks.Callback):
    """Ends a run whose loss is no number, with the pictures of that batch.

    Raises:
        FloatingPointError: at that step; the last checkpoint stays as it is.
    """

    def __init__(self, recipe, train_data):
        super().__init__()
        self.recipe, self.train_data = recipe, train_data

    def on_train_batch_end(self, batch, logs=None):
        if math.isnan(logs["loss"]):
            step = self.model.done
            raise FloatingPointError(
                f"loss is NaN at step {step}, batch of {self._pictures(step - 1)}; try a lower "
                "learning_rate, or clip_norm"
            )

    def _pictures(self, step):
        size, count = self.recipe.batch_size, len(self.train_data)
        files = getattr(self.train_data, "image_files", [f"picture {i}" for i in range(count)])
        places = [divmod(k, count) for k in range(step * size, (step + 1) * size)]
        names = [files[epoch_order(count, self.recipe.seed, epoch)[i]] for epoch, i in places]
        return ", ".join(str(name) for name in names)
