"""PASCAL VOC 2012 with the additional annotations of SBD."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.io

from keras_dup._label_maps import check_ids
from keras_dup.data import _classes
from keras_dup.data._builders import contract
from keras_dup.data._masks import read_label_map

__all__ = ["Voc2012", "read_mat", "read_sbd", "read_voc"]


class Voc2012(contract.SegmentationBuilder):
    """PASCAL VOC 2012: train, val, trainval, and trainaug with SBD (Hariharan et al. 2011).

    trainaug is VOC's train and SBD's train and val without VOC's val: 10,582 images. Where VOC
    has annotated an image, that annotation is taken; SBD's have no void.
    """

    name = "voc2012"
    CLASS_NAMES = _classes.VOC
    HOMEPAGE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
    ARCHIVES: ClassVar = {
        "VOCtrainval_11-May-2012.tar": HOMEPAGE + "VOCtrainval_11-May-2012.tar",
        "benchmark.tgz": "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
        "semantic_contours/benchmark.tgz",
    }

    def splits(self, voc, sbd):
        """The pairs of each split."""
        voc, sbd = voc / "VOCdevkit" / "VOC2012", sbd / "benchmark_RELEASE" / "dataset"
        lists = voc / "ImageSets" / "Segmentation"
        names = {
            split: contract.read_names(lists / f"{split}.txt")
            for split in ("train", "val", "trainval")
        }
        added = {*contract.read_names(sbd / "train.txt"), *contract.read_names(sbd / "val.txt")}
        names["trainaug"] = sorted(added.union(names["train"]).difference(names["val"]))
        annotated = {path.stem for path in (voc / "SegmentationClass").glob("*.png")}
        annotated.update(names["trainval"])

        def pair(name):
            if name in annotated:
                mask = functools.partial(read_voc, voc / "SegmentationClass" / f"{name}.png")
            else:
                mask = functools.partial(read_sbd, sbd / "cls" / f"{name}.mat")
            return name, voc / "JPEGImages" / f"{name}.jpg", mask

        return {split: map(pair, names[split]) for split in names}


def read_voc(path: Path) -> np.ndarray:
    """Returns the label map in one of VOC's palette PNGs, (H, W) ids 0..20, 255 void."""
    return read_label_map(contract.existing(path), len(_classes.VOC))


def read_sbd(path: Path) -> np.ndarray:
    """Returns the label map in one of SBD's cls/*.mat, (H, W) ids 0..20."""
    label_map = read_mat(path, lambda content: content["GTcls"]["Segmentation"][0, 0])
    check_ids(label_map, len(_classes.VOC), None, path)
    return label_map


def read_mat(path: Path, pick: Callable) -> np.ndarray:
    """Returns what `pick` takes from a .mat file, as integers; ValueError if it is not there."""
    contract.existing(path)
    try:
        return np.asarray(pick(scipy.io.loadmat(path))).astype(np.int64, casting="safe")
    except Exception as error:  # scipy raises a dozen kinds
        raise ValueError(f"{path}: no label map can be read ({error!r}); get it again") from error
