"""Data sets (folders, published ones, built-in shapes), augmentation, batches for TensorFlow."""

from keras_dup.data.catalogue import load
from keras_dup.data.examples import Examples
from keras_dup.data.files import allow_pixels
from keras_dup.data.folder import Folder, LabelMaps
from keras_dup.data.images import read_image
from keras_dup.data.masks import read_label_map, save_label_map
from keras_dup.data.pipeline import eval_batches, train_batches
from keras_dup.data.protocol import Dataset
from keras_dup.data.shapes import Shapes
from keras_dup.label_maps import VOID, palette

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
