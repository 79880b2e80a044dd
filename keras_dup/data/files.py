"""Reading and writing images and label maps, one file at a time, with Pillow.

TensorFlow's own decoder turns a palette PNG into colours; Pillow keeps the class ids.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

VOID = 255
"""The id of pixels without a label in every label map that this package hands out."""

# Pillow stretches grey PNGs of 2 and 4 bits to 0..255; dividing gives the ids back.
_STRETCH = {"L;2": 85, "L;4": 17}
_EXIF_ORIENTATION = 0x0112


def read_image(path):
    """Returns the image as uint8 (H, W, 3), turned the way its EXIF orientation asks for.

    Grey, palette, RGBA (alpha dropped) and CMYK images become RGB. Raises ValueError if the
    file cannot be decoded.
    """
    with _opened(path) as image:
        _load(image, path)
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion clips at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return np.array(image.convert("RGB"))


def image_size(path):
    """Returns (height, width) of what `read_image` would give, from the file's header alone."""
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def read_label_map(path, num_classes, ignore_class=VOID):
    """Returns the label map as uint8 (H, W): ids 0..num_classes - 1 and `VOID`.

    Args:
        path: a palette or grey PNG, one class id per pixel.
        num_classes: number of classes, 1..255.
        ignore_class: the id that the file uses for void, or None if it has no void.

    Raises ValueError for a file that cannot be decoded, has colours instead of ids, or holds
    an id outside the classes.
    """
    ids = _read_ids(path)
    wrong = ids >= num_classes
    if ignore_class is not None:
        wrong &= ids != ignore_class
    if wrong.any():
        void = "no void" if ignore_class is None else f"void {ignore_class}"
        raise ValueError(
            f"{path}: class id {ids[wrong].min()}, but num_classes is {num_classes} "
            f"(ids 0..{num_classes - 1} and {void})"
        )
    if ignore_class not in (None, VOID):
        ids = np.where(ids == ignore_class, VOID, ids)
    return ids.astype(np.uint8)


def save_label_map(path, label_map):
    """Writes a label map (H, W), ids 0..255, as a palette PNG, whole or not at all."""
    ids = np.asarray(label_map)
    if ids.ndim != 2 or ids.size == 0 or ids.min() < 0 or ids.max() > 255:
        raise ValueError(f"a label map is (H, W) with ids 0..255, this one is {ids.shape}")
    image = Image.fromarray(ids.astype(np.uint8))
    image.putpalette(palette().tobytes())  # turns a grey image into a palette image
    path = Path(path)
    # A reader never sees half a file: os.replace is atomic within one folder.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        image.save(temporary, format="PNG")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def palette():
    """Returns PASCAL VOC's colours, uint8 (256, 3): row k is class k, row 255 (void) light grey.

    Bits 0, 1, 2 of the id become the highest bits of red, green, blue, bits 3, 4, 5 the next
    ones, and so on, so that ids near each other get colours far apart.
    """
    ids = np.arange(256)[:, None]
    colours = np.zeros((256, 3), np.int64)
    for level in range(3):
        colours |= ((ids >> (3 * level + np.arange(3))) & 1) << (7 - level)
    return colours.astype(np.uint8)


def _read_ids(path):
    with _opened(path) as image:
        raw_mode = image.tile[0][3] if image.tile else None  # forgotten once the pixels are loaded
        _load(image, path)
        deep = image.mode.startswith("I")
        if not deep and image.mode not in ("1", "L", "P"):
            raise ValueError(
                f"{path}: a mask saved as {image.mode}, whose pixels are colours; "
                "save it as a palette or grey PNG, one class id per pixel"
            )
        ids = np.asarray(image).astype(np.int64 if deep else np.uint8)
    return ids // _STRETCH.get(raw_mode, 1)


def _opened(path):
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds
        raise _damaged(path, error) from error


def _load(image, path):
    try:
        image.load()
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path, error):
    return ValueError(
        f"{path}: cannot be decoded ({error}); the file is damaged, cut short or not an image: "
        "copy or export it again"
    )
