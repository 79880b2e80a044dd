"""What happens around the steps of a run: speed, validation, log, checkpoints, progress."""

import csv
import functools
import math
import pathlib
import resource
import signal
import sys
import tempfile
import threading
import time

import h5py
import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_dup import evaluation, inference, pictures
from keras_dup.data.pipeline import epoch_order
from keras_dup.training import curves
from keras_dup.training.distribution import is_chief, is_multi_worker
from keras_dup.training.optimizer import averages
from keras_dup.whole import writing


class Interrupted(Exception):
    """Training was asked to stop and has written its checkpoint."""


class Count(keras.callbacks.Callback):
    """Counts the batches of a run in `model.done`; first of the callbacks, the others read it.

    Not the optimizer's iterations, which leave out what mixed_float16 skips.
    """

    def on_train_batch_end(self, batch, logs=None):
        self.model.done += 1


class Speed(keras.callbacks.Callback):
    """Adds images_per_second, waiting and peak_memory_mib to the logs of an epoch.

    `waiting` is the share of the time of the steps that went by until a batch was there; None with
    XLA, which tells no time. The first step of a process, in which Keras traces it, does not count
    in either. The memory is that of the first GPU, or of this process.
    """

    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size
        self.traced = False

    def on_epoch_begin(self, epoch, logs=None):
        self.seconds, self.waited, self.steps = 0.0, 0.0, 0
        self.ended = time.time()

    def on_train_batch_begin(self, batch, logs=None):
        # JAX fetches a batch before this call, TensorFlow after it
        self.begun = self.ended if keras.backend.backend() == "jax" else time.time()
        self.fetched = time.time()

    def on_train_batch_end(self, batch, logs=None):
        self.ended = time.time()
        if self.traced:
            self.seconds += self.ended - self.begun
            self.waited += logs.get("arrived", self.fetched) - self.begun
            self.steps += 1
        self.traced = True

    def on_epoch_end(self, epoch, logs=None):
        timed = logs.pop("arrived", None) is not None or keras.backend.backend() == "jax"
        if self.steps:
            logs["images_per_second"] = self.batch_size * self.steps / self.seconds
            logs["waiting"] = self.waited / self.seconds if timed else None
        logs["peak_memory_mib"] = _peak_memory() / 2**20


def _peak_memory():
    if tf.config.list_logical_devices("GPU"):
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
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
        copy_weights(self.model, self.network)
        if not is_chief():
            return
        threads = _THREADS if keras.backend.backend() == "jax" else 1
        self.report = evaluation.evaluate(predictor(self.network), self.val_data, threads=threads)
        logs.update({f"val_{key}": self.report[key] for key in ("miou", "pixel_accuracy")})
        if logs["val_miou"] > self.best:
            self.best = logs["val_miou"]
            with writing(self.output / "best.keras") as temporary:
                self.network.save(temporary)


def predictor(network):
    """Image (H, W, 3) -> (H, W) class ids; on JAX for several threads, of the weights of now."""
    if keras.backend.backend() == "jax":
        network = _Compiled(network)
    return lambda image: inference.predict(network, image)


_THREADS = 8


class _Compiled:
    """`predict_on_batch` of a network that threads may call at once, which Keras's on JAX is not.

    JAX compiles for every size of picture, seconds each: threads do so side by side.
    """

    def __init__(self, network):
        self.output_shape = network.output_shape
        variables = network.trainable_variables, network.non_trainable_variables
        self.weights = [[variable.value for variable in kind] for kind in variables]
        self.call = _compiled(network)

    def predict_on_batch(self, images):
        return np.asarray(self.call(*self.weights, images))


@functools.lru_cache(maxsize=1)  # of the network of a run, validation after validation
def _compiled(network):
    import jax

    return jax.jit(lambda *given: network.stateless_call(*given, training=False)[0])


def copy_weights(trained, network):
    """Gives `network` the weights of `trained`, their moving averages where there are any."""
    network.set_weights(trained.get_weights())
    if averages(trained.optimizer) is not None:
        pairs = zip(network.trainable_variables, averages(trained.optimizer), strict=True)
        for variable, average in pairs:
            variable.assign(keras.ops.convert_to_numpy(average))


class Log(keras.callbacks.Callback):
    """Writes log.csv, a row an epoch, and what it shows: curves.png, and TensorBoard's files.

    Rows of steps that a checkpoint does not hold, since the run was killed, are written anew.
    """

    def __init__(self, output, network, val_data, step=0):
        super().__init__()
        self.output, self.network, self.val_data = output, network, val_data
        self.rows = read_log(output / "log.csv", step)
        self.writer = tf.summary.create_file_writer(str(output / "tensorboard"))

    def on_epoch_end(self, epoch, logs=None):
        row = {"step": self.model.done, "epoch": epoch + 1, **logs}
        row["learning_rate"] = number(self.model.optimizer.learning_rate)
        softmax = self.network.layers[-1]
        if hasattr(softmax, "log_temperature"):
            row["temperature"] = math.exp(number(softmax.log_temperature))
        self.rows.append(row)
        path = self.output / "log.csv"
        with writing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(
                file, list(dict.fromkeys(key for row in self.rows for key in row))
            )
            table.writeheader()
            table.writerows(self.rows)
        curves.draw(self.rows, self.output / "curves.png")
        self._summarize(row)

    def _summarize(self, row):
        with self.writer.as_default(row["step"]):
            for name, value in row.items():
                if value is not None:
                    tf.summary.scalar(name, value)
            picture = pictures.comparison(self.val_data, {"prediction": predictor(self.network)}, 6)
            tf.summary.image("validation", np.asarray(picture)[None])
        self.writer.flush()


def read_log(path, step):
    """The rows of a log.csv up to a step."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if int(row["step"]) <= step]


class Checkpoint(keras.callbacks.Callback):
    """Writes weights and optimizer state after epochs, on Ctrl-C and on SIGTERM, then stops.

    The file before is kept as previous.weights.h5: at any instant one of the two is whole.

    Args:
        path: of the checkpoint.
        every: write one every so many steps too; 0 for no more.

    Raises:
        Interrupted: after a signal, once the running step is done and the checkpoint written.
    """

    def __init__(self, path, every=0):
        super().__init__()
        self.path, self.every = path, every
        self.interrupted = False

    def on_train_begin(self, logs=None):
        self.handlers = {}
        # one worker cannot stop alone: there a signal ends the process, and the others notice
        if threading.current_thread() is threading.main_thread() and not is_multi_worker():
            for signal_number in (signal.SIGINT, signal.SIGTERM):
                self.handlers[signal_number] = signal.signal(signal_number, self._interrupt)

    def on_train_end(self, logs=None):
        for signal_number, handler in self.handlers.items():
            signal.signal(signal_number, handler)

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.params["steps"]:
            return  # after the validation, or it would be missing from a run that goes on from here
        if self.interrupted or (self.every and self.model.done % self.every == 0):
            self.save()

    def on_epoch_end(self, epoch, logs=None):
        self.save()

    def _interrupt(self, signal_number, frame):
        self.interrupted = True

    def save(self):
        if not is_chief():  # all workers take part in reading the variables
            with tempfile.TemporaryDirectory() as folder:
                self.model.save_weights(pathlib.Path(folder) / self.path.name)
            return
        with writing(self.path) as temporary:
            self.model.save_weights(temporary)
            with h5py.File(temporary, "a") as file:
                file.attrs["steps"] = self.model.done
            if self.path.exists():
                self.path.replace(previous(self.path))
        if self.interrupted:
            self.on_train_end()
            raise Interrupted


def previous(checkpoint):
    """Where `Checkpoint` keeps the file before."""
    return checkpoint.with_name(f"previous.{checkpoint.name}")


def restore(model, checkpoint):
    """Loads what `Checkpoint` wrote, if anything, into a compiled model: `model.done` steps."""
    for path in (checkpoint, previous(checkpoint)):
        if path.exists():
            try:
                model.load_weights(path)
                with h5py.File(path) as file:
                    model.done = int(file.attrs["steps"])
            except (OSError, KeyError) as error:
                print(f"{path} cannot be read ({error}); trying the one before")
                continue
            print(f"resumed from {path} at step {model.done}")
            return


class Progress(keras.callbacks.Callback):
    """A bar with rate and time left over all steps of a run, and early how long it will take."""

    def __init__(self, title, steps, done):
        super().__init__()
        slow = {} if sys.stderr.isatty() else {"mininterval": 30}
        options = {"total": steps, "initial": done, "unit": " steps", "disable": not is_chief()}
        self.bar = tqdm(desc=title, **options, **slow)
        self.left, self.taken = steps - done, 0
        self.told = self.left < 10 * _TELL_AFTER or not is_chief()

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()
        self.bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)
        self.taken += 1
        if self.taken == 1:
            self.start = time.perf_counter()  # the first step is also the tracing
        if not self.told and self.taken == 1 + _TELL_AFTER:
            seconds = (time.perf_counter() - self.start) / _TELL_AFTER
            minutes = seconds * self.left / 60
            tqdm.write(
                f"{self.bar.desc}: {self.left} steps of {seconds:.2f} s, about {minutes:.0f} "
                "minutes, and the validations on top"
            )
            self.told = True


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


def number(variable):
    return float(keras.ops.convert_to_numpy(variable))  # mirrored variables have no float()
