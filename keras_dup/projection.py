"""Label maps -> windows -> PCA: the projection of Tian et al. 2019, Sec. 3.1, Eq. 2 and 3.

A window of r x r one-hot labels is a vector v of N = r*r*C numbers, in the order (row, column,
class). The projection holds `matrix`, the paper's P, and `mean`; P's rows are orthonormal, so the
paper's W is P transposed:

    x = P (v - mean)        v~ = P^T x + mean

Of the 1.06 million windows of the VOC 2012 training set (r = 16) only 110 thousand differ, so
distinct windows are counted first (`keras_dup.counting`) and the eigensolver (`keras_dup.pca`)
only ever sees those.
"""

import dataclasses
import os
from pathlib import Path

import numpy as np
from scipy import sparse

from keras_dup import counting, pca
from keras_dup.reconstruction import reconstruction_miou
from keras_dup.window_counts import MEMORY
from keras_dup.windows import cut_windows

__all__ = [
    "LabelProjection",
    "count_windows",
    "fit",
    "fit_counts",
    "load",
    "reconstruction_miou",
]

METHODS = ("pca", "sgd", "autoencoder")
_CHUNK = 4096  # windows worked on at once, bounds the memory
_FIELDS = ("matrix", "mean", "explained_variance_ratio", "num_classes", "ratio", "ignore_class")


def fit(
    label_maps,
    num_classes,
    ratio,
    channels,
    ignore_class=255,
    verbose=False,
    total=None,
    method="pca",
    workers=1,
    on_error="raise",
    memory=MEMORY,
):
    """Finds the `channels` directions in which the windows of label maps vary most.

    Windows start at the top left corner; the right and bottom edges are repeated to fill the last
    ones. A void pixel takes the label of the nearest valid pixel of the label map (straight
    distance); windows that are void throughout do not count. Of the rules that
    `training/void_rules.py` compares this one rebuilds the valid pixels best: zeros, the
    background's label or the loss of all windows with void cost W the boundaries of objects, the
    nearest pixel of the same window makes boundaries that end at the window's edge, and masked
    least squares, which leaves void open, takes far longer for slightly less.

    The result does not depend on the order of the label maps nor on `workers` and `memory`
    (where windows go to files, up to the solver's precision, `pca.TOLERANCE`).

    Args:
        label_maps: (H, W) integer arrays, sizes mixed: an iterable, read once, or anything with
            `len()` and `[i]` that reads them one by one, such as `keras_dup.data.LabelMaps`.
        num_classes: C, 1 or more; class ids are 0..C-1.
        ratio: r, 1 or more.
        channels: C~, 1..r*r*(C-1) (the labels of a pixel sum to 1), or with `method="pca"` a
            share of the variance in (0, 1): as many as explain it.
        ignore_class: the id of void, None if there is none.
        verbose: shows progress bars.
        total: number of label maps, for the progress bar; None asks `len(label_maps)`.
        method: "pca" is Eq. 3 with orthonormal rows, exact. "sgd" is Eq. 3 without that
            constraint, by gradient descent, "autoencoder" the paper's non-linear one; both are
            in `keras_dup.autoencoder`, use Keras, and are there to be compared.
        workers: processes that read and count; more than 1 need `label_maps` with `[i]`.
        on_error: "raise", or "skip" to leave out label maps that cannot be read or have ids
            outside the classes; `count_windows` tells which.
        memory: bytes that windows may take, beyond which they go to files in `TMPDIR`.

    Returns: a `LabelProjection`; of "autoencoder" a `keras_dup.autoencoder.LabelAutoencoder`.

    Raises:
        ValueError: an argument out of range; a label map that is not (H, W) integers or has an id
            outside the classes (names its place in the iterable); no label map, or none with a
            valid pixel; windows too much alike for that many channels.
    """
    _check_arguments(num_classes, ratio, channels, method)
    counts = count_windows(
        label_maps, num_classes, ratio, ignore_class, verbose, total, workers, on_error, memory
    )
    return fit_counts(counts, num_classes, ratio, channels, ignore_class, verbose, method, memory)


def count_windows(
    label_maps,
    num_classes,
    ratio,
    ignore_class=255,
    verbose=False,
    total=None,
    workers=1,
    on_error="raise",
    memory=MEMORY,
):
    """Counts distinct windows. Counts of parts of the label maps add up (`+`) to those of all.

    Returns: a `keras_dup.window_counts.WindowCounts`; its `skipped` says what `on_error="skip"`
        left out. Arguments and errors as in `fit`.
    """
    _check_arguments(num_classes, ratio)
    counter = counting.Counter(num_classes, ratio, ignore_class, on_error)
    return counting.count(label_maps, counter, verbose, total, workers, memory)


def fit_counts(
    counts,
    num_classes,
    ratio,
    channels,
    ignore_class=255,
    verbose=False,
    method="pca",
    memory=MEMORY,
):
    """What `fit` does with the windows that `count_windows` counted; arguments as there."""
    _check_arguments(num_classes, ratio, channels, method)
    if not len(counts):
        raise ValueError(f"every pixel of every label map is void (ignore_class={ignore_class})")
    if channels >= len(counts):
        raise _too_many_channels(channels, len(counts) - 1, f"{len(counts)} distinct windows")
    if method != "pca":
        from keras_dup import autoencoder  # Keras, which this module else does without

        return autoencoder.fit(counts, num_classes, ratio, channels, ignore_class, verbose, method)
    covariance = pca.Covariance(counts.windows, counts.counts, num_classes, ratio, memory)
    enough = _enough(channels, covariance.variance)
    # Where each pass over the windows is long, larger blocks make do with fewer.
    block_size = max(16, int(channels) // 4) if covariance.resident else max(64, int(channels))
    values, vectors = pca.principal(covariance, enough, block_size, verbose)
    rank = int((values > 1e-12 * covariance.variance).sum())
    if rank < len(values):
        raise _too_many_channels(channels, rank, "these label maps")
    return LabelProjection(
        matrix=(vectors * _signs(vectors)[:, None]).astype(np.float32),
        mean=covariance.mean.astype(np.float32),
        explained_variance_ratio=values / covariance.variance,
        num_classes=num_classes,
        ratio=ratio,
        ignore_class=ignore_class,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class LabelProjection:
    """The pair P, W of Tian et al. 2019, Eq. 2, with the mean.

    Attributes:
        matrix: (channels, r*r*C) float32, orthonormal rows, columns ordered (row in window,
            column in window, class), which is the order of `depth_to_space`.
        mean: (r*r*C,) float32.
        explained_variance_ratio: (channels,), falling, the share of each row in the variance.
        num_classes, ratio, ignore_class: C, r and the id of void (or None), as in `fit`.
        channels: C~, the number of rows.

    Raises ValueError if the arrays do not fit together.
    """

    matrix: np.ndarray
    mean: np.ndarray
    explained_variance_ratio: np.ndarray
    num_classes: int
    ratio: int
    ignore_class: int | None = 255

    def __post_init__(self):
        size = self.ratio**2 * self.num_classes
        shapes = tuple(np.shape(getattr(self, name)) for name in _FIELDS[:3])
        rows = shapes[0][:1]
        if shapes != ((*rows, size), (size,), rows):
            raise ValueError(
                f"matrix, mean and explained_variance_ratio have shapes {shapes}; ratio "
                f"{self.ratio} and {self.num_classes} classes make (channels, {size}), ({size},) "
                "and (channels,)"
            )

    @property
    def channels(self):
        return len(self.matrix)

    def compress(self, label_map):
        """(H, W) class ids -> (ceil(H/r), ceil(W/r), channels) float32, Y~ = P (v - mean).

        Void is filled in as in `fit`; a window that is void throughout becomes zeros, the mean.
        Raises ValueError for a label map that is not (H, W) integers of 0..C-1 and void.
        """
        ids, void = cut_windows(
            label_map, self.num_classes, self.ratio, self.ignore_class, "label map"
        )
        rows = np.concatenate([self.compress_windows(part) for part in _chunks(ids)])
        rows[void.all(1)] = 0
        return rows.reshape(-(-np.shape(label_map)[0] // self.ratio), -1, self.channels)

    def reconstruct(self, compressed):
        """(h, w, channels) -> (h*r, w*r, C) float32, the class scores v~ = P^T x + mean.

        Raises ValueError for another number of axes or channels.
        """
        compressed = np.asarray(compressed, np.float32)
        if compressed.ndim != 3 or compressed.shape[2] != self.channels:
            raise ValueError(
                f"compressed has shape {compressed.shape}; (h, w, {self.channels}) is expected"
            )
        h, w, _ = compressed.shape
        r, c = self.ratio, self.num_classes
        scores = self.reconstruct_windows(compressed).reshape(h, w, r, r, c)
        return scores.swapaxes(1, 2).reshape(h * r, w * r, c)

    def save(self, path):
        """Writes an .npz, whole or not at all, and returns its path; `.npz` is added if missing."""
        path = _npz(path)
        # A reader never sees half a file: os.replace is atomic within one folder.
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        fields = {name: getattr(self, name) for name in _FIELDS}
        fields["ignore_class"] = [] if self.ignore_class is None else [self.ignore_class]
        try:
            with open(temporary, "wb") as file:
                np.savez(file, **fields)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def compress_windows(self, windows):
        """(n, r*r) class ids without void -> (n, channels) float32."""
        columns = np.arange(self.ratio**2) * self.num_classes + windows
        # One-hot windows times P^T without the zeros: the sum of P's columns that the labels pick.
        ones = np.ones(columns.size, np.float32)
        starts = np.arange(0, columns.size + 1, self.ratio**2)
        shape = (len(windows), len(self.mean))
        one_hot = sparse.csr_array((ones, columns.ravel(), starts), shape=shape)
        return one_hot @ self.matrix.T - self.matrix @ self.mean

    def reconstruct_windows(self, rows):
        """(..., channels) -> (..., r*r*C) float32 class scores."""
        return rows @ self.matrix + self.mean


def load(path):
    """Reads what `LabelProjection.save` wrote; `.npz` is added to the path if missing.

    Raises ValueError if the file is damaged or something else, FileNotFoundError if it is missing.
    """
    path = _npz(path)
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as fields:
                arrays = [fields[name] for name in _FIELDS]
            numbers = [int(value) for value in arrays[3:5]] + [*map(int, arrays[5])] + [None]
            return LabelProjection(*arrays[:3], *numbers[:3])
        except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds
            raise ValueError(
                f"{path}: not a projection ({error}); an .npz written by LabelProjection.save, "
                f"with {', '.join(_FIELDS)}, is expected: copy it or fit it again"
            ) from error


def _enough(channels, variance):
    """What `pca.principal` asks: how many of these eigenvalues are wanted?"""
    if channels >= 1:
        channels = int(channels)
        return lambda values: channels if len(values) >= channels else None

    def enough(values):
        reached = np.flatnonzero(values.cumsum() >= channels * variance)
        return int(reached[0]) + 1 if len(reached) else None

    return enough


def _signs(vectors):
    """(channels, N) -> (channels,): the signs that make the largest entry positive.

    Symmetric label maps give entries equal up to rounding, so of nearly largest ones the first
    decides.
    """
    size = np.abs(vectors)
    first = (size > 0.999 * size.max(1, keepdims=True)).argmax(1)
    return np.sign(vectors[np.arange(len(vectors)), first])


def _chunks(array, size=_CHUNK):
    return (array[i : i + size] for i in range(0, len(array), size))


def _npz(path):
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")


def _check_arguments(num_classes, ratio, channels=1, method="pca"):
    for name, value in (("num_classes", num_classes), ("ratio", ratio)):
        if value != int(value) or value < 1:
            raise ValueError(f"{name} is {value}; a whole number of 1 or more is expected")
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; one of {METHODS} is expected")
    if 0 < channels < 1 and method == "pca":
        return
    if channels != int(channels) or channels < 1:
        share = " or a share of the variance in (0, 1)" if method == "pca" else ""
        raise ValueError(f"channels is {channels}; a whole number of 1 or more{share} is expected")
    most = ratio * ratio * (num_classes - 1)
    if channels > max(most, 1):
        raise _too_many_channels(channels, most, f"ratio {ratio} and {num_classes} classes")


def _too_many_channels(channels, most, what):
    return ValueError(f"channels is {channels}, but {what} give at most {most}")
