"""Label maps -> counted windows -> PCA: the projection of Tian et al. 2019, Sec. 3.1, Eq. 2 and 3.

Of the 1.06 million windows of the VOC 2012 training set (r = 16) only 110 thousand differ, so
distinct windows are counted first (`counting`) and the eigensolver (`pca`) only ever sees those.
"""

import numbers
from collections.abc import Iterable

import numpy as np

from keras_dup._label_maps import VOID
from keras_dup.projection import _counting, _pca
from keras_dup.projection._covariance import Covariance, Remainder, Scaled
from keras_dup.projection._label_projection import LabelAutoencoder, LabelProjection
from keras_dup.projection._window_counts import MEMORY, WindowCounts

__all__ = [
    "METHODS",
    "check_arguments",
    "check_channels",
    "count_windows",
    "fit",
    "fit_counts",
]

METHODS = ("pca", "sgd", "autoencoder")
_NOTHING = 1e-12  # of the variance: what is below is rounding


def fit(
    label_maps: Iterable[np.ndarray],
    num_classes: int,
    ratio: int,
    channels: int | float,
    ignore_class: int | None = VOID,
    verbose: bool = False,
    total: int | None = None,
    method: str = "pca",
    workers: int = 1,
    on_error: str = "raise",
    memory: int = MEMORY,
    class_balance: float = 0.0,
    constant_windows: bool = False,
) -> LabelProjection | LabelAutoencoder:
    """Finds the directions in which the windows of label maps vary most.

    Windows start at the top left corner. The right and bottom edges are repeated to complete the
    last windows. A void pixel takes the label of the nearest labelled pixel. Windows without any
    label do not count. The result depends neither on the order of the label maps nor on `workers`
    and `memory` (if windows go to files, up to a relative error of 1e-10).

    Args:
        label_maps: (H, W) integer arrays of any sizes: an iterable, read once, or a sequence with
            `len()` and `[i]`, such as `keras_dup.data.LabelMaps`.
        num_classes: C, 1 or more. Class ids are 0..C-1.
        ratio: r, 1 or more.
        channels: C~, an integer in 1..r*r*(C-1). With `method="pca"` also a float in (0, 1], the
            share of the variance that the channels must explain. 1.0 can give thousands.
        ignore_class: the id of void, or None if there is none.
        verbose: True shows progress bars.
        total: the number of label maps, for the progress bar. None takes `len(label_maps)`.
        method: "pca" solves Eq. 3 with orthonormal rows, exactly. "sgd" solves Eq. 3 without that
            constraint by gradient descent. "autoencoder" is the paper's non-linear variant. The
            last two use Keras and exist for comparison.
        workers: the number of processes that read and count. More than 1 need a sequence.
        on_error: "raise", or "skip" to leave out label maps that cannot be read or have other
            ids. `count_windows` tells which.
        memory: the bytes that windows may take. More windows go to files in `TMPDIR`.
        class_balance: b in 0..0.5, for `method="pca"`. The squared error of a class is multiplied
            by share ** (-2 * b), with the class's share of the pixels. 0 is Eq. 3: small parts of
            rare classes are lost first. 0.5 makes all classes equal.
        constant_windows: True, for `method="pca"`, makes row k of the first C rows the window that
            is class k at every pixel, scaled to length 1. The other rows are PCA of the rest, and
            the mean is the share of each class, at every pixel. W then rebuilds constant windows
            exactly, also with its `first` C rows or more, and explains a little less variance (VOC,
            r = 16, 64 rows: 1.6 % more error in Eq. 3). Networks gained nothing by it in our trial.

    Returns: a `LabelProjection`, or a `LabelAutoencoder` for "autoencoder".

    Raises:
        ValueError: an argument is out of range, a label map is bad (its place is named), there is
            no label, or the windows have too little variety for so many channels.
    """
    check_arguments(num_classes, ratio, method, class_balance, constant_windows)
    check_channels(num_classes, ratio, channels, method, constant_windows)
    counts = count_windows(
        label_maps, num_classes, ratio, ignore_class, verbose, total, workers, on_error, memory
    )
    options = ignore_class, verbose, method, memory, class_balance, constant_windows
    return fit_counts(counts, num_classes, ratio, channels, *options)


def count_windows(
    label_maps: Iterable[np.ndarray],
    num_classes: int,
    ratio: int,
    ignore_class: int | None = VOID,
    verbose: bool = False,
    total: int | None = None,
    workers: int = 1,
    on_error: str = "raise",
    memory: int = MEMORY,
) -> WindowCounts:
    """Counts distinct windows. The counts of parts of a data set can be added with `+`.

    Args: as in `fit`.

    Returns: a `keras_dup.projection._window_counts.WindowCounts`. Its `skipped` says what
        `on_error="skip"` left out.

    Raises: ValueError as `fit` does.
    """
    check_arguments(num_classes, ratio)
    counter = _counting.Counter(num_classes, ratio, ignore_class, on_error)
    return _counting.count(label_maps, counter, verbose, total, workers, memory)


def fit_counts(
    counts: WindowCounts,
    num_classes: int,
    ratio: int,
    channels: int | float,
    ignore_class: int | None = VOID,
    verbose: bool = False,
    method: str = "pca",
    memory: int = MEMORY,
    class_balance: float = 0.0,
    constant_windows: bool = False,
) -> LabelProjection | LabelAutoencoder:
    """Fits a projection to windows that `count_windows` counted. See `fit` for the arguments."""
    check_arguments(num_classes, ratio, method, class_balance, constant_windows)
    check_channels(num_classes, ratio, channels, method, constant_windows)
    if not len(counts):
        raise ValueError(f"every pixel of every label map is void (ignore_class={ignore_class})")
    most = len(counts) - 1 + (num_classes if constant_windows else 0)
    if len(counts) == 1 or (_is_whole(channels) and channels > most):
        absent = np.setdiff1d(np.arange(num_classes), counts.windows)
        raise _too_many_channels(channels, most, f"{len(counts)} distinct windows", absent)
    if method != "pca":
        from keras_dup.projection import _autoencoder  # Keras, which this module else does without

        shape = num_classes, ratio, int(channels)
        return _autoencoder.fit(counts, *shape, ignore_class, verbose, method)
    covariance: Covariance | Remainder
    covariance = Covariance(counts.windows, counts.counts, num_classes, ratio, memory)
    if constant_windows:
        covariance = Remainder(covariance, num_classes)
    values, rows = _principal(covariance, num_classes, channels, class_balance, verbose)
    explained = np.concatenate([covariance.explained, values])
    return LabelProjection(
        matrix=np.concatenate([covariance.rows, rows]).astype(np.float32),
        mean=covariance.mean.astype(np.float32),
        explained_variance_ratio=explained / (covariance.explained.sum() + covariance.variance),
        num_classes=num_classes,
        ratio=ratio,
        ignore_class=ignore_class,
    )


def _principal(covariance, num_classes, channels, class_balance, verbose):
    """The eigenvalues, falling, and rows that make `channels`, with those there are anyway."""
    shares = covariance.mean.reshape(-1, num_classes).mean(0)
    scale = np.where(shares > 0, shares, 1.0) ** -class_balance
    scaled = Scaled(covariance, scale) if class_balance else covariance
    total = scaled.explained.sum() + scaled.variance
    enough = _enough(channels, scaled.explained, total)
    if enough(np.zeros(0)) == 0:
        return np.zeros(0), np.zeros((0, covariance.size))
    # Where each pass over the windows is long, larger blocks make do with fewer.
    block_size = max(16, int(channels) // 4) if covariance.resident else max(64, int(channels))
    values, rows = _pca.principal(scaled, enough, block_size, verbose)
    rank, known = int((values > _NOTHING * total).sum()), len(covariance.rows)
    if known + rank < (channels if _is_whole(channels) else 1):
        absent = np.flatnonzero(shares == 0)
        raise _too_many_channels(channels, known + rank, "these label maps", absent)
    values, rows = values[:rank], rows[:rank]
    if class_balance:
        values, rows = _pca.within(covariance, rows / np.tile(scale, len(rows[0]) // len(scale)))
    return values, rows * _signs(rows)[:, None]


def _enough(channels, explained, total):
    """What `pca.principal` asks: how many of these eigenvalues are wanted, beside `explained`?"""
    if _is_whole(channels):
        count = channels - len(explained)
        return lambda values: count if len(values) >= count else None
    missing = (channels - _NOTHING) * total - explained.sum()

    def enough(values):
        reached = np.flatnonzero(np.append(0, values).cumsum() >= missing)
        return int(reached[0]) if len(reached) else None

    return enough


def _signs(vectors):
    """(channels, N) -> (channels,): the signs that make the largest entry positive.

    Symmetric label maps give entries equal up to rounding, so of nearly largest ones the first
    decides.
    """
    size = np.abs(vectors)
    first = (size > 0.999 * size.max(1, keepdims=True)).argmax(1)
    return np.sign(vectors[np.arange(len(vectors)), first])


def check_arguments(num_classes, ratio, method="pca", class_balance=0.0, constant_windows=False):
    for name, value in (("num_classes", num_classes), ("ratio", ratio)):
        if not _is_whole(value) or value < 1:
            raise ValueError(f"{name} is {value!r}; a whole number of 1 or more is expected")
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; one of {METHODS} is expected")
    if not 0 <= class_balance <= 0.5:
        raise ValueError(f"class_balance is {class_balance}; 0 to 0.5 is expected")
    for name, value in (("class_balance", class_balance), ("constant_windows", constant_windows)):
        if value and method != "pca":
            raise ValueError(f"{name} is of method 'pca', not of {method!r}")


def check_channels(num_classes, ratio, channels, method, constant_windows):
    if method == "pca" and isinstance(channels, float | np.floating) and 0 < channels <= 1:
        return
    least = num_classes if constant_windows else 1
    if not _is_whole(channels) or channels < least:
        share = ", or a share of the variance in (0, 1] as a float," if method == "pca" else ""
        rows = ", the constant windows of the classes," if constant_windows else ""
        raise ValueError(
            f"channels is {channels!r}; a whole number of {least}{rows} or more{share} is expected"
        )
    most = max(ratio * ratio * (num_classes - 1) + bool(constant_windows), 1)
    if channels > most:
        raise _too_many_channels(channels, most, f"ratio {ratio} and {num_classes} classes")


def _is_whole(value):
    """Is it an integer? True and False are none, and neither is 1.0, which is a share."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _too_many_channels(channels, most, what, absent=()):
    message = f"channels is {channels}, but {what} give at most {most}"
    if len(absent):
        classes = ", ".join(map(str, absent[:10])) + (", ..." if len(absent) > 10 else "")
        message += (
            f"; of the classes {classes} no pixel was found: do the ids in the label maps mean "
            "classes? keras_dup.data.LabelMaps(..., ids={id: class}) maps them, also 255, which "
            "is void by default"
        )
    return ValueError(message)
