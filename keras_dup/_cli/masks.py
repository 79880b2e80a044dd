"""What the masks of a command hold: the options, and what they say to `data.Folder` and recipes."""

import argparse

from keras_dup._void import VOID

__all__ = ["add", "check_published", "classes", "given"]


def add(command: argparse.ArgumentParser) -> None:
    """Adds what the values in mask files mean, and which files are masks."""
    masks = command.add_argument_group("masks")
    masks.add_argument(
        "--ignore-class",
        type=_id_or_none,
        default=VOID,
        metavar="ID",
        help=f"the id of void in masks, or none; default {VOID}",
    )
    masks.add_argument(
        "--ids",
        metavar="ID:CLASS,...",
        help="all ids in the masks and their classes, 255 for void, in place of --ignore-class: "
        "0:0,255:1 for black and white masks, 1..20:0..19 for ids from 1; or the name of a data "
        "set: cityscapes, ade20k, oxford_iiit_pet",
    )
    masks.add_argument(
        "--colours",
        metavar="FILE",
        help='masks are colours: a text file with lines "name r g b" ("void" for void, one name '
        "for classes to merge), or the name of a data set: voc2012, camvid, cityscapes",
    )
    masks.add_argument(
        "--mask-suffix",
        metavar="TEXT",
        help="what the name of a mask has after the name of its image, such as _mask; found by "
        "default, if there is only one",
    )
    masks.add_argument("--recursive", action="store_true", help="also images in subfolders")


def given(arguments: argparse.Namespace) -> dict:
    """Returns what the options say, under the names that `data.Folder` and recipes have for it.

    Whole in itself: a file of colours is read. Raises ValueError for what is no table.
    """
    from keras_dup.data import _tables

    options = {name: getattr(arguments, name) for name in _tables.OPTIONS}
    options["ids"] = tuple(arguments.ids.split(",")) if arguments.ids else ()
    options["colours"] = _tables.colour_lines(arguments.colours) if arguments.colours else ()
    _tables.read_table(options["ids"], options["colours"])
    return options


def check_published(arguments: argparse.Namespace) -> None:
    """Raises ValueError where a published data set is to have other masks than its own."""
    for name in ("ids", "colours"):
        if getattr(arguments, name):
            raise ValueError(f"--{name} is for folders; the masks of --data-set are known")


def classes(arguments: argparse.Namespace, needed: bool = True) -> tuple[int, list[str] | None]:
    """Returns the number of classes and their names, None if nobody says, for new networks and W.

    From --num-classes and --class-names, where given, else from a table of colours or of a data
    set. Where none says how many: 0, or, if it is `needed`, ValueError.
    """
    from keras_dup._cli import options
    from keras_dup.data import _tables

    said = given(arguments)
    table = _tables.read_table(said["ids"], said["colours"])
    known = list(table.names) if table else []
    num_classes = arguments.num_classes or len(known)
    if not num_classes and needed:
        raise ValueError("--num-classes is missing: how many classes are there, without void?")
    names = options.class_names(arguments.class_names, num_classes) if num_classes else None
    return num_classes, names or (known if len(known) == num_classes else None)


def _id_or_none(text):
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: an integer or none is expected") from None
