"""ADE20K's scene parsing benchmark."""

import functools
from pathlib import Path
from typing import ClassVar

import numpy as np

from keras_dup._label_maps import VOID, check_ids
from keras_dup.data import _classes
from keras_dup.data._builders import contract
from keras_dup.data._masks import decode_ids

__all__ = ["Ade20k", "read_ade20k"]


class Ade20k(contract.SegmentationBuilder):
    """ADE20K, the 150 classes of the scene parsing challenge (Zhou et al. 2017).

    tfds's own scene_parse150 holds the annotations of instances, of 100 classes only.
    """

    name = "ade20k"
    CLASS_NAMES = _classes.ADE20K
    HOMEPAGE = "http://sceneparsing.csail.mit.edu/"
    ARCHIVES: ClassVar = {
        "ADEChallengeData2016.zip": "http://data.csail.mit.edu/places/ADEchallenge/"
        "ADEChallengeData2016.zip",
    }

    def splits(self, root):
        """The pairs of each split."""
        root = root / "ADEChallengeData2016"

        def pair(image_file):
            mask = root / "annotations" / image_file.parent.name / f"{image_file.stem}.png"
            return image_file.stem, image_file, functools.partial(read_ade20k, mask)

        return {
            split: map(pair, contract.files(root / "images" / folder, ".jpg"))
            for split, folder in (("train", "training"), ("val", "validation"))
        }


def read_ade20k(path: Path) -> np.ndarray:
    """Returns the label map of an annotation PNG: 0 there is void, 1..150 the classes."""
    ids = decode_ids(contract.existing(path).read_bytes(), path).astype(np.int64)
    check_ids(ids, len(_classes.ADE20K) + 1, None, path)
    return np.where(ids == 0, VOID, ids - 1)
