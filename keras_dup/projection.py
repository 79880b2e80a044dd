"""Label maps -> windows -> PCA: the projection of Tian et al. 2019, Sec. 3.1, Eq. 2 and 3.

A window of r x r one-hot labels is a vector v of N = r*r*C numbers, in the order (row, column,
class). The projection holds `matrix`, the paper's P, and `mean`; P's rows are orthonormal, so the
paper's W is P transposed:

    x = P (v - mean)        v~ = P^T x + mean

Of the 1.06 million windows of the VOC 2012 training set (r = 16) only 110 thousand differ, so
distinct windows are counted first and the eigensolver only ever sees those.
"""

import dataclasses
import os
from collections import Counter
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh
from tqdm import tqdm

from keras_dup.windows import cut_windows, distinct, id_type, keys, read_windows

_CHUNK = 4096  # windows worked on at once, bounds the memory
_FIELDS = ("matrix", "mean", "explained_variance_ratio", "num_classes", "ratio", "ignore_class")


def fit(label_maps, num_classes, ratio, channels, ignore_class=255, verbose=False, total=None):
    """Finds the `channels` directions in which the windows of label maps vary most.

    Windows start at the top left corner; the right and bottom edges are repeated to fill the last
    ones. A void pixel takes the label of the nearest valid pixel of the label map (straight
    distance); windows that are void throughout do not count. Of the rules that
    `training/void_rules.py` compares this one rebuilds the valid pixels best: zeros, the
    background's label or the loss of all windows with void cost W the boundaries of objects, the
    nearest pixel of the same window makes boundaries that end at the window's edge, and masked
    least squares, which leaves void open, takes far longer for slightly less.

    The result does not depend on the order of the label maps.

    Args:
        label_maps: iterable, read once, of (H, W) integer arrays; sizes may differ.
        num_classes: C, 1 or more; class ids are 0..C-1.
        ratio: r, 1 or more.
        channels: C~, 1..r*r*(C-1) (the labels of a pixel sum to 1).
        ignore_class: the id of void, None if there is none.
        verbose: shows progress bars.
        total: number of label maps, for the progress bar; None asks `len(label_maps)`.

    Returns: a `LabelProjection`.

    Raises:
        ValueError: an argument out of range; a label map that is not (H, W) integers or has an id
            outside the classes (names its place in the iterable); no label map, or none with a
            valid pixel; windows too much alike for that many channels.
    """
    _check_arguments(num_classes, ratio, channels)
    counts = count_windows(label_maps, num_classes, ratio, ignore_class, verbose, total)
    return fit_counts(counts, num_classes, ratio, channels, ignore_class, verbose)


def count_windows(label_maps, num_classes, ratio, ignore_class=255, verbose=False, total=None):
    """Counts distinct windows. Counts of parts of the label maps add up (`+`) to those of all.

    Returns: a `Counter` of the bytes of the windows, r*r class ids of the smallest unsigned type
        that holds them, void filled in. Arguments and errors as in `fit`.
    """
    _check_arguments(num_classes, ratio)
    counts = Counter()
    windows = read_windows(label_maps, num_classes, ratio, ignore_class, verbose, total)
    for ids, void in windows:
        counts.update(keys(ids[~void.all(1)]))
    return counts


def fit_counts(counts, num_classes, ratio, channels, ignore_class=255, verbose=False):
    """What `fit` does with the windows that `count_windows` counted; arguments as there."""
    _check_arguments(num_classes, ratio, channels)
    if not counts:
        raise ValueError(f"every pixel of every label map is void (ignore_class={ignore_class})")
    windows, weights = distinct(counts, id_type(num_classes))
    if channels >= len(windows):
        raise _too_many_channels(channels, len(windows) - 1, f"{len(windows)} distinct windows")
    values, vectors, mean = _principal(windows, weights, num_classes, ratio, channels, verbose)
    # Each of the r*r pixels has one label, so |v|^2 = r*r and the variance needs no sum.
    variance = ratio * ratio - mean @ mean
    rank = int((values > 1e-12 * variance).sum())
    if rank < channels:
        raise _too_many_channels(channels, rank, "these label maps")
    return LabelProjection(
        matrix=(vectors * _signs(vectors)).T.astype(np.float32),
        mean=mean.astype(np.float32),
        explained_variance_ratio=values / variance,
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
        rows = np.concatenate([self._compress(part) for part in _chunks(ids)])
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
        scores = self._reconstruct(compressed).reshape(h, w, r, r, c)
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

    def _compress(self, windows):
        """(n, r*r) class ids -> (n, channels)."""
        columns = np.arange(self.ratio**2) * self.num_classes + windows
        # One-hot windows times P^T without the zeros: the sum of P's columns that the labels pick.
        ones = np.ones(columns.size, np.float32)
        starts = np.arange(0, columns.size + 1, self.ratio**2)
        shape = (len(windows), len(self.mean))
        one_hot = sparse.csr_array((ones, columns.ravel(), starts), shape=shape)
        return one_hot @ self.matrix.T - self.matrix @ self.mean

    def _reconstruct(self, rows):
        """(..., channels) -> (..., r*r*C)."""
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


def reconstruction_miou(projection, label_maps, verbose=False, total=None):
    """How much of label maps survives: mean IoU of argmax(reconstruct(compress(y))) against y.

    Over all label maps together, void pixels left out, mean over the classes that occur in them.
    This bounds what a network can reach with this projection (the idea of the paper's Table 1).

    Args:
        projection: a `LabelProjection`.
        label_maps, verbose, total: as in `fit`.

    Returns: a float, 0..1.

    Raises: ValueError as `fit` does for the label maps.
    """
    c, r = projection.num_classes, projection.ratio
    counts = Counter()
    for ids, void in read_windows(label_maps, c, r, projection.ignore_class, verbose, total):
        counts.update(keys(np.concatenate([ids, void], axis=1, dtype=ids.dtype)))
    windows, weights = distinct(counts, id_type(c))
    confusion = np.zeros((c, c))
    bar = tqdm(total=len(windows), desc="reconstructing", unit=" windows", disable=not verbose)
    for part, weight in zip(_chunks(windows, 512), _chunks(weights, 512), strict=True):
        ids, valid = part[:, : r * r], part[:, r * r :] == 0
        scores = projection._reconstruct(projection._compress(ids)).reshape(-1, r * r, c)
        pairs = ids.astype(np.int64) * c + scores.argmax(-1)
        weight = np.broadcast_to(weight[:, None], ids.shape)[valid]
        confusion += np.bincount(pairs[valid], weight, c * c).reshape(c, c)
        bar.update(len(part))
    bar.close()
    return _mean_iou(confusion)


def _mean_iou(confusion):
    """(C, C) counts, true class by predicted class -> mean IoU over the true classes."""
    true = confusion.sum(1)
    if not true.any():
        raise ValueError("every pixel of every label map is void")
    union = true + confusion.sum(0) - confusion.diagonal()
    return float((confusion.diagonal()[true > 0] / union[true > 0]).mean())


def _principal(windows, weights, num_classes, ratio, channels, verbose):
    """The largest eigenvalues, falling, and eigenvectors of the windows' covariance, and the mean.

    Matrix-free: X, the one-hot windows, is D U, where U sums over all pixels below and to the
    right of each pixel and D, the difference of X across rows and columns, is zero wherever a
    window does not have a corner between labels: a tenth of X's nonzeros at r = 16.
    """
    shape, weights = (ratio, ratio, num_classes), weights / weights.sum()
    parts = [_differences(part, num_classes, ratio) for part in _chunks(windows)]
    differences = sparse.vstack(parts, format="csr")
    transposed = differences.T

    def project(v):
        return differences @ v.reshape(shape)[::-1, ::-1].cumsum(0).cumsum(1)[::-1, ::-1].ravel()

    def collect(u):
        return (transposed @ u).reshape(shape).cumsum(0).cumsum(1).ravel()

    mean = collect(weights)
    bar = tqdm(desc="solving", unit=" products", disable=not verbose)

    def covariance(v):
        bar.update()
        return collect(weights * (project(v) - mean @ v.ravel()))

    start = np.random.default_rng(0).standard_normal(mean.size)
    operator = LinearOperator((mean.size, mean.size), covariance, dtype=np.float64)
    values, vectors = eigsh(operator, channels, v0=start)
    bar.close()
    return values[::-1], vectors[:, ::-1], mean


def _differences(windows, num_classes, ratio):
    """D of `_principal`, sparse (n, r*r*C): x[i, j] - x[i-1, j] - x[i, j-1] + x[i-1, j-1]."""
    around = np.pad(
        windows.reshape(-1, ratio, ratio), ((0, 0), (1, 0), (1, 0)), constant_values=num_classes
    )
    here, above = around[:, 1:, 1:], around[:, :-1, 1:]
    left, above_left = around[:, 1:, :-1], around[:, :-1, :-1]
    cancels = ((here == above) & (left == above_left)) | ((here == left) & (above == above_left))
    window, row, column = np.nonzero(~cancels)
    pixel = (row * ratio + column) * num_classes
    entries = []
    for labels, sign in ((here, 1.0), (above, -1.0), (left, -1.0), (above_left, 1.0)):
        labels = labels[window, row, column]
        inside = labels != num_classes
        entries.append((np.full(inside.sum(), sign), window[inside], (pixel + labels)[inside]))
    values, rows, columns = map(np.concatenate, zip(*entries, strict=True))
    shape = (len(windows), ratio * ratio * num_classes)
    return sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()


def _signs(vectors):
    """(N, channels) -> (channels,): the signs that make the largest entry positive.

    Symmetric label maps give entries equal up to rounding, so of nearly largest ones the first
    decides.
    """
    size = np.abs(vectors)
    first = (size > 0.999 * size.max(0)).argmax(0)
    return np.sign(vectors[first, np.arange(vectors.shape[1])])


def _chunks(array, size=_CHUNK):
    return (array[i : i + size] for i in range(0, len(array), size))


def _npz(path):
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")


def _check_arguments(num_classes, ratio, channels=1):
    for name, value in (("num_classes", num_classes), ("ratio", ratio), ("channels", channels)):
        if value != int(value) or value < 1:
            raise ValueError(f"{name} is {value}; a whole number of 1 or more is expected")
    most = ratio * ratio * (num_classes - 1)
    if channels > max(most, 1):
        raise _too_many_channels(channels, most, f"ratio {ratio} and {num_classes} classes")


def _too_many_channels(channels, most, what):
    return ValueError(f"channels is {channels}, but {what} give at most {most}")
