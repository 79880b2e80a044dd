"""Mask files -> label maps and back. `keras_dup.data._formats.MASKS` lists the modes.

A label map is uint8 (H, W): class ids 0..num_classes - 1, and 255 for void.
"""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from keras_dup._label_maps import VOID, palette
from keras_dup._whole import writing
from keras_dup.data import _files, _formats
from keras_dup.data._tables import Colours, Ids
from keras_dup.data._values import MaskValues

__all__ = [
    "decode_ids",
    "encode_ids",
    "label_picture",
    "read_label_map",
    "read_mask",
    "read_values",
    "save_label_map",
]

# Pillow stretches grey pixels of 2 and 4 bits to 0..255; dividing gives the ids back.
_STRETCH = {"L;2": 85, "L;4": 17}


def read_label_map(
    path: str | os.PathLike,
    num_classes: int,
    ignore_class: int | None = VOID,
    ids: Ids | None = None,
    colours: Colours | None = None,
) -> np.ndarray:
    """Returns the label map as uint8 (H, W): ids 0..num_classes - 1 and `VOID`.

    Args:
        path: an image file, turned as its EXIF asks for, or an .npy file (H, W).
        num_classes: number of classes, 1..255.
        ignore_class, ids, colours: what the values in the file mean, as in `Folder`.

    Raises ValueError for a file that cannot be decoded, has colours without `colours`, or holds
    a value that means nothing.
    """
    return read_mask(path, MaskValues(num_classes, ignore_class, ids, colours))


def read_mask(path: str | os.PathLike, values: MaskValues) -> np.ndarray:
    """Returns the label map, uint8 (H, W), void 255, of a file with these values."""
    return values.label_map(read_values(path, values.are_colours), path)


def read_values(path: str | os.PathLike, colours: bool | None) -> np.ndarray:
    """Returns what a mask file holds, before anything is made of it.

    Args:
        path: the file.
        colours: True for colours, uint8 (H, W, 3), also of a palette; False for ids, (H, W)
            integers; None for what the file has.

    Raises ValueError for a file that cannot be decoded or has none of that.
    """
    if Path(path).suffix.lower() == ".npy":
        return _array(path, colours)
    with _files.opened(path, path):  # its header, before the whole file is read
        pass
    return _values(Path(path).read_bytes(), path, True, colours)


def decode_ids(content: bytes, name: object) -> np.ndarray:
    """Returns the ids in the bytes of a palette or grey image file, integers (H, W)."""
    return _values(content, name, False, colours=False)


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


def _values(content, name, turn, colours):
    _files.check_checksums(content, name)
    with _files.opened(io.BytesIO(content), name) as image:
        stored = _files.raw_mode(image)
        _files.loaded(image, name)
        kind = _kind(image, stored, content)
        image = _files.turned(image, _files.orientation(image)) if turn else image
        values = _converted(image, kind, colours, name)
    return values if values.ndim == 3 else values // _STRETCH.get(stored[:3], 1)


def _converted(image, kind, colours, name):
    row = _formats.MASKS.get(kind) or _formats.Row(_formats.REFUSED, "it is not known here")
    of_colours = _formats.COLOUR_MASKS.get(kind)
    if colours and row.convert is not None:
        row = of_colours or _formats.Row(_formats.REFUSED, "its pixels are no colours")
    if row.convert is None:
        raise ValueError(f"{name}: a mask saved as {kind}, {row.how}")
    try:
        return np.asarray(row.convert(image))
    except ValueError as error:
        if colours is None and of_colours:
            return np.asarray(of_colours.convert(image))
        raise ValueError(f"{name}: a mask saved as {kind}, {error}") from None


def _kind(image, stored, content):
    """The row of the table: Pillow's mode, or what spoils the values of any mode."""
    if image.format in ("JPEG", "MPO") or "jpeg" in str(image.info.get("compression")):
        return "JPEG"
    if image.format == "WEBP" and _files.is_lossy_webp(content):
        return "lossy WebP"
    if image.mode in ("1", "L") and "I" in stored.partition(";")[2]:
        return "white is zero"
    if image.mode in ("RGB", "RGBA", "LA") and "16" in stored:
        return "16 bits per channel"
    return image.mode


def _array(path, colours):
    """The ids (H, W) or colours (H, W, 3) of an .npy file."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # numpy raises half a dozen kinds
        raise ValueError(
            f"{path}: cannot be read ({error}); one array of integers, saved by numpy.save, is "
            "expected"
        ) from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    are_ids = array.ndim == 2 and array.dtype.kind in "iub"
    are_colours = array.shape[2:] == (3,) and array.dtype == np.uint8
    if array.size == 0 or not (are_ids or are_colours):
        raise ValueError(
            f"{path}: {array.dtype} {array.shape}; class ids, integers (H, W), or colours, uint8 "
            "(H, W, 3), are expected"
        )
    if colours is not None and colours != are_colours:
        expected = "colours, uint8 (H, W, 3), are expected" if colours else _formats.COLOURS
        raise ValueError(f"{path}: {array.dtype} {array.shape}; {expected}")
    _files.check_size((array.shape[1], array.shape[0]), path)
    return np.array(array, np.uint8 if array.dtype == bool else array.dtype)
