"""Opening image files with Pillow: limits from the header, orientation, errors that name the file.

TensorFlow's own decoder turns a palette PNG into colours; Pillow keeps the class ids.
"""

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

__all__ = [
    "allow_pixels",
    "check_checksums",
    "loaded",
    "opened",
    "orientation",
    "raw_mode",
    "turned",
]

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG = b"\x89PNG\r\n\x1a\n"


def allow_pixels(max_pixels: int) -> None:
    """Sets how many pixels an image or a mask may have, for the whole process (Pillow's limit).

    Files are refused by their headers, before anything is decoded. Pillow's own limit is
    178,956,970 pixels (`2 * PIL.Image.MAX_IMAGE_PIXELS`).
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels is at least 1, not {max_pixels}")
    Image.MAX_IMAGE_PIXELS = -(-max_pixels // 2)  # Pillow warns at that, and refuses twice as many
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)


@contextlib.contextmanager
def opened(file: str | os.PathLike | BinaryIO, name: object) -> Iterator[Image.Image]:
    """Gives the image of a file, its pixels not decoded yet; errors call it `name`."""
    if isinstance(file, io.IOBase):
        yield _image(file, name)
        return
    if os.path.exists(file) and not os.path.isfile(file):
        raise ValueError(f"{name}: is no regular file")  # reading a pipe would wait for ever
    # not by its name: Pillow then maps a TIFF into memory, and turned ones come out garbled
    with open(file, "rb") as stream:
        yield _image(stream, name)


def _image(stream, name):
    try:
        return Image.open(stream)
    except UnidentifiedImageError as error:  # whose message shows the stream
        raise _unreadable(name, ValueError("no image format is recognized")) from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds
        raise _unreadable(name, error) from error


def loaded(image: Image.Image, name: object) -> Image.Image:
    """Returns the image with its pixels decoded; ValueError, with `name`, if they cannot be."""
    try:
        image.load()
    except Exception as error:
        raise _unreadable(name, error) from error
    return image


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Returns a decoded image the way an EXIF orientation asks for."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1..8; 1 where there is none or the EXIF data is broken."""
    try:
        found = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # the pixels do not depend on it
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def raw_mode(image: Image.Image) -> str:
    """Returns how the file stores pixels, in Pillow's words; decoding the image forgets it."""
    tile = getattr(image, "tile", None)
    if not tile:
        return ""
    arguments = tile[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def check_checksums(content: bytes, name: object) -> None:
    """Raises ValueError, with `name`, where a chunk of a PNG does not have its checksum.

    Pillow does not check those of the pixels, and one wrong bit there is another class id.
    """
    if not content.startswith(_PNG):
        return
    place, view = len(_PNG), memoryview(content)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            break
        kind = content[place + 4 : place + 8]
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(content[end : end + 4]):
            raise _unreadable(name, ValueError(f"the checksum of its {kind!r} chunk is wrong"))
        if kind == b"IEND":
            return
        place = end + 4
    raise _unreadable(name, ValueError("it ends before its IEND chunk"))


def _unreadable(name, error):
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(
            f"{name}: {str(error).split(',')[0]}; to read it all the same, raise the limit: "
            "--max-pixels N on the command line, keras_dup.data.allow_pixels(N) in Python"
        )
    return ValueError(
        f"{name}: cannot be decoded ({error}); the file is damaged, cut short or not an image: "
        "copy or export it again"
    )
