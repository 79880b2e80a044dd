"""Data sets (a folder, the built-in shapes), augmentation and batches for TensorFlow."""

from keras_dup.data.augment import augment
from keras_dup.data.files import VOID, palette, read_image, read_label_map, save_label_map
from keras_dup.data.folder import Folder, LabelMaps, distinct_stems, image_files, mask_files
from keras_dup.data.pipeline import eval_batches, train_batches
from keras_dup.data.shapes import Shapes

__all__ = [
    "VOID",
    "Folder",
    "LabelMaps",
    "Shapes",
    "augment",
    "distinct_stems",
    "eval_batches",
    "image_files",
    "mask_files",
    "palette",
    "read_image",
    "read_label_map",
    "save_label_map",
    "train_batches",
]
