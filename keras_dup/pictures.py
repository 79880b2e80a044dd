"""Label maps as pictures: colours, overlays, differences, grids of them, a legend. With Pillow."""

import contextlib
import functools
import importlib.util
import pathlib
import textwrap
import typing
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_dup._label_maps import VOID, palette

if typing.TYPE_CHECKING:  # it imports TensorFlow
    from keras_dup.data._protocol import Dataset

__all__ = ["comparison", "overlay"]

_Predict = Callable[[np.ndarray], np.ndarray]  # (H, W, 3) uint8 -> (H, W) class ids

RIGHT, WRONG, UNKNOWN = (225, 225, 225), (200, 30, 30), (255, 255, 255)
MARGIN = 6
OPACITY = 0.5
_BAND_PIXELS = 2**16
_GREY = np.array([77, 150, 29], np.uint16)  # 256ths of red, green and blue, as the eye weighs them
# names of classes that stay clear in an overlay; "0" is what class 0 without a name is called
_BACKGROUNDS = {"background", "_background_", "bg", "void", "unlabelled", "unlabeled", "0"}


def coloured(label_map: np.ndarray, colours: np.ndarray | Sequence | None = None) -> np.ndarray:
    """(H, W) class ids -> (H, W, 3) uint8, in `class_colours`."""
    return class_colours(colours)[label_map]


def class_colours(colours: np.ndarray | Sequence | None) -> np.ndarray:
    """uint8 (256, 3): given colours (K, 3) of classes, and VOC's for the other ids; of void too."""
    table = palette()
    if colours is not None:
        table[: min(len(colours), VOID)] = np.asarray(colours)[:VOID]
    return table


def overlay(
    image: np.ndarray,
    label_map: np.ndarray,
    class_names: Sequence[str],
    opacity: float = OPACITY,
    colours: np.ndarray | Sequence | None = None,
) -> Image.Image:
    """The image with the colours of its classes over it, and a legend of those that occur.

    Under a colour the image is grey.

    Args:
        image: (H, W, 3) uint8.
        label_map: (H, W) class ids.
        class_names: one string per class. A class that is called background (or void, unlabelled,
            or 0, where names are ids) stays clear.
        opacity: 0..1, of the colours.
        colours: (K, 3) 0..255; VOC's, `keras_dup.data.palette()`, by default.

    Returns: a Pillow image of the width of `image`, at least 120.
    """
    height, width = label_map.shape
    parts = _bands(height, width)
    present = sorted(set().union(*(np.unique(label_map[rows]).tolist() for rows in parts)))
    key = legend(class_names, max(width, 120), present, colours)
    whole = Image.new("RGB", (key.width, height + key.height), "white")
    for rows, band in _mixed(image, label_map, opacity, class_names, colours):
        whole.paste(Image.fromarray(band), (0, rows.start))
    whole.paste(key, (0, height))
    return whole


def mixed(
    image: np.ndarray,
    label_map: np.ndarray,
    opacity: float = OPACITY,
    class_names: Sequence[str] = ("background",),
    colours: np.ndarray | Sequence | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8: the image with the colours of its classes over it, without a legend."""
    whole = np.empty((*label_map.shape, 3), np.uint8)
    for rows, band in _mixed(image, label_map, opacity, class_names, colours):
        whole[rows] = band
    return whole


def _mixed(image, label_map, opacity, class_names, colours):
    """Yields (rows, their pixels)."""
    table, shares = class_colours(colours), np.full((256, 1), opacity)
    for k, name in enumerate(class_names):
        if name.casefold() in _BACKGROUNDS:
            shares[k] = 0
    for rows in _bands(*label_map.shape):
        yield rows, _blended(image[rows], table[label_map[rows]], shares[label_map[rows]])


def _blended(image, colours, share):
    """Colours over grey: over the image's own, olive on blue would be grey."""
    grey = (image.astype(np.uint16) @ _GREY >> 8)[..., None]
    image = np.where(share > 0, grey, image)
    return (image * (1 - share) + colours * share).astype(np.uint8)


def _bands(height, width):
    """Slices of the rows of an image: mixing takes about 60 bytes per pixel of a band."""
    step = max(1, _BAND_PIXELS // width)
    return [slice(top, min(top + step, height)) for top in range(0, height, step)]


def difference(truth: np.ndarray, label_map: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: red where the label maps differ, white where the truth is void."""
    picture = np.where((truth == label_map)[..., None], RIGHT, WRONG)
    return np.where((truth == VOID)[..., None], UNKNOWN, picture).astype("uint8")


def grid(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    class_names: Sequence[str],
    width: int = 240,
    colours: np.ndarray | Sequence | None = None,
) -> Image.Image:
    """Rows of pictures of any size under titles, with a legend of the classes: a Pillow image."""
    scaled = [[_scaled(picture, width) for picture in row] for row in rows]
    heights = [max(picture.height for picture in row) for row in scaled]
    canvas_width = len(titles) * (width + MARGIN) + MARGIN
    key = legend(class_names, canvas_width, colours=colours)
    letters = width // 6  # of about 6 pixels each
    titles = [textwrap.fill(title, letters, break_long_words=False) for title in titles]
    top = 24 + 15 * max(title.count("\n") for title in titles)
    canvas = Image.new("RGB", (canvas_width, top + sum(heights) + MARGIN * len(rows)), "white")
    pen = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        pen.text((MARGIN + column * (width + MARGIN), 6), title, fill="black")
    for row, height in zip(scaled, heights, strict=True):
        for column, picture in enumerate(row):
            canvas.paste(picture, (MARGIN + column * (width + MARGIN), top))
        top += height + MARGIN
    whole = Image.new("RGB", (canvas_width, canvas.height + key.height), "white")
    whole.paste(canvas, (0, 0))
    whole.paste(key, (0, canvas.height))
    return whole


def _scaled(picture, width):
    picture = Image.fromarray(picture)
    height = round(picture.height * width / picture.width)
    return picture.resize((width, height), Image.NEAREST)


def worst(
    predict: _Predict,
    dataset: "Dataset",
    report: Mapping[str, typing.Any],
    count: int = 6,
    colours: np.ndarray | Sequence | None = None,
) -> Image.Image:
    """The `count` images with the lowest mIoU: image, truth, prediction and difference in a row.

    Args: as in `keras_dup.evaluation.evaluate`, its report, and (K, 3) colours of the classes.
    Returns: a Pillow image.
    """
    scored = [(value, i) for i, value in enumerate(report["image_miou"]) if value is not None]
    rows = []
    for _, i in sorted(scored)[:count]:
        image, truth = dataset.image(i), dataset.label_map(i)
        found = predict(image)
        label_maps = [coloured(label_map, colours) for label_map in (truth, found)]
        rows.append([image, *label_maps, difference(truth, found)])
    titles = ["image", "truth", "prediction", "wrong"]
    return grid(rows, titles, dataset.class_names, colours=colours)


def comparison(
    dataset: "Dataset",
    predictors: Mapping[str, _Predict] | None = None,
    count: int = 3,
    width: int = 160,
    opacity: float = OPACITY,
    chosen: Sequence[int] | None = None,
) -> Image.Image:
    """One row per image: the image, its truth, and for each predictor its result and its errors.

    Args:
        dataset: a data set of `keras_dup.data`.
        predictors: {title: function}, each image (H, W, 3) uint8 -> (H, W) class ids; None shows
            the data set only.
        count: the number of images, taken evenly from the data set.
        width: the width of each column in pixels.
        opacity: as in `overlay`.
        chosen: the indices of the images, in place of `count`.

    Returns: a Pillow image. Errors are red, void is white.
    """
    predictors, rows = predictors or {}, []
    classes = dataset.class_names, getattr(dataset, "palette", None)
    if chosen is None:
        chosen = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int).tolist()
    for i in chosen:
        image, truth = dataset.image(i), dataset.label_map(i)
        row = [image, mixed(image, truth, opacity, *classes)]
        for predict in predictors.values():
            found = np.asarray(predict(image))
            row += [mixed(image, found, opacity, *classes), difference(truth, found)]
        rows.append(row)
    titles = ["image", "truth", *(text for title in predictors for text in (title, "wrong"))]
    return grid(rows, titles, classes[0], width, classes[1])


def confusion(
    counts: np.ndarray | Sequence[Sequence[int]], class_names: Sequence[str], side: int = 24
) -> Image.Image:
    """A confusion matrix. Each row shows shares of one true class; the diagonal is right.

    Args: (K, K) counts, row = truth; K names; the side of a cell in pixels.
    Returns: a Pillow image.
    """
    counts = np.asarray(counts, float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [_written(f"{name} {k}", str(k)) for k, name in enumerate(class_names)]
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = 2 * MARGIN + max(int(pen.textlength(text, font)) for text, font in names)
    top = 40
    size = (left + side * len(counts) + MARGIN, top + side * len(counts) + MARGIN)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    pen.text((left, MARGIN), "prediction, share of the true class in %", fill="black")
    for k, (text, font) in enumerate(names):
        pen.text((MARGIN, top + k * side + 6), text, fill="black", font=font)
        pen.text((left + k * side + 6, top - 16), str(k), fill="black")
    for row, column in np.ndindex(*shares.shape):
        share = shares[row, column]
        shade = round(255 * (1 - share))
        corner = left + column * side, top + row * side
        fill = (shade, 255 - (255 - shade) // 3, shade) if row == column else (255, shade, shade)
        pen.rectangle((*corner, corner[0] + side - 1, corner[1] + side - 1), fill=fill)
        if share >= 0.005:
            pen.text((corner[0] + 3, corner[1] + 6), f"{100 * share:.0f}", fill="black")
    return picture


def legend(
    class_names: Sequence[str],
    width: int,
    ids: Sequence[int] | None = None,
    colours: np.ndarray | Sequence | None = None,
) -> Image.Image:
    """A strip of the colours and names of the classes, or of those in `ids`: a Pillow image.

    A name that no font here can draw is written as its id, and a last line says so.
    """
    ids = range(len(class_names)) if ids is None else ids
    table = class_colours(colours)
    names = [_written(class_names[k], str(k)) for k in ids]
    places, x, y = [], MARGIN, 0
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    for text, font in names:
        length = 18 + int(pen.textlength(text, font)) + 12
        if x + length > width:
            x, y = MARGIN, y + 18
        places.append((x, y))
        x += length
    replaced = any(text != class_names[k] for k, (text, _) in zip(ids, names, strict=True))
    strip = Image.new("RGB", (width, y + (40 if replaced else 22)), "white")
    pen = ImageDraw.Draw(strip)
    for (x, y), k, (text, font) in zip(places, ids, names, strict=True):
        pen.rectangle((x, y + 3, x + 12, y + 15), fill=tuple(table[k].tolist()))
        pen.text((x + 18, y + 3), text, fill="black", font=font)
    if replaced:
        pen.text((MARGIN, y + 21), "ids: no font for the names", fill="black")
    return strip


def _written(name, otherwise):
    """(text, font): the name and the first font that can draw it, else `otherwise`."""
    name = unicodedata.normalize("NFC", name)
    for font in _fonts():
        if not {_glyph(font, letter) for letter in name} & {None, _glyph(font, "\uffff")}:
            return name, font
    return otherwise, _fonts()[0]


def drawable_names(class_names):
    """The names of the classes, with the ids of those that no font here can draw."""
    return [_written(name, str(k))[0] for k, name in enumerate(class_names)]


@functools.cache
def _fonts():
    """Pillow's own font, and Matplotlib's where it is installed, which knows more letters."""
    fonts = [ImageFont.load_default()]
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib:
        path = pathlib.Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        with contextlib.suppress(OSError, ImportError):
            fonts.append(ImageFont.truetype(str(path), 10))
    return fonts


@functools.lru_cache(4096)
def _glyph(font, letter):
    """What a letter looks like, as something to compare; None where the font raises."""
    try:
        mask = font.getmask(letter)
    except (UnicodeError, OSError):
        return None
    return mask.size, bytes(mask)
