"""Tables of what ids or colours in mask files mean, in every form that users may give them."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence

from keras_dup._lists import read_lines
from keras_dup._void import VOID
from keras_dup.data import _classes

__all__ = ["OPTIONS", "Colours", "Ids", "Table", "colour_lines", "read_table"]

OPTIONS = ("ignore_class", "ids", "colours", "mask_suffix", "recursive")
"""What `Folder`, `LabelMaps`, a recipe and the command line call the same."""

Ids = Mapping[int, int] | Sequence[str]
Colours = Mapping[tuple[int, int, int], int] | Sequence[str] | os.PathLike

_MOST_IDS = 2**16  # in one range
_PAIR = re.compile(r"\s*(-?\d+)(?:\.\.(-?\d+))?\s*:\s*(\d+)(?:\.\.(\d+))?\s*")
_NUMBERS = r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})"
_LINE = re.compile(rf"(.+?)[\s,;:]+{_NUMBERS}[\s,;:]*")  # name r g b, also with commas
_TURNED_LINE = re.compile(rf"{_NUMBERS}[\s,;:]+(.+)")  # r g b name, as in CamVid's own file
_VOID_NAME = "void"


@dataclasses.dataclass(frozen=True)
class Table:
    """What each value that may occur in mask files means.

    Attributes:
        classes: {id or (r, g, b) in the files: class id, or 255 for void}.
        names: of the classes, where the table has them.
        source: what errors call the table.
    """

    classes: Mapping
    names: tuple[str, ...]
    source: str

    def for_classes(self, names: Sequence[str] | None) -> "Table":
        """The table for classes in another order, where the names say which class is which.

        Raises ValueError where some of its names are among `names`, and others are not.
        """
        if not names or not self.names or tuple(names) == self.names:
            return self
        places = {name.casefold(): k for k, name in enumerate(names)}
        found = [places.get(name.casefold()) for name in self.names]
        if all(place is None for place in found):  # in other words: go by the order
            return self
        if None in found:
            missing = [n for n, place in zip(self.names, found, strict=True) if place is None]
            raise ValueError(
                f"{self.source}: class {missing[0]!r} is none of the classes {', '.join(names)}"
            )
        classes = {v: k if k == VOID else found[k] for v, k in self.classes.items()}
        return dataclasses.replace(self, classes=classes, names=tuple(names))


def read_table(ids: Ids | None, colours: Colours | None) -> Table | None:
    """Returns the table that `ids` or `colours` stand for; None without either.

    Raises ValueError for what is no table, and for both at once.
    """
    if ids and colours:
        raise ValueError(
            "ids and colours at once: ids are of masks that hold ids; to merge or to drop colours, "
            "give several one name, or the name void"
        )
    if ids:
        return _id_table(ids)
    return _colour_table(colours) if colours else None


def colour_lines(colours: Colours) -> tuple[str, ...]:
    """Returns the lines "name r g b" that say the same as a file of them, or as a known name."""
    table = _colour_table(colours)
    return tuple(
        f"{_VOID_NAME if k == VOID else table.names[k]} {' '.join(map(str, colour))}"
        for colour, k in table.classes.items()
    )


def _id_table(ids):
    if isinstance(ids, Mapping):
        return Table(ids, (), "ids")
    texts = ids.split(",") if isinstance(ids, str) else list(ids)
    if len(texts) == 1 and texts[0].strip() in _classes.ID_TABLES:
        names, known = _classes.ID_TABLES[texts[0].strip()]
        return Table(known, names, f"ids {texts[0].strip()}")
    classes = {}
    for text in texts:
        for key, value in _pairs(text):
            if key in classes:
                raise ValueError(f"ids: {key} is given twice")
            classes[key] = value
    return Table(classes, (), "ids")


def _pairs(text):
    """The pairs of "255:1", "1..6:1" or "1..150:0..149"."""
    found = _PAIR.fullmatch(text)
    if not found:
        raise ValueError(
            f"ids {text!r}: expected ID:CLASS, two integers, such as 255:1, or ranges, such as "
            f"1..6:1 or 1..20:0..19, or one of {', '.join(_classes.ID_TABLES)}"
        )
    first, last, low, high = (int(part) if part else None for part in found.groups())
    last = first if last is None else last
    if not first <= last < first + _MOST_IDS:
        raise ValueError(f"ids {text!r}: a range has 1 to {_MOST_IDS} ids, the smaller one first")
    if high is None:
        return [(key, low) for key in range(first, last + 1)]
    if high - low != last - first:
        raise ValueError(f"ids {text!r}: {last - first + 1} ids, but {high - low + 1} classes")
    return zip(range(first, last + 1), range(low, high + 1), strict=True)


def _colour_table(colours):
    source = "the table of colours"
    if isinstance(colours, Mapping):
        for colour, class_id in colours.items():
            _check_colour(colour, f"colours: {colour!r}: {class_id!r}")
        return Table({tuple(map(int, c)): int(k) for c, k in colours.items()}, (), source)
    if isinstance(colours, (str, os.PathLike)) or len(colours) == 1:
        source = colours if isinstance(colours, (str, os.PathLike)) else colours[0]
        if source in _classes.COLOUR_TABLES:
            return _named_colours(_classes.COLOUR_TABLES[source](), f"the colours of {source}")
        if not os.path.isfile(source) and not _LINE.fullmatch(str(source)):
            raise FileNotFoundError(
                f'colours {source}: no such file, with lines "name r g b", and none of '
                f"{', '.join(_classes.COLOUR_TABLES)}"
            )
        colours = read_lines(source) if os.path.isfile(source) else [source]
    rows = [(line, _row(line, source)) for line in colours if not line.startswith("#")]
    if rows and rows[0][1] is None and not any(map(str.isdigit, rows[0][0])):
        rows = rows[1:]  # the head of a table: name,r,g,b
    for line, row in rows:
        if row is None:
            raise ValueError(
                f"{source}: {line!r}: expected a name and three numbers of 0..255: sky 128 128 128"
            )
    return _named_colours([row for _, row in rows], str(source))


def _row(line, source):
    """(name, (r, g, b)) of a line; None of a line that has none."""
    if found := _LINE.fullmatch(line.strip()):
        name, *numbers = found.groups()
    elif found := _TURNED_LINE.fullmatch(line.strip()):
        *numbers, name = found.groups()
    else:
        return None
    colour = tuple(map(int, numbers))
    _check_colour(colour, f"{source}: {line!r}")
    return name.strip(), colour


def _check_colour(colour, text):
    try:
        right = len(colour) == 3 and all(0 <= int(part) == part <= 255 for part in colour)
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ValueError(f"{text}; a colour is three numbers of 0..255")


def _named_colours(rows, source):
    """A table of (name, colour): classes in the order of their names, equal names are one class."""
    names = list(dict.fromkeys(name for name, _ in rows if name.casefold() != _VOID_NAME))
    if not names:
        raise ValueError(f'{source}: no class in it; lines "name r g b" are expected')
    if len(names) > VOID:
        raise ValueError(f"{source}: {len(names)} classes; at most {VOID}")
    classes = {}
    for name, colour in rows:
        class_id = VOID if name.casefold() == _VOID_NAME else names.index(name)
        if classes.setdefault(colour, class_id) != class_id:
            raise ValueError(f"{source}: colour {colour} is given twice, for two classes")
    return Table(classes, tuple(names), source)
