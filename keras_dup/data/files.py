"""Reading and writing images and label maps, one file at a time, with Pillow.

TensorFlow's own decoder turns a palette PNG into colours; Pillow keeps the class ids.
"""

import io

import numpy as np
from PIL import Image, ImageOps

from keras_dup.whole import writing

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
    with _opened(path, path) as image:
        _load(image, path)
        ImageOps.exif_transpose(image, in_place=True)
        return _rgb(image)


def check_image(path):
    """Raises the ValueError that `read_image` would, without the cost of all the pixels."""
    with _opened(path, path) as image:
        image.draft("RGB", (1, 1))  # a JPEG's blocks become one pixel each; no other format does
        _load(image, path)


def decode_image(content, name):
    """Returns the image in the bytes of a file as uint8 (H, W, 3), as it is stored.

    Unlike `read_image` it does not follow EXIF: the masks of published data sets were drawn on
    the stored pixels. Raises ValueError, with `name`, if the bytes cannot be decoded.
    """
    with _opened(io.BytesIO(content), name) as image:
        _load(image, name)
        return _rgb(image)


def decode_ids(content, name):
    """Returns the ids in the bytes of a palette or grey image file, integers (H, W)."""
    return _read_ids(io.BytesIO(content), name)


def encode_ids(ids):
    """Returns ids (H, W), 0..255, as the bytes of a grey PNG file."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(ids, np.uint8)).save(file, format="PNG")
    return file.getvalue()


def image_size(path):
    """Returns (height, width) of what `read_image` would give, from the file's header alone."""
    with _opened(path, path) as image:
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
    ids = _read_ids(path, path)
    check_ids(ids, num_classes, ignore_class, path)
    if ignore_class not in (None, VOID):
        ids[ids == ignore_class] = VOID
    return ids.astype(np.uint8, copy=False)


def check_ids(ids, num_classes, ignore_class, name):
    """Raises ValueError, with `name`, if an id is neither 0..num_classes - 1 nor void."""
    wrong = (ids < 0) | (ids >= num_classes)
    if ignore_class is not None:
        wrong &= ids != ignore_class
    if wrong.any():
        void = "no void" if ignore_class is None else f"void {ignore_class}"
        raise ValueError(
            f"{name}: class id {ids[wrong].min()}, but num_classes is {num_classes} "
            f"(ids 0..{num_classes - 1} and {void})"
        )


def save_label_map(path, label_map):
    """Writes a label map (H, W), ids 0..255, as a palette PNG, whole or not at all."""
    ids = np.asarray(label_map)
    if ids.ndim != 2 or ids.size == 0 or ids.min() < 0 or ids.max() > 255:
        raise ValueError(f"a label map is (H, W) with ids 0..255, this one is {ids.shape}")
    image = Image.fromarray(ids.astype(np.uint8))
    image.putpalette(palette().tobytes())  # turns a grey image into a palette image
    with writing(path) as temporary:
        image.save(temporary, format="PNG")


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


def _rgb(image):
    if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion clips at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _read_ids(file, name):
    with _opened(file, name) as image:
        raw_mode = image.tile[0][3] if image.tile else None  # forgotten once the pixels are loaded
        _load(image, name)
        deep = image.mode.startswith("I")
        if not deep and image.mode not in ("1", "L", "P"):
            raise ValueError(
                f"{name}: a mask saved as {image.mode}, whose pixels are colours; "
                "save it as a palette or grey PNG, one class id per pixel"
            )
        ids = np.asarray(image).astype(np.int64 if deep else np.uint8)
    return ids // _STRETCH[raw_mode] if raw_mode in _STRETCH else ids


def _opened(file, name):
    try:
        return Image.open(file)
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds
        raise _damaged(name, error) from error


def _load(image, name):
    try:
        image.load()
    except Exception as error:
        raise _damaged(name, error) from error


def _damaged(name, error):
    return ValueError(
        f"{name}: cannot be decoded ({error}); the file is damaged, cut short or not an image: "
        "copy or export it again"
    )
