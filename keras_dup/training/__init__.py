"""Training: a recipe decides everything about a run, `train` runs it, whatever interrupts it."""

from keras_dup.training.distribution import WorkerLost
from keras_dup.training.recipe import Recipe, load
from keras_dup.training.run import train

__all__ = ["Recipe", "WorkerLost", "load", "train"]
