"""PASCAL Context: whole scenes of PASCAL VOC 2010."""

import functools
from pathlib import Path
from typing import ClassVar

import numpy as np

from keras_dup.data import _classes
from keras_dup.data._builders import contract
from keras_dup.data._builders.voc2012 import read_mat

__all__ = ["CATEGORIES", "PascalContext", "read_context"]

CATEGORIES = 459


class PascalContext(contract.SegmentationBuilder):
    """PASCAL Context (Mottaghi et al. 2014), 59 classes and background; train 4998, val 5105.

    Pixels of the 400 other categories, and those without any, are background, class 0: the rule
    of FCN and of all who report 60 classes. Nothing is void.
    """

    name = "pascal_context"
    CLASS_NAMES = _classes.CONTEXT
    HOMEPAGE = "https://cs.stanford.edu/~roozbeh/pascal-context/"
    ARCHIVES: ClassVar = {
        "VOCtrainval_03-May-2010.tar": "http://host.robots.ox.ac.uk/pascal/VOC/voc2010/"
        "VOCtrainval_03-May-2010.tar",
        "trainval.tar.gz": HOMEPAGE + "trainval.tar.gz",
    }

    def splits(self, voc, context):
        """The pairs of each split."""
        voc = voc / "VOCdevkit" / "VOC2010"

        def pair(name):
            mask = functools.partial(read_context, context / "trainval" / f"{name}.mat")
            return name, voc / "JPEGImages" / f"{name}.jpg", mask

        lists = voc / "ImageSets" / "Main"
        names = {s: contract.read_names(lists / f"{s}.txt") for s in ("train", "val")}
        return {split: map(pair, names[split]) for split in names}


def read_context(path: Path) -> np.ndarray:
    """Returns the label map in one of trainval/*.mat, (H, W): 0..59 of the 459 categories."""
    categories = read_mat(path, lambda content: content["LabelMap"])
    if categories.min() < 0 or categories.max() > CATEGORIES:
        raise ValueError(f"{path}: category {categories.max()}, there are {CATEGORIES}")
    table = np.zeros(CATEGORIES + 1, np.uint8)
    for class_id, name in enumerate(_classes.CONTEXT[1:], start=1):
        table[_classes.CONTEXT_NUMBERS[name]] = class_id
    return table[categories]
