"""Label maps as arrays: void, colours, ids looked up in a table, ids counted. NumPy alone."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from keras_dup._void import VOID

__all__ = [
    "VOID",
    "IdCounts",
    "IdTable",
    "check_ids",
    "class_text",
    "confusion",
    "count_ids",
    "different_names",
    "doubt",
    "ious",
    "palette",
]

_QUOTED = 10  # ids or classes in one message
_CHANCE = 0.1  # Cohen's kappa below which predictions and masks hardly have anything in common


def palette() -> np.ndarray:
    """Returns PASCAL VOC's colours, uint8 (256, 3): row k is class k, row 255 (void) light grey.

    Bits 0, 1, 2 of the id become the highest bits of red, green, blue, bits 3, 4, 5 the next
    ones, and so on, so that neighbouring ids get distant colours.
    """
    ids = np.arange(256)[:, None]
    colours = np.zeros((256, 3), np.int64)
    for level in range(3):
        colours |= ((ids >> (3 * level + np.arange(3))) & 1) << (7 - level)
    return colours.astype(np.uint8)


def check_ids(ids: np.ndarray, num_classes: int, ignore_class: int | None, name: object) -> None:
    """Raises ValueError, with `name`, if an id is neither 0..num_classes - 1 nor void."""
    wrong = (ids < 0) | (ids >= num_classes)
    if ignore_class is not None:
        wrong &= ids != ignore_class
    if wrong.any():
        void = "no void" if ignore_class is None else f"void {ignore_class}"
        found = IdCounts()
        found.add(ids)
        raise ValueError(
            f"{name}: class id {ids[wrong].min()}, but num_classes is {num_classes} "
            f"(ids 0..{num_classes - 1} and {void}); ids found: {found.text(ignore_class)}; "
            "map them with ids={id in the file: class} (--ids ID:CLASS,...; keras-dup inspect says "
            "how)"
        )


class IdTable:
    """Turns the ids of masks into class ids by looking them up, never by indexing.

    Args:
        ids: {id in the masks: class id, or 255 for void}. Ids may be any integers, also negative.
        num_classes: number of classes, 1..255.

    Raises ValueError for a class id that is neither 0..num_classes - 1 nor 255.
    """

    def __init__(self, ids: Mapping[int, int], num_classes: int):
        for pair in ids.items():
            if not all(_is_integer(i) for i in pair):
                raise ValueError(f"ids: {pair[0]!r}: {pair[1]!r}; integers are expected")
            if not 0 <= pair[1] < num_classes and pair[1] != VOID:
                raise ValueError(
                    f"ids: {pair[0]} becomes class {pair[1]}, but num_classes is {num_classes} "
                    f"(classes 0..{num_classes - 1} and void {VOID})"
                )
        self.ids = {int(key): int(value) for key, value in ids.items()}

    def __call__(self, ids: np.ndarray, name: object) -> np.ndarray:
        """Returns label map uint8 (H, W); ValueError, with `name`, for an id not in the table."""
        low, high = int(ids.min()), int(ids.max())
        if high - low < 2**16:  # without sorting, which takes long for large masks
            table = np.full(high - low + 1, -1, np.int16)
            for key, value in self.ids.items():
                if low <= key <= high:
                    table[key - low] = value
            if ids.dtype.kind != "u":  # 127 - (-128) is no int8
                ids = ids.astype(np.promote_types(ids.dtype, np.int32))
            found = table[ids - ids.dtype.type(low)]
            if found.min() >= 0:
                return found.astype(np.uint8)
        unique, places = np.unique(ids, return_inverse=True)
        unknown = [i for i in unique.tolist() if i not in self.ids]
        if unknown:
            known = sorted(self.ids)
            raise ValueError(f"{name}: id {unknown[0]}, which is none of {known}")
        classes = np.array([self.ids[i] for i in unique.tolist()], np.uint8)
        return classes[places].reshape(ids.shape)


@dataclasses.dataclass
class IdCounts:
    """How often each id occurs.

    Attributes: pixels {id: number of pixels}; label_maps: how many were counted.
    """

    pixels: Counter = dataclasses.field(default_factory=Counter)
    label_maps: int = 0

    def add(self, label_map: np.ndarray) -> None:
        """Counts one more label map, (H, W) integers."""
        self.label_maps += 1
        if label_map.dtype == np.uint8:
            counts = np.bincount(label_map.ravel(), minlength=256)
            (unique,) = counts.nonzero()
            counts = counts[unique]
        else:
            unique, counts = np.unique(label_map, return_counts=True)
        self.pixels.update(dict(zip(unique.tolist(), counts.tolist(), strict=True)))

    def merge(self, other: "IdCounts") -> None:
        """Adds the counts of other label maps."""
        self.pixels.update(other.pixels)
        self.label_maps += other.label_maps

    def shares(self) -> dict[int, float]:
        """Returns {id: share of all pixels}, the most frequent first."""
        total = sum(self.pixels.values())
        return {i: pixels / total for i, pixels in self.pixels.most_common()}

    def text(self, void: int | None = VOID) -> str:
        """Returns "0 (67 %), 255 (33 %, void)": ids in order, at most ten of them."""
        shares = self.shares()
        parts = [
            f"{i} ({_percent(shares[i])}{', void' if i == void else ''})"
            for i in sorted(list(shares)[:_QUOTED])
        ]
        more = len(shares) - len(parts)
        return ", ".join(parts) + (f" and {more} more" if more else "")

    def absent(self, num_classes: int) -> list[int]:
        """Returns the classes that occur in no label map."""
        return [k for k in range(num_classes) if not self.pixels[k]]

    def complaint(
        self, num_classes: int, class_names: Sequence[str] | None = None, void: int | None = VOID
    ) -> str:
        """Returns which classes occur in no label map, and what occurs instead; "" if all occur."""
        absent = self.absent(num_classes)
        if not absent:
            return ""
        named = [class_text(k, class_names) for k in absent[:_QUOTED]]
        more = f" and {len(absent) - _QUOTED} more" if len(absent) > _QUOTED else ""
        classes = f"class {named[0]} occurs" if len(absent) == 1 else None
        classes = classes or f"classes {', '.join(named)}{more} occur"
        text = f"{classes} in none of {self.label_maps} masks; ids found: {self.text(void)}"
        return f"{text}; {self._remedy(num_classes, absent, void)}"

    def _remedy(self, num_classes, absent, void):
        present = [k for k in range(num_classes) if self.pixels[k]]
        others = [i for i in sorted(self.pixels) if i not in present]
        if len(others) != len(absent):
            return "if other ids stand for these classes, map them with --ids ID:CLASS,..."
        pairs = [*((k, k) for k in present), *zip(others, absent, strict=True)]
        pairs = ",".join(f"{i}:{k}" for i, k in sorted(pairs))
        void = " (now void)" if others == [void] else ""
        return f"if {', '.join(map(str, others))}{void} stands for that, give --ids={pairs}"


def count_ids(label_maps: Iterable[np.ndarray]) -> IdCounts:
    """Counts the ids of label maps."""
    counts = IdCounts()
    for label_map in label_maps:
        counts.add(np.asarray(label_map))
    return counts


def confusion(truth: np.ndarray, found: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts the pixels of two label maps by their pairs of classes; void is left out.

    Args: truth, found: (H, W) ids of K classes; truth may have void, 255.

    Returns: (K, K) counts, row = truth, column = found.
    """
    valid = truth != VOID
    pairs = truth[valid].astype(np.int64) * num_classes + found[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def ious(confusion: np.ndarray, of: str = "either") -> np.ndarray:
    """The intersection over union of each class. mIoU is their mean, `np.nanmean`.

    Args:
        confusion: (..., K, K) counts of pixels, row = truth, column = prediction.
        of: the classes that have an IoU. "either": those in truth or prediction, as in the paper
            and in PASCAL VOC's tools; a class that is predicted but not there has 0. "truth":
            those in the truth, so that the means of several predictions of one truth are over
            the same classes.

    Returns: (..., K) IoU, NaN for the other classes.

    Raises ValueError for another `of`.
    """
    if of not in ("either", "truth"):
        raise ValueError(f"of={of!r}; 'either' or 'truth' is expected")
    true, right = confusion.sum(-1), np.diagonal(confusion, axis1=-2, axis2=-1)
    union = true + confusion.sum(-2) - right
    counted = union if of == "either" else true
    return np.divide(right, union, out=np.full(union.shape, np.nan), where=counted > 0)


def doubt(confusion: np.ndarray) -> str:
    """Returns a warning where predictions agree with the masks hardly more than chance would.

    Cohen's kappa = (agreement - agreement by chance) / (1 - agreement by chance): 1 for equal
    label maps, 0 for label maps that have nothing to do with each other. "" where it is 0.1 or
    more, or where one class fills masks and predictions.

    Args: confusion (K, K) counts of pixels, row = mask, column = prediction.
    """
    counts = np.asarray(confusion, np.float64)
    total = counts.sum()
    if not total:
        return ""
    chance = (counts.sum(0) @ counts.sum(1)) / total**2
    kappa = (np.trace(counts) / total - chance) / (1 - chance) if chance < 1 else 1.0
    if kappa >= _CHANCE:
        return ""
    return (
        "the predictions agree with the masks hardly more than chance would (Cohen's kappa "
        f"{kappa:.2f}): do the ids of the masks mean the classes of this model? "
        "--ids ID:CLASS,... maps them"
    )


def _is_integer(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def class_text(k: int, class_names: Sequence[str] | None) -> str:
    """Returns a class as messages write it: 3 "tree"."""
    name = class_names[k] if class_names else str(k)
    return str(k) if name == str(k) else f'{k} "{name}"'


def _percent(share):
    if share < 0.001:
        return "under 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.01 else f"{100 * share:.0f} %"


def different_names(names: list[str], other: list[str], whose: str) -> str:
    """Says where the classes have other names than in the model; "" where they do not.

    Args: the K names in the model; K others; where these are.
    """
    ids = [str(k) for k in range(len(names))]
    pairs = [(k, *pair) for k, pair in enumerate(zip(names, other, strict=True))]
    differ = [pair for pair in pairs if pair[1].casefold() != pair[2].casefold()]
    if not differ or ids in (names, other):
        return ""
    k, ours, theirs = differ[0]
    count = f"{len(differ)} of {len(names)} classes have other names in {whose} than in the model"
    return f"{count}: class {k} is {theirs!r} there, {ours!r} here"
