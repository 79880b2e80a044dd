"""Mask files -> label maps and back. `keras_dup.data._formats.MASKS` lists the modes.

A label map is uint8 (H, W): class ids 0..num_classes - 1, and 255 for void.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from keras_dup._label_maps import VOID, IdTable, check_ids, palette
from keras_dup._whole import writing
from keras_dup.data import _files, _formats

__all__ = ["decode_ids", "encode_ids", "label_picture", "read_label_map", "save_label_map"]

# Pillow stretches grey pixels of 2 and 4 bits to 0..255; dividing gives the ids back.
_STRETCH = {"L;2": 85, "L;4": 17}


def read_label_map(
    path: str | os.PathLike,
    num_classes: int,
    ignore_class: int | None = VOID,
    ids: Mapping[int, int] | None = None,
) -> np.ndarray:
    """Returns the label map as uint8 (H, W): ids 0..num_classes - 1 and `VOID`.

    Args:
        path: a palette or grey PNG, one class id per pixel; it is turned as its EXIF asks for.
        num_classes: number of classes, 1..255.
        ignore_class: the id that the file uses for void, or None if it has no void.
        ids: {id in the file: class id, or 255 for void}, in place of `ignore_class`.

    Raises ValueError for a file that cannot be decoded, has colours instead of ids, or holds
    an id outside the classes.
    """
    found = _read_ids(path, path)
    if ids is not None:
        return IdTable(ids, num_classes)(found, path)
    check_ids(found, num_classes, ignore_class, path)
    if ignore_class not in (None, VOID):
        found = np.where(found == ignore_class, VOID, found)
    return found.astype(np.uint8)


def decode_ids(content: bytes, name: object) -> np.ndarray:
    """Returns the ids in the bytes of a palette or grey image file, integers (H, W)."""
    return _ids(content, name, turn=False)


def encode_ids(ids: np.ndarray) -> bytes:
    """Returns ids (H, W), 0..255, as the bytes of a grey PNG file."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(ids, np.uint8)).save(file, format="PNG")
    return file.getvalue()


def label_picture(label_map: np.ndarray) -> Image.Image:
    """Returns a label map (H, W), ids 0..255, as a Pillow image with the palette of VOC."""
    ids = np.asarray(label_map)
    if ids.ndim != 2 or ids.size == 0 or ids.min() < 0 or ids.max() > 255:
        raise ValueError(f"a label map is (H, W) with ids 0..255, this one is {ids.shape}")
    picture = Image.fromarray(ids.astype(np.uint8))
    picture.putpalette(palette().tobytes())  # turns a grey picture into a palette picture
    return picture


def save_label_map(path: str | os.PathLike, label_map: np.ndarray) -> None:
    """Writes a label map (H, W), ids 0..255, as a palette PNG, the whole file or none."""
    picture = label_picture(label_map)
    with writing(path) as temporary:
        picture.save(temporary, format="PNG")


def _read_ids(path, name):
    with _files.opened(path, name):  # its header, before the whole file is read
        pass
    return _ids(Path(path).read_bytes(), name, turn=True)


def _ids(content, name, turn):
    _files.check_checksums(content, name)
    with _files.opened(io.BytesIO(content), name) as image:
        stored = _files.raw_mode(image)
        _files.loaded(image, name)
        kind = "JPEG" if image.format in ("JPEG", "MPO") else image.mode
        if image.mode in ("1", "L") and "I" in stored.partition(";")[2]:
            kind = "white is zero"
        row = _formats.MASKS.get(kind) or _formats.Row(_formats.REFUSED, "it is not known here")
        if row.convert is None:
            raise ValueError(f"{name}: a mask saved as {kind}, {row.how}")
        ids = row.convert(_files.turned(image, _files.orientation(image)) if turn else image)
    return ids // _STRETCH.get(stored[:3], 1)
