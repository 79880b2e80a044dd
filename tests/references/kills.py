"""A run that is killed again and again, each start in a fork of one process.

    python tests/references/kills.py OUTPUT KILLS SEED

TensorFlow is imported once, before the forks, and runs nothing until then. OUTPUT/whole is a run
without kills, OUTPUT/killed one with as many: the first three strike while a checkpoint is written
(half of it is there; all of it; the one before has been moved away), the others at random instants.
"""

import os
import pathlib
import random
import signal
import sys
import threading

import numpy as np
from ten_steps import RECIPE, build

from keras_dup import data, models, training
from keras_dup.training import _checkpoint, _recipe_files, _run, _training_copy

RECIPE = _recipe_files.override(RECIPE, ["steps=60", "steps_per_epoch=20", "checkpoint_steps=2"])
SIZE = RECIPE.crop_size


def kill_here():
    os.kill(os.getpid(), signal.SIGKILL)


def while_half_is_written(path):
    save = _training_copy.TrainingModel.save_weights

    def half(self, name, **options):
        save(self, name, **options)
        if self.done > 4 and path.exists():
            os.truncate(name, os.path.getsize(name) // 2)
            kill_here()

    _training_copy.TrainingModel.save_weights = half


def when_all_is_written(path):
    replace = pathlib.Path.replace

    def before(self, target):
        if self == path and path.exists():
            kill_here()
        return replace(self, target)

    pathlib.Path.replace = before


def when_the_one_before_is_away(path):
    replace = os.replace

    def before(source, target):
        if pathlib.Path(target) == path and _checkpoint.previous(path).exists():
            kill_here()
        return replace(source, target)

    os.replace = before


def at_random(path, seconds):
    """After so many seconds since the first step of this process."""
    begin = _checkpoint.Checkpoint.on_train_batch_end

    def first(self, batch, logs=None):
        if not hasattr(self, "timer"):
            self.timer = threading.Timer(seconds, kill_here)
            self.timer.daemon = True
            self.timer.start()
        begin(self, batch, logs)

    _checkpoint.Checkpoint.on_train_batch_end = first


def started(output, strike=None):
    """Runs in a fork; returns whether it came to its end."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        assert (killed and os.WTERMSIG(status) == signal.SIGKILL) or status == 0, status
        return not killed
    try:
        models.build = build
        _run.datasets = lambda recipe, run: (data.Shapes(8, SIZE), data.Shapes(1, SIZE))
        if strike:
            strike(output / "checkpoint.weights.h5")
        training.train(RECIPE, output)
        model = models.load(output / "model.keras")
        np.savez(output / "weights.npz", *model.get_weights())
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def main(output, kills, seed):
    output, draw = pathlib.Path(output), random.Random(int(seed))
    assert started(output / "whole")
    strikes = [while_half_is_written, when_all_is_written, when_the_one_before_is_away]
    while len(strikes) < int(kills):
        seconds = draw.uniform(0, 0.3)
        strikes.append(lambda path, seconds=seconds: at_random(path, seconds))
    killed = [not started(output / "killed", strike) for strike in strikes]
    assert all(killed[:3]), killed
    while not started(output / "killed"):
        pass
    print(f"{sum(killed)} kills")


if __name__ == "__main__":
    main(*sys.argv[1:])
