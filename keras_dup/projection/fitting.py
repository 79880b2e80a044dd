"""Label maps -> counted windows -> PCA: the projection of Tian et al. 2019, Sec. 3.1, Eq. 2 and 3.

Of the 1.06 million windows of the VOC 2012 training set (r = 16) only 110 thousand differ, so
distinct windows are counted first (`counting`) and the eigensolver (`pca`) only ever sees those.
"""

import numbers

import numpy as np

from keras_dup.projection import counting, pca
from keras_dup.projection.covariance import Covariance, Remainder, Scaled
from keras_dup.projection.label_projection import LabelProjection
from keras_dup.projection.window_counts import MEMORY

METHODS = ("pca", "sgd", "autoencoder")
_NOTHING = 1e-12  # of the variance: what is below is rounding


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
    class_balance=0.0,
    constant_windows=False,
):
    """Finds the `channels` directions in which the windows of label maps vary most.

    Windows start at the top left corner; the right and bottom edges are repeated to fill the last
    ones. A void pixel takes the label of the nearest valid pixel of the label map (straight
    distance); windows that are void throughout do not count. Of the rules that
    `research/projections/void_rules.py` compares this one is best for the valid pixels: zeros, the
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
        channels: C~, an integer, 1..r*r*(C-1) (the labels of a pixel sum to 1). With
            `method="pca"` also a float in (0, 1], a share of the variance: as many channels as
            explain it. 1.0 is all of it, which for large windows are thousands.
        ignore_class: the id of void, None if there is none.
        verbose: shows progress bars.
        total: number of label maps, for the progress bar; None asks `len(label_maps)`.
        method: "pca" is Eq. 3 with orthonormal rows, exact. "sgd" is Eq. 3 without that
            constraint, by gradient descent, "autoencoder" the paper's non-linear one; both are
            in `keras_dup.projection.autoencoder`, use Keras, and are there to be compared.
        workers: processes that read and count; more than 1 need `label_maps` with `[i]`.
        on_error: "raise", or "skip" to leave out label maps that cannot be read or have ids
            outside the classes; `count_windows` tells which.
        memory: bytes that windows may take, beyond which they go to files in `TMPDIR`.
        class_balance: b, 0..0.5, of `method="pca"`. 0 is Eq. 3, to which a class counts by its
            pixels: small parts of rare classes are what W leaves out. With b the squared error of
            a class counts share ** (-2 b) times, where `share` is that of its pixels; 0.5 makes
            all classes equal. The rows of W are the principal components of the span that is
            found: orthonormal as ever, with a little less of the variance. A share of the variance
            as `channels` is of the errors that count so.
        constant_windows: True makes the first C rows, with `method="pca"`, the windows that are
            of one class throughout, scaled to length 1, row k of class k; the others are PCA of
            what these leave. The mean is then the share of each class, at every pixel, and W
            rebuilds constant windows exactly, with any number of `first` rows from C on. It
            costs some of the variance, least where the channels are many more than the classes.

    Returns: a `LabelProjection`; of "autoencoder" a `LabelAutoencoder`.

    Raises:
        ValueError: an argument out of range; a label map that is not (H, W) integers or has an id
            outside the classes (names its place in the iterable); no label map, or none with a
            valid pixel; windows too much alike for that many channels.
    """
    _check_arguments(num_classes, ratio, method, class_balance, constant_windows)
    _check_channels(num_classes, ratio, channels, method, constant_windows)
    counts = count_windows(
        label_maps, num_classes, ratio, ignore_class, verbose, total, workers, on_error, memory
    )
    options = ignore_class, verbose, method, memory, class_balance, constant_windows
    return fit_counts(counts, num_classes, ratio, channels, *options)


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

    Returns: a `keras_dup.projection.window_counts.WindowCounts`; its `skipped` says what
        `on_error="skip"` left out. Arguments and errors as in `fit`.
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
    class_balance=0.0,
    constant_windows=False,
):
    """What `fit` does with the windows that `count_windows` counted; arguments as there."""
    _check_arguments(num_classes, ratio, method, class_balance, constant_windows)
    _check_channels(num_classes, ratio, channels, method, constant_windows)
    if not len(counts):
        raise ValueError(f"every pixel of every label map is void (ignore_class={ignore_class})")
    most = len(counts) - 1 + (num_classes if constant_windows else 0)
    if len(counts) == 1 or (_is_whole(channels) and channels > most):
        absent = np.setdiff1d(np.arange(num_classes), counts.windows)
        raise _too_many_channels(channels, most, f"{len(counts)} distinct windows", absent)
    if method != "pca":
        from keras_dup.projection import autoencoder  # Keras, which this module else does without

        return autoencoder.fit(counts, num_classes, ratio, channels, ignore_class, verbose, method)
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
    values, rows = pca.principal(scaled, enough, block_size, verbose)
    rank, known = int((values > _NOTHING * total).sum()), len(covariance.rows)
    if known + rank < (channels if _is_whole(channels) else 1):
        absent = np.flatnonzero(shares == 0)
        raise _too_many_channels(channels, known + rank, "these label maps", absent)
    values, rows = values[:rank], rows[:rank]
    if class_balance:
        values, rows = pca.within(covariance, rows / np.tile(scale, len(rows[0]) // len(scale)))
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


def _check_arguments(num_classes, ratio, method="pca", class_balance=0.0, constant_windows=False):
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


def _check_channels(num_classes, ratio, channels, method, constant_windows):
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
