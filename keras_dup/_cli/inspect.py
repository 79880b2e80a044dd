"""`keras-dup inspect`: what two folders hold, what is wrong, what to say of them, and a picture."""

import shlex

from keras_dup._augmentations import AUGMENTATIONS, check_augmentation
from keras_dup._cli import masks, options
from keras_dup._void import VOID

__all__ = ["add"]

_PAIRS = 8  # in the picture
_QUOTED = 20  # messages, or sizes
_ROWS = 40  # of the table


def add(commands):
    """Adds the command's parser."""
    inspect = commands.add_parser(
        "inspect",
        help="what images and masks hold, what is wrong, and which options they need",
        description="Reads every pair of two folders: counts, sizes, ids and their shares, faults, "
        "the options to give,\nand a picture of eight pairs, as they are and as they are trained "
        "on.",
        epilog=options.examples(
            "inspect images/ masks/",
            "inspect images/ masks/ --num-classes 2 --ids 0:0,255:1 -o pairs.png",
        ),
    )
    inspect.set_defaults(check=_check, run=_run)
    inspect.add_argument("images", help="folder of images")
    inspect.add_argument("masks", help="folder of their masks")
    inspect.add_argument("--num-classes", type=int, help="by default what the masks suggest")
    masks.add(inspect)
    inspect.add_argument("--names", help="text file with the names to take; all by default")
    inspect.add_argument("--class-names", help="text file with one name per line")
    crop = {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH")}
    inspect.add_argument("--crop-size", **crop, help="of the picture; default: as `train` takes")
    names = f"more effects: {', '.join(AUGMENTATIONS)}"
    inspect.add_argument("--augmentation", nargs="*", default=[], metavar="TEXT", help=names)
    inspect.add_argument("--seed", type=int, default=0, help="of the augmentation")
    inspect.add_argument("-o", "--output", default="inspect.png", help="picture (inspect.png)")
    options.add_limits(inspect)


def _check(arguments):
    masks.given(arguments)
    check_augmentation(arguments.augmentation)


def _run(arguments):
    from keras_dup.data import _inspection, _listing, _suggestions
    from keras_dup.data._values import MaskValues

    options.set_limits(arguments)
    said = masks.given(arguments)
    num_classes, class_names = masks.classes(arguments, needed=False)
    meaning = {name: said[name] for name in ("ignore_class", "ids", "colours")}
    values = None
    if num_classes:
        values = MaskValues(num_classes, **meaning, class_names=class_names)
    where = said["mask_suffix"], said["recursive"]
    found = _listing.match(arguments.images, arguments.masks, *where)
    every = [*found.images.values(), *found.masks.values()]
    options.plan(arguments, [arguments.output], files=every)
    names, faults = _paired(arguments, found)
    inspected = _inspection.inspect(found, names, values)
    print(_summary(found, names, inspected))
    print(_counts(inspected.classes if values else inspected.values, num_classes, class_names))
    faults += inspected.faults
    faults += _absent(inspected.classes, num_classes, class_names)
    _print_faults(faults)
    readings = _suggestions.suggestions(inspected.values.pixels, num_classes, found.mask_suffix)
    if said["ids"] or said["colours"]:
        readings = []  # it is said what they mean
    for reading in readings:
        print(f"suggestion: {reading.text()}", *reading.lines, sep="\n    ")
    words = _words(arguments)
    if not values and readings:
        num_classes, meaning = readings[0].num_classes, readings[0].options
        words = [*readings[0].words(), *words]
    if num_classes and inspected.names:
        names = inspected.names
        folder = arguments.images, arguments.masks, num_classes, names
        _draw(arguments, folder, class_names, {**said, **meaning})
        if not faults:
            folders = ["--images", arguments.images, "--masks", arguments.masks]
            print("to train:", shlex.join(["keras-dup", "train", *folders, *words, "-o", "run"]))
    if faults:
        raise ValueError(f"{len(faults)} faults, see above")


def _paired(arguments, found):
    """The names of the pairs, and messages of files without partner; of --names those alone."""
    from keras_dup.data import _listing

    chosen = found.images.keys() | found.masks.keys()
    if arguments.names:
        chosen = {n.removesuffix(found.image_suffix) for n in _listing.read_names(arguments.names)}
    faults = []
    for name in sorted(chosen):
        image, mask = found.images.get(name), found.masks.get(name)
        if not image:
            faults.append(f"{mask or name}: no image for it in {arguments.images}")
        if not mask:
            jpegs = _listing.jpeg_masks(arguments.masks, [name], found.mask_suffix)
            why = f": {jpegs[0]} is a JPEG, and {_listing.NO_JPEG}" if jpegs else ""
            faults.append(f"{image or name}: no mask for it in {arguments.masks}{why}")
    return sorted(chosen & found.images.keys() & found.masks.keys()), faults


def _summary(found, names, inspected):
    """The files: how many, of which kinds and sizes."""
    images, mask_files = (
        ", ".join(f"{count} {ending}" for ending, count in counter.most_common())
        for counter in inspected.endings
    )
    sizes = [f"{h} x {w} ({count})" for (h, w), count in inspected.sizes.most_common(_QUOTED)]
    more = len(inspected.sizes) - len(sizes)
    suffixes = [
        f"{kind} are named NAME{suffix}"
        for kind, suffix in (("images", found.image_suffix), ("masks", found.mask_suffix))
        if suffix
    ]
    return "\n".join(
        [
            "; ".join([f"{len(names)} pairs", *suffixes]),
            f"images: {images}",
            f"masks: {mask_files}",
            f"height x width: {', '.join(sizes)}" + (f" and {more} more" if more else ""),
        ]
    )


def _counts(counts, num_classes, class_names):
    """The table of values: shares of the pixels, and masks that have them."""
    total = counts.pixels.total()
    values = sorted({*counts.pixels, *range(num_classes)})
    if len(values) > _ROWS:
        values = [value for value, _ in counts.pixels.most_common(_ROWS)]
    rows = [("class" if num_classes else "value", "pixels", "masks", "")]
    for value in values:
        name = class_names[value] if class_names and value < num_classes else ""
        name = "void" if num_classes and value == VOID else name
        shown = value if isinstance(value, int) else " ".join(map(str, value))
        share = f"{100 * counts.pixels[value] / max(total, 1):.2f} %"
        rows.append((f"{shown}", share, f"{counts.masks[value]}", name))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([value.ljust(widths[0]), share.rjust(widths[1]), of.rjust(widths[2]), name])
        for value, share, of, name in rows
    ]
    more = len(counts.pixels) - len(values)
    return "\n".join([line.rstrip() for line in lines] + [f"and {more} more"] * (more > 0))


def _absent(counts, num_classes, class_names):
    from keras_dup._label_maps import class_text

    return [
        f"class {class_text(k, class_names)} occurs in no mask"
        for k in range(num_classes)
        if not counts.pixels[k]
    ]


def _print_faults(faults):
    print(f"faults: {len(faults) or 'none'}")
    print(*(f"    {fault}\n" for fault in faults[:_QUOTED]), sep="", end="")
    if len(faults) > _QUOTED:
        print(f"    and {len(faults) - _QUOTED} more")


def _words(arguments):
    """The options that were given, as they are given to `train`."""
    words = []
    for name in ("num_classes", "class_names", "ids", "colours", "mask_suffix", "names"):
        if value := getattr(arguments, name):
            words.append(f"--{name.replace('_', '-')}={value}")
    if arguments.ignore_class != VOID:
        words.append(f"--ignore-class={arguments.ignore_class}".lower())
    return words + ["--recursive"] * arguments.recursive


def _draw(arguments, folder, class_names, meaning):
    """Writes the picture: pairs as they are, and as a network is trained on them."""
    import numpy as np

    from keras_dup import data, pictures
    from keras_dup._cli.train import crop_size
    from keras_dup._whole import write_picture
    from keras_dup.data._pipeline import streams

    dataset = data.Folder(*folder, class_names=class_names, **meaning)
    size = arguments.crop_size or crop_size(dataset)
    look = {"class_names": dataset.class_names, "colours": dataset.palette}
    rows = []
    for i in np.linspace(0, len(dataset) - 1, min(len(dataset), _PAIRS)).astype(int).tolist():
        image, label_map = dataset.image(i), dataset.label_map(i)
        drawn = {"seed": (arguments.seed, i), "augmentation": arguments.augmentation}
        crop, crop_map = map(np.asarray, streams().augment(image, label_map, size, **drawn))
        crop, crop_map = np.rint(crop).astype(np.uint8), crop_map.astype(np.uint8)
        pairs = (image, label_map), (crop, crop_map)
        rows.append([part for pair in pairs for part in (pair[0], pictures.mixed(*pair, **look))])
    titles = ["image", "mask", f"augmented, {size[0]} x {size[1]}", "its mask"]
    write_picture(pictures.grid(rows, titles, **look), arguments.output)
    print(f"{arguments.output}: {len(rows)} pairs before and after augmentation")
