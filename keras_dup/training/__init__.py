"""Training: a recipe decides everything about a run, and `train` runs it, whatever interrupts it.

    recipe = load_recipe("training/recipes/shapes.py", ["steps=100"])
    report = train(recipe, "runs/shapes")

The parts of a run, for scripts of your own: `datasets`, `build_network`, `training_copy`,
`predictor`, `read_log`, `provenance`.
"""

import importlib

_MODULES = {
    "Recipe": "recipe",
    "WorkerLost": "distribution",
    "build_network": "network",
    "datasets": "recipe",
    "find_weights": "recipe",
    "load_recipe": "recipe",
    "override": "recipe",
    "predictor": "callbacks",
    "provenance": "run",
    "read_log": "callbacks",
    "train": "run",
    "training_copy": "network",
}
__all__ = sorted(_MODULES)


def __getattr__(name):
    if name in _MODULES:  # on first use: most of these import TensorFlow
        return getattr(importlib.import_module(f"keras_dup.training.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'keras_dup.training' has no attribute {name!r}")
