"""What the values that occur in mask files most likely mean, as options to give."""

import dataclasses
import shlex
from collections.abc import Collection, Mapping

from keras_dup._label_maps import VOID
from keras_dup.data import _classes

__all__ = ["Suggestion", "suggestions"]

_MOST_CLASSES = 64  # more values are no classes that somebody drew
_CITYSCAPES_SUFFIX = "_labelIds"


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """One reading of the values.

    Attributes:
        num_classes: how many classes there are then; 0 where nothing can be said.
        why: a sentence.
        options: the arguments of `data.Folder` for it.
        lines: of a file of colours, which the command line needs for it.
    """

    num_classes: int
    why: str
    options: Mapping = dataclasses.field(default_factory=dict)
    lines: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Returns the options of the command line."""
        if not self.num_classes:
            return []
        if "colours" in self.options:
            return ["--colours", "colours.txt" if self.lines else self.options["colours"]]
        words = [] if self.options.get("ids") in _classes.ID_TABLES else ["--num-classes"]
        words += [str(self.num_classes)] * len(words)
        for name, value in self.options.items():
            words += [f"--{name.replace('_', '-')}={value}"]
        return words

    def text(self) -> str:
        """Returns the options and the reason in one line."""
        words = shlex.join(self.words())
        return f"{words}: {self.why}" if words else self.why


def suggestions(
    values: Collection, num_classes: int | None = None, mask_suffix: str = ""
) -> list[Suggestion]:
    """Returns readings of the values in mask files, the likeliest first.

    Args:
        values: what occurs: ids, or colours (r, g, b).
        num_classes: how many classes there are, where that is known.
        mask_suffix: of the names of the files.

    Returns: [] where the values need no option.
    """
    if not values:
        return []
    if isinstance(next(iter(values)), tuple):
        return _of_colours(sorted(values))
    return _of_ids(sorted(values), num_classes, mask_suffix)


def _of_ids(ids, num_classes, mask_suffix):
    inner = [i for i in ids if i != VOID]
    void = VOID in ids
    if num_classes and all(0 <= i < num_classes for i in inner):
        missing = set(range(num_classes)) - set(inner)
        if not (void and len(missing) == 1):
            return []
        object_id = missing.pop()
        pairs = [*((i, i) for i in inner), (VOID, object_id)]
        return [_table(pairs, num_classes, f"{VOID} is class {object_id}, and no void")]
    if mask_suffix.endswith(_CITYSCAPES_SUFFIX) and all(0 <= i < 34 for i in inner):
        why = "the ids of Cityscapes' labelIds as its 19 classes"
        return [Suggestion(len(_classes.CITYSCAPES), why, {"ids": "cityscapes"})]
    if ids in ([0, VOID], [VOID]):
        why = "black and white masks, 255 is the object"
        return [_table([(0, 0), (VOID, 1)], 2, why)]
    if len(inner) > _MOST_CLASSES and not _is_range(inner):
        return [Suggestion(0, f"{len(inner)} ids: instances, or grey images in place of masks?")]
    return _of_rows(inner, void, num_classes)


def _of_rows(inner, void, num_classes):
    count, last = len(inner), inner[-1]
    if inner[0] == 0 and _is_range(inner):
        if num_classes and num_classes == last:  # one too many
            return _one_is_void(last, "{} is")
        found = [Suggestion(count, "ids from 0" + (", 255 is void" if void else ""))]
        return found if void or count < 3 else [*found, *_one_is_void(last, "if {} is")]
    if inner[0] == 1 and _is_range(inner):
        pairs = f"1..{last}:0..{last - 1}" + (f",{VOID}:{VOID}" if void else "")
        return [Suggestion(count, "ids from 1", {"ids": pairs})]
    pairs = [*((i, k) for k, i in enumerate(inner)), *([(VOID, VOID)] if void else [])]
    found = [_table(pairs, count, f"the {count} ids that occur, as classes 0..{count - 1}")]
    if void and inner[0] == 0 and last > 2 * count:  # grey levels up to white
        pairs = [*pairs[:-1], (VOID, count)]
        found.insert(0, _table(pairs, count + 1, "grey levels as classes, white is one of them"))
    elif inner[0] >= 0 and last < VOID:
        why = f"ids from 0 to {last}, of which {last + 1 - count} do not occur"
        found.insert(0 if 2 * count > last else 1, Suggestion(last + 1, why))
    return found


def _one_is_void(last, words):
    """Of ids 0..last the last one, or the first one."""
    shift = {"ids": f"0:{VOID},1..{last}:0..{last - 1}"}
    return [
        Suggestion(last, f"{words.format(last)} no class but void", {"ignore_class": last}),
        Suggestion(last, f"{words.format(0)} no class but void", shift),
    ]


def _table(pairs, num_classes, why):
    text = ",".join(f"{i}:{k}" for i, k in sorted(pairs))
    return Suggestion(num_classes, why, {"ids": text})


def _is_range(ids):
    return ids[-1] - ids[0] + 1 == len(ids)


def _of_colours(colours):
    known = [found for name in _classes.COLOUR_TABLES if (found := _known(name, colours))]
    known.sort(reverse=True, key=lambda pair: pair[0])
    likely = [suggestion for share, suggestion in known if share >= 0.5]
    others = [suggestion for share, suggestion in known if share < 0.5]
    if known and known[0][0] == 1:
        return likely
    return [*likely, _own_table(colours), *others]


def _known(name, colours):
    """The share of a known table's classes that occur, and the table; None of another table."""
    table = {colour: class_name for class_name, colour in _classes.COLOUR_TABLES[name]()}
    if not set(colours) <= table.keys():
        return None
    classes, there = ({*n} - {"void"} for n in (table.values(), map(table.get, colours)))
    why = f"the colours of {name}, of whose {len(classes)} classes {len(there)} occur"
    return len(there) / len(classes), Suggestion(len(classes), why, {"colours": name})


def _own_table(colours):
    if len(colours) > _MOST_CLASSES:
        why = (
            f"{len(colours)} colours: were the masks saved as JPEG, or scaled smoothly, at some "
            "time? Export them again"
        )
        return Suggestion(0, why)
    lines = tuple(f"class{k} {r} {g} {b}" for k, (r, g, b) in enumerate(colours))
    why = "these lines as colours.txt, with names of yours, and void for what has no label"
    return Suggestion(len(colours), why, {"colours": lines}, lines)
