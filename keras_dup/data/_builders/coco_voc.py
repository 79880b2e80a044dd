"""COCO's instances as label maps of PASCAL VOC's classes."""

import collections
import functools
import json
import os
from typing import ClassVar

import numpy as np
from pycocotools import mask as rle

from keras_dup._label_maps import VOID
from keras_dup.data import _classes
from keras_dup.data._builders import contract

__all__ = ["MIN_PIXELS", "CocoVoc", "draw"]

MIN_PIXELS = 1000


class CocoVoc(contract.SegmentationBuilder):
    """COCO 2017 (Lin et al. 2014) in PASCAL VOC's 21 classes, to pretrain on.

    Crowds of VOC's classes, and pixels that instances of two of them claim, are void; all else
    is background. Of train only images with more than 1000 labelled pixels are taken (Chen et
    al. 2017, DeepLabv3, Sec. 4); val is whole.
    """

    name = "coco_voc"
    CLASS_NAMES = _classes.VOC
    HOMEPAGE = "https://cocodataset.org/"
    ARCHIVES: ClassVar = {
        "train2017.zip": "http://images.cocodataset.org/zips/train2017.zip",
        "val2017.zip": "http://images.cocodataset.org/zips/val2017.zip",
        "annotations_trainval2017.zip": "http://images.cocodataset.org/annotations/"
        "annotations_trainval2017.zip",
    }

    def splits(self, train, val, annotations):
        """The pairs of each split."""
        annotations = annotations / "annotations"
        return {
            "train": _pairs(
                train / "train2017", annotations / "instances_train2017.json", MIN_PIXELS
            ),
            "val": _pairs(val / "val2017", annotations / "instances_val2017.json", -1),
        }


def _pairs(images, path, more_than):
    content = _read(path)
    names = {category["id"]: category["name"] for category in content["categories"]}
    instances = collections.defaultdict(list)
    for instance in content["annotations"]:
        instances[instance["image_id"]].append(instance)
    for image in sorted(content["images"], key=lambda image: image["file_name"]):
        drawn = draw(instances[image["id"]], names, image, path)
        if np.isin(drawn, (0, VOID), invert=True).sum() > more_than:
            name = image["file_name"]
            yield name, images / name, functools.partial(np.asarray, drawn)


def _read(path):
    try:
        return json.loads(contract.existing(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: no JSON ({error}); unpack or get it again") from error


def draw(
    instances: list[dict], names: dict[int, str], image: dict, path: str | os.PathLike
) -> np.ndarray:
    """Returns the label map of an image's instances, uint8 (H, W).

    Args:
        instances: COCO's dicts, with polygons or run lengths.
        names: {category id: name}.
        image: COCO's dict of the image: height, width, file_name.
        path: what errors call the file.
    """
    size = image["height"], image["width"]
    label_map = np.zeros(size, np.uint8)
    for instance in instances:
        name = f"{path}: annotation {instance['id']}"
        if instance["category_id"] not in names:
            raise ValueError(f"{name}: category {instance['category_id']}, which is not listed")
        class_id = _classes.COCO_OF_VOC.get(names[instance["category_id"]])
        if class_id is not None:
            inside = _pixels(instance, size, name)
            disputed = instance["iscrowd"] | ~np.isin(label_map, (0, class_id))
            label_map[inside] = np.where(disputed, VOID, class_id)[inside]
    return label_map


def _pixels(instance, size, name):
    """(H, W) booleans: the pixels of an instance."""
    outline = instance["segmentation"]
    try:
        if isinstance(outline, dict) and isinstance(outline["counts"], list):
            outline = rle.frPyObjects(outline, *size)
        elif isinstance(outline, list):
            outline = [polygon for polygon in outline if len(np.asarray(polygon, float)) >= 6]
            if not outline:  # a point or a line has no area
                return np.zeros(size, bool)
            outline = rle.merge(rle.frPyObjects(outline, *size))
        pixels = rle.decode(outline).astype(bool)
    except Exception as error:  # pycocotools raises what Cython does
        raise ValueError(f"{name}: no polygons or run lengths ({error!r})") from error
    if pixels.shape != size:
        raise ValueError(f"{name}: run lengths of {pixels.shape}, but the image is {size}")
    return pixels
