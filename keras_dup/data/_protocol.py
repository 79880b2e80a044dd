"""What a data set is: the one protocol that training, evaluation and pictures rely on."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

__all__ = ["Dataset", "LabelMapsOf"]


@runtime_checkable
class Dataset(Protocol):
    """Labelled images by index. All data sets of `keras_dup.data` are; yours may be any object.

    Methods are called from several threads at once. To fit W in several processes, `label_maps()`
    is pickled on systems that do not fork.
    """

    num_classes: int
    class_names: Sequence[str]

    def __len__(self) -> int:
        """Returns the number of items."""

    def image(self, i: int) -> np.ndarray:
        """Returns image i as uint8 (H, W, 3)."""

    def label_map(self, i: int) -> np.ndarray:
        """Returns label map i as uint8 (H, W), void 255."""

    def label_maps(self) -> Sequence[np.ndarray]:
        """Returns all label maps as a sequence that reads each when it is asked for."""


class LabelMapsOf(Sequence):
    """The label maps of a data set alone, read one by one: `len()`, `[i]` and iteration."""

    def __init__(self, data):
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # no slices
        """Returns label map i as uint8 (H, W), void 255; IndexError past the ends."""
        if not 0 <= i < len(self.data):
            raise IndexError(f"label map {i} of {len(self.data)}")
        return self.data.label_map(i)
