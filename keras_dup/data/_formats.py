"""What image files, mask files and arrays are understood, as tables: one row per pixel format.

The readers of `keras_dup.data` look their rows up here; `docs/formats.md` is printed from here.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

__all__ = ["ARRAYS", "COLOURS", "COLOUR_MASKS", "IMAGES", "MASKS", "Row", "equal_channels", "page"]

RIGHT, CONVERTED, REFUSED = "right", "converted", "refused"


@dataclasses.dataclass(frozen=True)
class Row:
    """One pixel format: what becomes of it, and how or why."""

    outcome: str  # right, converted or refused
    how: str
    convert: Callable | None = None  # image -> image or array


def _to_rgb(image):
    return image.convert("RGB")


def _unmultiplied_grey(image):
    return image.convert("LA").convert("RGB")


def _high_bits(image):
    # Pillow's own conversion clips at 255
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")


def _high_bits_of_12(image):
    return Image.fromarray((np.asarray(image) >> 4).astype(np.uint8)).convert("RGB")


def _whole_numbers(image):
    if image.format == "PPM":  # Pillow stretches all its depths above 8 bits to 16 bits
        return _high_bits(image)
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(
            f"32-bit integers of {pixels.min()}..{pixels.max()}, which have no known range; "
            "save it with 8 or 16 bits, or as values of 0..255"
        )
    return Image.fromarray(pixels.astype(np.uint8)).convert("RGB")


def _fractions(image):
    pixels = np.asarray(image)
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 255):  # also where one is not a number
        raise ValueError(
            f"floating-point values of {low:g}..{high:g}; 0..1 or 0..255 is expected: "
            "scale it, or save it with 8 bits"
        )
    scale = np.float32(255 if high <= 1 else 1)
    grey = np.empty(pixels.shape, np.uint8)
    for row, values in enumerate(pixels):  # no second image of floating-point numbers
        grey[row] = np.rint(values * scale)
    return Image.fromarray(grey).convert("RGB")


_GREY_16 = Row(CONVERTED, "grey, the high 8 of 16 bits", _high_bits)
IMAGES = {
    "RGB": Row(RIGHT, "8 bits per channel; of a file with 16 bits the high 8", lambda image: image),
    "1": Row(CONVERTED, "black and white become 0 and 255", _to_rgb),
    "L": Row(CONVERTED, "grey in all three channels", _to_rgb),
    "LA": Row(CONVERTED, "grey, transparency left out", _to_rgb),
    "La": Row(CONVERTED, "grey divided by its transparency", _unmultiplied_grey),
    "P": Row(CONVERTED, "the palette's colours", _to_rgb),
    "PA": Row(CONVERTED, "the palette's colours, transparency left out", _to_rgb),
    "RGBA": Row(CONVERTED, "transparency left out", _to_rgb),
    "RGBa": Row(CONVERTED, "colours divided by their transparency", _to_rgb),
    "RGBX": Row(CONVERTED, "the fourth channel left out", _to_rgb),
    "CMYK": Row(CONVERTED, "to RGB, without a colour profile", _to_rgb),
    "YCbCr": Row(CONVERTED, "to RGB, as JPEG defines it", _to_rgb),
    "LAB": Row(CONVERTED, "to sRGB", _to_rgb),
    "HSV": Row(CONVERTED, "to RGB", _to_rgb),
    "I;12": Row(CONVERTED, "grey, the high 8 of 12 bits", _high_bits_of_12),
    "I;16": _GREY_16,
    "I;16B": _GREY_16,
    "I;16L": _GREY_16,
    "I;16N": _GREY_16,
    "I": Row(CONVERTED, "values of 0..255 as they are, others are refused", _whole_numbers),
    "F": Row(
        CONVERTED, "values of 0..1 times 255, of 0..255 as they are, others refused", _fractions
    ),
}

COLOURS = (
    "its pixels are colours; say which class each one is: --colours FILE, or colours=... "
    "(keras-dup inspect shows what occurs)"
)


def equal_channels(image: Image.Image) -> np.ndarray:
    """Returns the ids of a picture whose channels are equal; ValueError if it has colours."""
    if image.mode == "LA":
        return np.asarray(image)[..., 0]
    pixels = np.asarray(image)
    ids = pixels[..., 0]
    if any((pixels[..., channel] != ids).any() for channel in (1, 2)):
        raise ValueError(COLOURS)
    return ids


_EQUAL = "the class ids, where all channels are equal; colours need a table of colours"
_IDS_16 = Row(RIGHT, "the class ids, 16 bits", np.asarray)
_NO_COLOURS = Row(REFUSED, "its pixels are neither ids nor RGB; save it as PNG")
MASKS = {
    "P": Row(RIGHT, "the palette's indices are the class ids", np.asarray),
    "L": Row(RIGHT, "the class ids, also of 2 and 4 bits", np.asarray),
    "1": Row(RIGHT, "ids 0 and 1", lambda image: np.asarray(image).astype(np.uint8)),
    "I": Row(RIGHT, "the class ids, 32 bits, negative ones too", np.asarray),
    "I;16": _IDS_16,
    "I;16B": _IDS_16,
    "I;16L": _IDS_16,
    "I;16N": _IDS_16,
    "F": Row(REFUSED, "its pixels are floating-point numbers; save it as a grey PNG of integers"),
    "LA": Row(CONVERTED, "the class ids, transparency left out", equal_channels),
    "La": _NO_COLOURS,
    "PA": Row(REFUSED, "its pixels have transparency; save it as a palette PNG without"),
    "RGB": Row(CONVERTED, _EQUAL, equal_channels),
    "RGBA": Row(CONVERTED, f"{_EQUAL}; transparency left out", equal_channels),
    "RGBX": Row(CONVERTED, f"{_EQUAL}; the fourth channel left out", equal_channels),
    **dict.fromkeys(("RGBa", "CMYK", "YCbCr", "LAB", "HSV"), _NO_COLOURS),
    "JPEG": Row(
        REFUSED,
        "JPEG changes the values of pixels, most of all at the borders of classes; export it "
        "again as PNG",
    ),
    "lossy WebP": Row(
        REFUSED, "lossy WebP changes the values of pixels; save it as PNG or lossless WebP"
    ),
    "white is zero": Row(REFUSED, "its grey values are stored inverted; save it as PNG"),
    "16 bits per channel": Row(
        REFUSED, "of which only the high 8 could be read; save ids as a grey PNG, colours with 8"
    ),
}
"""Of masks of ids. The last rows are no modes: they hold for masks of colours too."""

_SAME_GREY = Row(CONVERTED, "grey in all three channels", lambda image: image.convert("RGB"))
COLOUR_MASKS = {
    "RGB": IMAGES["RGB"],
    **{mode: IMAGES[mode] for mode in ("RGBA", "RGBX", "P", "1")},
    "L": _SAME_GREY,
    "LA": _SAME_GREY,
}
"""Of masks of colours, where a table of colours is given; others are refused."""

_INTEGERS = Row(RIGHT, "values of 0..255; others are refused")
_FLOATS = Row(RIGHT, "values of 0..255, with a warning if all lie in 0..1; others are refused")
_NO_NUMBERS = Row(REFUSED, "numbers of 0..255 are expected")
ARRAYS = {
    "uint8": Row(RIGHT, "as they are"),
    "bool": Row(CONVERTED, "False becomes 0, True 255"),
    **dict.fromkeys(("int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"), _INTEGERS),
    **dict.fromkeys(("float16", "float32", "float64"), _FLOATS),
    **dict.fromkeys(("complex64", "object", "str", "datetime64"), _NO_NUMBERS),
}

_HEAD = """# What is read: images, masks, arrays

One reader for images and one for masks serve training, `predict`, `evaluate` and the checks. This
page lists every pixel format: *right* means read as it is, *converted* means read and changed as
the last column says, *refused* means an error that names the file.

- The mode is Pillow's word for the pixel format: `python -c "from PIL import Image;
  print(Image.open('a.png').mode)"`.
- Images and masks are rotated as the EXIF orientation of each file asks for. Broken EXIF data are
  ignored.
- Of a file with several pictures (GIF, TIFF) the first one is read.
- An image or a mask may have 178,956,970 pixels. Larger ones are refused by their header, before
  anything is decoded. `--max-pixels N`, or `keras_dup.data.allow_pixels(N)`, changes the limit.
- The checksums of a PNG mask are checked: one wrong bit would be another class.
- A mask may also be an .npy file: integers (height, width), or, with a table of colours, uint8
  (height, width, 3).
- `serve_encoded` of an exported SavedModel decodes with TensorFlow: JPEG, PNG, BMP and GIF, with
  the same result. A BMP with a palette, a GIF with transparency and all other files are answered
  with an error for that file.
"""
_WITH_COLOURS = """## Mask files of colours

With a table of colours (`--colours`). They become class ids, uint8, void 255. All other modes are
refused."""
_PARTS = {
    "## Image files\n\nThey become RGB, uint8, 0..255.": ("mode", IMAGES),
    "## Mask files of class ids\n\nThey become class ids, uint8, void 255.": ("mode", MASKS),
    _WITH_COLOURS: ("mode", COLOUR_MASKS),
    "## Arrays for `keras_dup.inference.predict`\n\nShape (height, width, 3).": ("dtype", ARRAYS),
}


def page() -> str:
    """Returns the tables as a page of the documentation, in Markdown."""
    parts = [_HEAD]
    for title, (first, rows) in _PARTS.items():
        lines = [f"| {first} | | how, or why not |", "|---|---|---|"]
        lines += [f"| `{name}` | {row.outcome} | {row.how} |" for name, row in rows.items()]
        parts.append(f"{title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)
