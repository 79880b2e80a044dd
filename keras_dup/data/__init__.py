"""Data sets (folders, published ones, built-in shapes), augmentation, batches for TensorFlow."""

from keras_dup._label_maps import VOID, palette
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
