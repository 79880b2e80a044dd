"""Data sets (folders, published ones, built-in shapes), augmentation, batches for TensorFlow."""

from keras_dup.data.augment import augment
from keras_dup.data.cached import Cached
from keras_dup.data.catalogue import CATALOGUE, load
from keras_dup.data.examples import Examples
from keras_dup.data.files import VOID, palette, read_image, read_label_map, save_label_map
from keras_dup.data.folder import Folder, LabelMaps, distinct_stems, image_files, mask_files
from keras_dup.data.pipeline import eval_batches, train_batches
from keras_dup.data.shapes import Shapes

__all__ = [
    "CATALOGUE",
    "VOID",
    "Cached",
    "Examples",
    "Folder",
    "LabelMaps",
    "Shapes",
    "augment",
    "distinct_stems",
    "eval_batches",
    "image_files",
    "load",
    "mask_files",
    "palette",
    "read_image",
    "read_label_map",
    "save_label_map",
    "train_batches",
]
