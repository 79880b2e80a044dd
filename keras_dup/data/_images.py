"""Image files -> RGB pixels. `keras_dup.data._formats.IMAGES` says what becomes of each mode."""

import io
import os

import numpy as np

from keras_dup.data import _files, _formats

__all__ = ["check_image", "decode_image", "image_size", "read_image"]


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Returns the image as uint8 (H, W, 3), turned the way its EXIF orientation asks for.

    Raises ValueError if the file cannot be decoded, is too large or has a pixel format that is
    refused (see `docs/formats.md`).
    """
    with _files.opened(path, path) as image:
        return _rgb(image, path, turn=True)


def check_image(path: str | os.PathLike) -> None:
    """Raises the ValueError that `read_image` would, without the cost of all the pixels."""
    with _files.opened(path, path) as image:
        # a JPEG's blocks become one pixel each; no other format does that
        image.draft("RGB", (1, 1))
        _rgb(image, path)


def decode_image(content: bytes, name: object, turn: bool = False) -> np.ndarray:
    """Returns the image in the bytes of a file as uint8 (H, W, 3), as it is stored.

    Unlike `read_image` it does not follow EXIF unless it is to `turn`: the masks of published data
    sets were drawn on the stored pixels. Raises ValueError, with `name`, if the bytes cannot be
    decoded.
    """
    with _files.opened(io.BytesIO(content), name) as image:
        return _rgb(image, name, turn)


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Returns (height, width) of what `read_image` would give, from the file's header alone."""
    with _files.opened(path, path) as image:
        width, height = image.size
        swapped = image.format != "TIFF" and _files.orientation(image) >= 5  # Pillow turns TIFF
    return (width, height) if swapped else (height, width)


def _rgb(image, name, turn=False):
    mode = _files.raw_mode(image)
    _files.loaded(image, name)
    mode = mode if mode in _formats.IMAGES else image.mode
    row = _formats.IMAGES.get(mode) or _formats.Row(_formats.REFUSED, "it is not known here")
    if row.convert is None:
        raise ValueError(f"{name}: an image of mode {mode}: {row.how}")
    try:
        converted = row.convert(image)
        return np.array(_files.turned(converted, _files.orientation(image)) if turn else converted)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
