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
    "check_size",
    "is_lossy_webp",
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
_LARGEST_PNG = 2**30  # bytes of a file whose pixels are looked for behind broken chunks


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
    if not isinstance(file, (str, os.PathLike)):
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
    except Exception as error:  # Pillow's decoders raise a dozen kinds
        stream.seek(0)
        content = stream.read(_LARGEST_PNG)
        if not content.startswith(_PNG) or isinstance(error, Image.DecompressionBombError):
            raise _unreadable(name, error) from error
    try:  # what says how large a pixel is, or when it was taken, is no reason not to read it
        return Image.open(io.BytesIO(_pixels_alone(content)))
    except Exception as error:
        raise _unreadable(name, error) from error


def _pixels_alone(content):
    """A PNG without what can be left out, but for its EXIF data where their checksum is right."""
    kept = [_PNG]
    for kind, chunk, is_right in _chunks(content):
        if kind[:1].isupper() or (kind == b"eXIf" and is_right):
            kept.append(chunk)
    return b"".join(kept)


def _chunks(content):
    """Yields (kind, the whole chunk, whether its checksum is right) of a PNG up to its end."""
    place, view = len(_PNG), memoryview(content)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        end = place + 12 + length
        if end > len(content):
            return
        checksum = int.from_bytes(content[end - 4 : end])
        is_right = zlib.crc32(view[place + 4 : end - 4]) == checksum
        yield content[place + 4 : place + 8], view[place:end], is_right
        place = end


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
    """Raises ValueError, with `name`, where a PNG ends early or its pixels have a wrong checksum.

    Pillow does not check that, and one wrong bit is another class id.
    """
    if not content.startswith(_PNG):
        return
    kind = b""
    for kind, _, is_right in _chunks(content):
        if kind[:1].isupper() and not is_right:  # other chunks do not change the pixels
            raise _unreadable(name, ValueError(f"the checksum of its {kind!r} chunk is wrong"))
        if kind == b"IEND":
            return
    raise _unreadable(name, ValueError("it ends before its IEND chunk"))


def check_size(size: tuple[int, int], name: object) -> None:
    """Raises ValueError, with `name`, for (width, height) of more pixels than are allowed."""
    limit, (width, height) = Image.MAX_IMAGE_PIXELS, size
    if limit is not None and width * height > 2 * limit:
        text = f"Image size ({width * height} pixels) exceeds limit of {2 * limit} pixels"
        raise _unreadable(name, Image.DecompressionBombError(text))


def is_lossy_webp(content: bytes) -> bool:
    """Whether a WebP file has a picture in the lossy format: a chunk "VP8 "."""
    place = 12
    while place + 8 <= len(content):
        kind, length = (
            content[place : place + 4],
            int.from_bytes(content[place + 4 : place + 8], "little"),
        )
        if kind in (b"VP8 ", b"VP8L"):
            return kind == b"VP8 "
        place += 8 + (16 if kind == b"ANMF" else length + length % 2)  # a frame holds chunks
    return False


def _unreadable(name, error):
    if isinstance(error, UnidentifiedImageError):  # whose message shows the stream
        error = "no image format is recognized"
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(
            f"{name}: {str(error).split(',')[0]}; to read it all the same, raise the limit: "
            "--max-pixels N on the command line, keras_dup.data.allow_pixels(N) in Python"
        )
    return ValueError(
        f"{name}: cannot be decoded ({error}); the file is damaged, cut short or not an image: "
        "copy or export it again"
    )
