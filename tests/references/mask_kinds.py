"""Every usual kind of masks, drawn: how its files are written, and what has to be said of them."""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

from keras_dup import data

CLASSES, VOID, SIZE = ("sky", "road", "tree"), 255, (32, 48)
COLOURS = {0: (128, 128, 128), 1: (128, 64, 128), 2: (128, 128, 0), VOID: (0, 0, 0)}  # CamVid's
LINES = "sky 128 128 128\nroad 128 64 128\ntree 128 128 0\nvoid 0 0 0\n"
CITYSCAPES_IDS = {0: 23, 1: 7, 2: 21, VOID: 0}
CITYSCAPES = {0: 10, 1: 0, 2: 8, VOID: VOID}  # the same classes in its order


@dataclasses.dataclass
class Kind:
    """One kind of masks.

    Attributes:
        write: (path without ending, label map) -> writes the file of a mask.
        said: the options of the command line.
        options: the same as arguments of `data.Folder`.
        means: {class: what it is in the data set}; as it is by default.
        num_classes: of the data set.
        image, mask: names of the files, of "{}".
        table: the content of colours.txt.
    """

    write: Callable
    said: tuple = ()
    options: dict = dataclasses.field(default_factory=dict)
    means: dict | None = None
    num_classes: int = 3
    image: str = "{}"
    mask: str = "{}"
    table: str = LINES

    def truth(self, label_map):
        return mapped(label_map, self.means) if self.means else label_map


def mapped(label_map, table):
    """The label map with other values, ids or colours."""
    values = np.zeros((256, *np.shape(next(iter(table.values())))), np.uint8)
    for key, value in table.items():
        values[key] = value
    return values[label_map]


def coloured(label_map):
    return Image.fromarray(mapped(label_map, COLOURS))


def saved(ending, make=Image.fromarray, **options):
    """A function that writes what `make` makes of a label map."""

    def write(path, label_map):
        made = make(label_map)
        if isinstance(made, np.ndarray):
            np.save(f"{path}{ending}", made)
        else:
            made.save(f"{path}{ending}", **options)

    return write


def palette_in_another_order(label_map):
    """Colours as a palette picture whose indices mean nothing."""
    return coloured(label_map[:, ::-1]).transpose(Image.Transpose.FLIP_LEFT_RIGHT).quantize(8)


def ids(table):
    return lambda label_map: Image.fromarray(mapped(label_map, table))


GREY = saved(".png")
BINARY = {"means": {0: 0, 1: 1, 2: 0, VOID: 0}, "num_classes": 2}
FILE = (("--colours", "colours.txt"), {"colours": "colours.txt"})
KINDS = {
    "ids": Kind(GREY),
    "palette": Kind(lambda path, label_map: data.save_label_map(f"{path}.png", label_map)),
    "void 11": Kind(
        saved(".png", ids({0: 0, 1: 1, 2: 2, VOID: 11})),
        ("--ignore-class", "11"),
        {"ignore_class": 11},
    ),
    "no void": Kind(
        saved(".png", ids({0: 0, 1: 1, 2: 2, VOID: 0})),
        ("--ignore-class", "none"),
        {"ignore_class": None},
        {0: 0, 1: 1, 2: 2, VOID: 0},
    ),
    "from 1": Kind(
        saved(".png", ids({0: 1, 1: 2, 2: 3, VOID: 0})),
        ("--ids", "0:255,1..3:0..2"),
        {"ids": {0: 255, 1: 0, 2: 1, 3: 2}},
    ),
    "binary": Kind(
        saved(".png", ids({0: 0, 1: 255, 2: 0, VOID: 0})),
        ("--ids", "0:0,255:1"),
        {"ids": {0: 0, 255: 1}},
        **BINARY,
    ),
    "binary, 1 bit": Kind(saved(".png", lambda m: Image.fromarray(m == 1)), **BINARY),
    "binary, RGB": Kind(
        saved(".bmp", lambda m: ids({0: 0, 1: 255, 2: 0, VOID: 0})(m).convert("RGB")),
        ("--ids", "0:0,255:1"),
        {"ids": ("0:0", "255:1")},
        **BINARY,
    ),
    "merged and dropped": Kind(
        GREY,
        ("--ids", "0..1:0,2:255,255:255"),
        {"ids": {0: 0, 1: 0, 2: 255, 255: 255}},
        {0: 0, 1: 0, 2: VOID, VOID: VOID},
        2,
    ),
    "colours": Kind(saved(".png", coloured), *FILE),
    "colours, RGBA": Kind(saved(".tif", lambda m: coloured(m).convert("RGBA")), *FILE),
    "colours, palette": Kind(saved(".gif", palette_in_another_order), *FILE),
    "colours, CSV": Kind(
        saved(".png", coloured),
        *FILE,
        table="name,r,g,b\nsky,128,128,128\nroad,128,64,128\ntree,128,128,0\nvoid,0,0,0\n",
    ),
    "colours, CVAT": Kind(
        saved(".png", coloured),
        *FILE,
        table="# label:color_rgb:parts:actions\n"
        "sky:128,128,128::\nroad:128,64,128::\ntree:128,128,0::\nvoid:0,0,0::\n",
    ),
    "colours, turned": Kind(
        saved(".png", coloured),
        *FILE,
        table="128 128 128\tsky\n128 64 128\troad\n128 128 0\t\ttree\n0 0 0\tVoid\n",
    ),
    "colours, merged": Kind(
        saved(".png", coloured),
        *FILE,
        {0: 0, 1: 1, 2: 1, VOID: VOID},
        2,
        table="sky 128 128 128\nground 128 64 128\nground 128 128 0\nvoid 0 0 0\n",
    ),
    "colours, mapping": Kind(
        saved(".png", coloured),
        FILE[0],
        {"colours": {colour: k for k, colour in COLOURS.items()}},
    ),
    "colours of CamVid": Kind(
        saved(".png", coloured),
        ("--colours", "camvid"),
        {"colours": "camvid"},
        {0: 0, 1: 3, 2: 5, VOID: VOID},
        11,
    ),
    "npy": Kind(saved(".npy", lambda m: m.astype(np.int64))),
    "npy, one channel": Kind(saved(".npy", lambda m: m[..., None])),
    "npy, colours": Kind(saved(".npy", lambda m: mapped(m, COLOURS)), *FILE),
    "npy, yes and no": Kind(saved(".npy", lambda m: m == 1), **BINARY),
    "TIFF": Kind(saved(".tif", compression="tiff_lzw")),
    "TIFF, 16 bits": Kind(saved(".tiff", lambda m: Image.fromarray(m.astype(np.uint16)))),
    "WebP": Kind(saved(".webp", lossless=True)),
    "WebP, colours": Kind(saved(".webp", coloured, lossless=True), *FILE),
    "suffix": Kind(GREY, mask="{}_mask"),
    "suffix, said": Kind(
        GREY, ("--mask-suffix=-annotated",), {"mask_suffix": "-annotated"}, mask="{}-annotated"
    ),
    "two suffixes": Kind(GREY, image="{}_sat", mask="{}_mask"),
    "nested": Kind(
        GREY,
        ("--recursive",),
        {"recursive": True},
        image="part/{}",
        mask="part/{}",
    ),
    "Cityscapes": Kind(
        saved(".png", ids(CITYSCAPES_IDS)),
        ("--ids", "cityscapes", "--recursive"),
        {"ids": "cityscapes", "recursive": True},
        CITYSCAPES,
        19,
        image="aachen/aachen_{}_leftImg8bit",
        mask="aachen/aachen_{}_gtFine_labelIds",
    ),
}


def label_map(i):
    """Label map i: three classes, and a line of void, in places of its own."""
    shapes = data.Shapes(8, SIZE, seed=3).label_map(i)
    found = np.where(shapes == VOID, VOID, shapes % 3).astype(np.uint8)
    found[i : i + 2, :9] = (0, 1, 2) * 3
    return found


def write(kind, folder, count):
    """Writes images/, masks/ and colours.txt of one kind to a folder."""
    (folder / "colours.txt").write_text(kind.table)
    for i in range(count):
        image, mask = (f"images/{kind.image}.png", f"masks/{kind.mask}")
        image, mask = (folder / name.format(f"{i:02}") for name in (image, mask))
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.Shapes(8, SIZE, seed=3).image(i)).save(image)
        kind.write(mask, label_map(i))
