"""Data sets (folders, published ones, built-in shapes), augmentation, batches for TensorFlow.

What needs TensorFlow or NumPy imports it when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

from keras_dup._void import VOID

if TYPE_CHECKING:
    from keras_dup._label_maps import palette
    from keras_dup.data._catalogue import load
    from keras_dup.data._examples import Examples
    from keras_dup.data._files import allow_pixels
    from keras_dup.data._folder import Folder, LabelMaps
    from keras_dup.data._images import read_image
    from keras_dup.data._masks import read_label_map, save_label_map
    from keras_dup.data._pipeline import eval_batches, train_batches
    from keras_dup.data._protocol import Dataset
    from keras_dup.data._shapes import Shapes

__all__ = [
    "VOID",
    "Dataset",
    "Examples",
    "Folder",
    "LabelMaps",
    "Shapes",
    "allow_pixels",
    "eval_batches",
    "load",
    "palette",
    "read_image",
    "read_label_map",
    "save_label_map",
    "train_batches",
]
_MODULES = {
    "_catalogue": ("load",),
    "_examples": ("Examples",),
    "_files": ("allow_pixels",),
    "_folder": ("Folder", "LabelMaps"),
    "_images": ("read_image",),
    "_masks": ("read_label_map", "save_label_map"),
    "_pipeline": ("eval_batches", "train_batches"),
    "_protocol": ("Dataset",),
    "_shapes": ("Shapes",),
}


def __getattr__(name: str) -> object:
    if name == "palette":
        return importlib.import_module("keras_dup._label_maps").palette
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"keras_dup.data.{module}"), name)
    raise AttributeError(f"module 'keras_dup.data' has no attribute {name!r}")
