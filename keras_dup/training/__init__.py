"""Training: a recipe decides everything about a run, and `train` runs it, whatever interrupts it.

    recipe = load_recipe("training/recipes/shapes.py", ["steps=100"])
    report = train(recipe, "runs/shapes")

`compile` prepares a network for Keras's own `fit`.

The parts of a run, for scripts of your own: `datasets`, `build_network`, `training_copy`,
`predictor`, `provenance`. Most of these import TensorFlow, when they are first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_dup.training._compile import compile
    from keras_dup.training._datasets import datasets
    from keras_dup.training._errors import Interrupted
    from keras_dup.training._network import build_network
    from keras_dup.training._predictor import predictor
    from keras_dup.training._provenance import provenance
    from keras_dup.training._recipe import Recipe
    from keras_dup.training._recipe_files import load_recipe
    from keras_dup.training._run import train, train_or_exit
    from keras_dup.training._training_copy import training_copy

__all__ = [
    "Interrupted",
    "Recipe",
    "build_network",
    "compile",
    "datasets",
    "load_recipe",
    "predictor",
    "provenance",
    "train",
    "train_or_exit",
    "training_copy",
]
_MODULES = {
    "_compile": ("compile",),
    "_datasets": ("datasets",),
    "_errors": ("Interrupted",),
    "_network": ("build_network",),
    "_predictor": ("predictor",),
    "_provenance": ("provenance",),
    "_recipe": ("Recipe",),
    "_recipe_files": ("load_recipe",),
    "_run": ("train", "train_or_exit"),
    "_training_copy": ("training_copy",),
}


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"keras_dup.training.{module}"), name)
    raise AttributeError(f"module 'keras_dup.training' has no attribute {name!r}")
