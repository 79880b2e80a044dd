"""What is left of label maps that are reduced r times and enlarged again without a projection.

    nearest     every pixel of a window takes the label of the window's centre
    bilinear    the shares of the classes in each window stand at its centre; between the centres
                they are interpolated, and the largest decides

Compare with the reconstruction mIoU of a projection of the same ratio.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np

from keras_dup._label_maps import VOID
from keras_dup.projection import _counting
from keras_dup.projection._reconstruction import ious

__all__ = ["METHODS", "resampling_ious"]

METHODS = ("nearest", "bilinear")


def resampling_ious(
    label_maps: Iterable[np.ndarray],
    num_classes: int,
    ratio: int,
    ignore_class: int | None = VOID,
    verbose: bool = False,
    total: int | None = None,
    workers: int = 1,
    on_error: str = "raise",
) -> np.ndarray:
    """IoU of each class after resampling; void is filled in, then left out of the measurement.

    Arguments and errors as in `keras_dup.projection.fit`.

    Returns: (2, C), nan for a class that the label maps do not have; rows as in `METHODS`.
    """
    work = _Resampler(num_classes, ratio, ignore_class, on_error)
    parts = _counting.in_batches(label_maps, work, verbose, total, workers)
    return ious(sum(part.confusion for part in parts))


@dataclasses.dataclass
class _Confusion:
    confusion: np.ndarray  # (2, C, C)
    label_maps: int
    skipped: list


class _Resampler(_counting.Cutter):
    def __call__(self, readers):
        c, skipped, label_maps = self.num_classes, [], 0
        confusion = np.zeros((len(METHODS), c, c), np.int64)
        for ids, void, shape in self.cut(readers, skipped):
            label_maps += 1
            for i, resampled in enumerate((self._nearest(ids), self._bilinear(ids, shape))):
                pairs = ids.astype(np.int64) * c + resampled
                confusion[i] += np.bincount(pairs[~void], minlength=c * c).reshape(c, c)
        return _Confusion(confusion, label_maps, skipped)

    def _nearest(self, ids):
        centre = self.ratio // 2 * (self.ratio + 1)
        return ids[:, centre : centre + 1]

    def _bilinear(self, ids, shape):
        """(h*w, r*r) -> (h*w, r*r): windows among windows of one and the same class stay."""
        shares = self._shares(ids).reshape(*shape, self.num_classes)
        around = np.pad(shares, ((1, 1), (1, 1), (0, 0)), mode="edge")
        around = np.lib.stride_tricks.sliding_window_view(around, (3, 3), (0, 1))
        around = around.reshape(len(ids), self.num_classes, 9)
        mixed = np.flatnonzero(
            (around.max(1) < 1).any(1) | np.ptp(around.argmax(1), 1).astype(bool)
        )
        resampled = ids.copy()
        resampled[mixed] = (around[mixed] @ self._weights()).argmax(1)
        return resampled

    def _shares(self, ids):
        """(n, r*r) -> (n, C) float32, the share of each class; zeros where all is void."""
        columns = self.num_classes + 1  # C stands for void
        places = np.arange(len(ids))[:, None] * columns + ids
        counts = np.bincount(places.ravel(), minlength=len(ids) * columns)
        shares = (counts / ids.shape[1]).astype(np.float32)
        return shares.reshape(len(ids), columns)[:, : self.num_classes]

    def _weights(self):
        """(9, r*r): what the 3 x 3 windows around a pixel's own count for in it."""
        places = (np.arange(self.ratio) + 0.5) / self.ratio + 0.5  # in windows, from the first's
        distances = np.abs(places - np.arange(3)[:, None])
        side = np.clip(1 - distances, 0, None)
        return np.kron(side, side).astype(np.float32)
