"""How much of label maps survives a projection: IoU of what is rebuilt against what was there.

This needs no network. It bounds what a network can reach with that projection (the paper's
Table 1).
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from keras_dup._label_maps import ious as ious_of_classes
from keras_dup.projection import _counting
from keras_dup.projection._label_projection import LabelAutoencoder, LabelProjection
from keras_dup.projection._window_counts import MEMORY, WindowCounts

__all__ = ["count_with_void", "ious", "ious_by_channels", "reconstruction_miou"]

_CHUNK = 512  # windows rebuilt at once: their class scores stay in the cache


def reconstruction_miou(
    projection: LabelProjection | LabelAutoencoder,
    label_maps: Iterable[np.ndarray],
    verbose: bool = False,
    total: int | None = None,
    **reading: Any,
) -> float:
    """Returns the mean IoU, 0..1, of argmax(reconstruct(compress(y))) against label maps y.

    Void pixels are left out. The mean is over the classes that occur in the label maps.

    Args:
        projection: a `LabelProjection`.
        label_maps, verbose, total: as in `keras_dup.projection.fit`.
        reading: `workers`, `on_error` and `memory` as in `keras_dup.projection.fit`.

    Raises: ValueError as `fit` does for the label maps.
    """
    windows = count_with_void(projection, label_maps, verbose, total, **reading)
    ious = ious_by_channels(projection, windows, [projection.channels], verbose)
    return float(np.nanmean(ious[0]))


def count_with_void(
    projection: LabelProjection | LabelAutoencoder,
    label_maps: Iterable[np.ndarray],
    verbose: bool = False,
    total: int | None = None,
    workers: int = 1,
    on_error: str = "raise",
    memory: int = MEMORY,
) -> WindowCounts:
    """`WindowCounts` of label maps with void kept apart, for `ious_by_channels`."""
    counter = _counting.Counter(
        projection.num_classes, projection.ratio, projection.ignore_class, on_error, with_void=True
    )
    return _counting.count(label_maps, counter, verbose, total, workers, memory)


def ious_by_channels(
    projection: LabelProjection | LabelAutoencoder,
    counts: WindowCounts,
    channels: Sequence[int],
    verbose: bool = False,
) -> np.ndarray:
    """IoU of each class when only the first rows of a projection are used.

    Args:
        projection: a `LabelProjection`.
        counts: of `count_with_void`.
        channels: rising numbers, at most `projection.channels`; of another method than "pca" only
            that one.

    Returns: (len(channels), C), nan for a class that the label maps do not have.

    Raises: ValueError if every pixel is void.
    """
    c = projection.num_classes
    confusion = np.zeros((len(channels), c * c))
    with tqdm(total=len(counts), desc="rebuilding", unit=" windows", disable=not verbose) as bar:
        for start in range(0, len(counts), _CHUNK):
            part = slice(start, start + _CHUNK)
            ids = np.asarray(counts.windows[part])
            valid, ids = ids < c, ids % c
            weights = np.broadcast_to(counts.counts[part, None], ids.shape)[valid]
            for i, predicted in enumerate(_rebuilt(projection, ids, channels)):
                pairs = ids.astype(np.int64) * c + predicted
                confusion[i] += np.bincount(pairs[valid], weights, c * c)
            bar.update(len(ids))
    return ious(confusion.reshape(-1, c, c))


def _rebuilt(projection, ids, channels):
    """Yields the class ids (n, r*r) that the first k rows rebuild, for each k of channels."""
    rows, shape = projection.compress_windows(ids), (*ids.shape, projection.num_classes)
    if list(channels) == [projection.channels]:
        yield projection.reconstruct_windows(rows).reshape(shape).argmax(-1)
        return
    scores = np.tile(projection.mean, (len(ids), 1))
    for first, last in itertools.pairwise([0, *channels]):
        scores += rows[:, first:last] @ projection.matrix[first:last]
        yield scores.reshape(shape).argmax(-1)


def ious(confusion: np.ndarray) -> np.ndarray:
    """(..., C, C) counts, true class by predicted class -> (..., C) IoU, nan where none is true."""
    if not confusion.any():
        raise ValueError("every pixel of every label map is void")
    return ious_of_classes(confusion, of="truth")
