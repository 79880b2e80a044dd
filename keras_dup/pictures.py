"""Label maps as pictures: colours, an overlay on the image, a legend. With Pillow."""

import pathlib

import numpy as np
from PIL import Image, ImageDraw

from keras_dup.data.files import palette

MARGIN = 6
OPACITY = 0.5


def colours(label_map):
    """(H, W) class ids -> (H, W, 3) uint8, VOC's palette."""
    return palette()[label_map]


def overlay(image, label_map, class_names, opacity=OPACITY):
    """The image with the colours of its classes over it, and a legend of those that occur.

    Args:
        image: (H, W, 3) uint8.
        label_map: (H, W) class ids; class 0, the background, stays clear.
        class_names: one string a class.
        opacity: 0..1, of the colours.

    Returns: a Pillow image of the width of `image`, at least 120.
    """
    share = np.where(label_map == 0, 0.0, opacity)[..., None]
    mixed = Image.fromarray((image * (1 - share) + colours(label_map) * share).astype(np.uint8))
    present = np.unique(label_map).tolist()
    key = legend(class_names, max(mixed.width, 120), present)
    whole = Image.new("RGB", (key.width, mixed.height + key.height), "white")
    whole.paste(mixed, (0, 0))
    whole.paste(key, (0, mixed.height))
    return whole


def save(picture, path):
    """Writes a picture, whole or not at all."""
    path = pathlib.Path(path)
    part = path.with_name(f"part.{path.name}")
    picture.save(part)
    part.replace(path)


def legend(class_names, width, ids=None):
    """A strip of the colours and names of the classes, or of those in `ids`: a Pillow image."""
    ids = range(len(class_names)) if ids is None else ids
    places, x, y = [], MARGIN, 0
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    for k in ids:
        length = 18 + int(pen.textlength(class_names[k])) + 12
        if x + length > width:
            x, y = MARGIN, y + 18
        places.append((x, y))
        x += length
    strip = Image.new("RGB", (width, y + 22), "white")
    pen = ImageDraw.Draw(strip)
    for (x, y), k in zip(places, ids, strict=True):
        pen.rectangle((x, y + 3, x + 12, y + 15), fill=tuple(palette()[k].tolist()))
        pen.text((x + 18, y + 3), class_names[k], fill="black")
    return strip
