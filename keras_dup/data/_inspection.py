"""Everything that can be said of two folders before training: what is there, what is wrong."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from keras_dup.data._folder import size_fault
from keras_dup.data._images import check_image, image_size
from keras_dup.data._listing import Matched
from keras_dup.data._masks import read_values
from keras_dup.data._values import MaskValues, count_colours

__all__ = ["Counts", "Inspection", "inspect"]

_MOST_VALUES = 4096  # of one mask


@dataclasses.dataclass
class Counts:
    """How often each value occurs: {value: pixels}, {value: masks that have it}."""

    pixels: Counter = dataclasses.field(default_factory=Counter)
    masks: Counter = dataclasses.field(default_factory=Counter)

    def add(self, pixels: Mapping) -> None:
        """Adds the values of one mask."""
        self.pixels.update(pixels)
        self.masks.update(pixels.keys())


@dataclasses.dataclass
class Inspection:
    """What was found.

    Attributes:
        names: of the pairs without a fault, in order.
        faults: messages, one per pair with a fault.
        sizes: {(height, width): images}.
        endings: {ending: files} of images and of masks.
        values: ids or colours, as they are in the files.
        classes: the class ids that they mean, where that is known.
    """

    names: list[str] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)
    sizes: Counter = dataclasses.field(default_factory=Counter)
    endings: tuple[Counter, Counter] = dataclasses.field(
        default_factory=lambda: (Counter(), Counter())
    )
    values: Counts = dataclasses.field(default_factory=Counts)
    classes: Counts = dataclasses.field(default_factory=Counts)


def inspect(
    found: Matched, names: Sequence[str], values: MaskValues | None, verbose: bool = True
) -> Inspection:
    """Reads the pairs of two folders, each to its end.

    Args:
        found: the files.
        names: of the pairs.
        values: what the values in the masks mean; None where that is to be found out.
        verbose: whether to show progress.
    """
    inspection = Inspection()
    files = [(found.images[name], found.masks[name]) for name in names]
    with ThreadPoolExecutor() as pool:
        looked = pool.map(lambda pair: _Look(pair[0], pair[1], values), files)
        bar = tqdm(looked, "reading", len(files), unit=" pairs", disable=not verbose)
        for name, pair, look in zip(names, files, bar, strict=True):
            for counter, path in zip(inspection.endings, pair, strict=True):
                counter[path.suffix.lower()] += 1
            inspection.sizes.update([look.size] if look.size else [])
            inspection.values.add(look.values)
            inspection.classes.add(look.classes)
            if look.faults:
                inspection.faults.append("; ".join(look.faults))
            else:
                inspection.names.append(name)
    return inspection


class _Look:
    """One pair: its faults, the size of its image, {value: pixels} and {class id: pixels}."""

    def __init__(self, image: Path, mask: Path, meaning: MaskValues | None):
        self.faults: list[str] = []
        self.size: tuple[int, int] | None = None
        self.values: dict = {}
        self.classes: dict = {}
        self._attempt(check_image, image)
        if not self.faults:
            self.size = image_size(image)
        read = self._attempt(read_values, mask, meaning.are_colours if meaning else None)
        if read is None:
            return
        if self.size and read.shape[:2] != self.size:
            self.faults.append(size_fault(mask, read.shape[:2], image, self.size))
        self.values = _counted(read)
        label_map = self._attempt(meaning.label_map, read, mask) if meaning else None
        if label_map is not None:
            self.classes = _counted(label_map)

    def _attempt(self, function, *arguments):
        try:
            return function(*arguments)
        except (OSError, ValueError) as error:
            self.faults.append(str(error))


def _counted(values):
    if values.ndim == 3:
        return dict(Counter(count_colours(values)).most_common(_MOST_VALUES))
    unique, counts = np.unique(values, return_counts=True)
    return dict(zip(unique.tolist(), counts.tolist(), strict=True))
