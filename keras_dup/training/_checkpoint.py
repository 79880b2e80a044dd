"""Checkpoints of a run: written at any time, whole or not at all, and read again."""

import pathlib
import signal
import tempfile
import threading

import h5py
import keras

from keras_dup._whole import writing
from keras_dup.training._distribution import is_chief, is_multi_worker
from keras_dup.training._errors import Interrupted


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
        self.interrupted = None  # or the number of the signal

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
        self.interrupted = signal_number

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
            text = f"stopped at step {self.model.done}; the same command goes on from {self.path}"
            raise Interrupted(text, self.interrupted)


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
