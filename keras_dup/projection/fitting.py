"""Label maps -> counted windows -> PCA: the projection of Tian et al. 2019, Sec. 3.1, Eq. 2 and 3.

Of the 1.06 million windows of the VOC 2012 training set (r = 16) only 110 thousand differ, so
distinct windows are counted first (`counting`) and the eigensolver (`pca`) only ever sees those.
"""

import numbers

import numpy as np

from keras_dup.projection import counting, pca
from keras_dup.projection.covariance import Covariance, Scaled
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

    Returns: a `LabelProjection`; of "autoencoder" a `LabelAutoencoder`.

    Raises:
        ValueError: an argument out of range; a label map that is not (H, W) integers or has an id
            outside the classes (names its place in the iterable); no label map, or none with a
            valid pixel; windows too much alike for that many channels.
    """
    _check_arguments(num_classes, ratio, channels, method, class_balance)
    counts = count_windows(
        label_maps, num_classes, ratio, ignore_class, verbose, total, workers, on_error, memory
    )
    options = ignore_class, verbose, method, memory, class_balance
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
):
    """What `fit` does with the windows that `count_windows` counted; arguments as there."""
    _check_arguments(num_classes, ratio, channels, method, class_balance)
    if not len(counts):
        raise ValueError(f"every pixel of every label map is void (ignore_class={ignore_class})")
    if len(counts) == 1 or (_is_whole(channels) and channels >= len(counts)):
        raise _too_many_channels(channels, len(counts) - 1, f"{len(counts)} distinct windows")
    if method != "pca":
        from keras_dup.projection import autoencoder  # Keras, which this module else does without

        return autoencoder.fit(counts, num_classes, ratio, channels, ignore_class, verbose, method)
    covariance = Covariance(counts.windows, counts.counts, num_classes, ratio, memory)
    scale = _scale(covariance.mean, num_classes, class_balance)
    scaled = Scaled(covariance, scale) if class_balance else covariance
    # Where each pass over the windows is long, larger blocks make do with fewer.
    block_size = max(16, int(channels) // 4) if covariance.resident else max(64, int(channels))
    enough = _enough(channels, scaled.variance)
    values, vectors = pca.principal(scaled, enough, block_size, verbose)
    rank = int((values > _NOTHING * scaled.variance).sum())
    if rank < (channels if _is_whole(channels) else 1):
        raise _too_many_channels(channels, rank, "these label maps")
    values, vectors = values[:rank], vectors[:rank]
    if class_balance:
        values, vectors = pca.within(covariance, vectors / scale)
    return LabelProjection(
        matrix=(vectors * _signs(vectors)[:, None]).astype(np.float32),
        mean=covariance.mean.astype(np.float32),
        explained_variance_ratio=values / covariance.variance,
        num_classes=num_classes,
        ratio=ratio,
        ignore_class=ignore_class,
    )


def _scale(mean, num_classes, class_balance):
    """(r*r*C,): what the entries of a window are multiplied by before their PCA."""
    shares = mean.reshape(-1, num_classes).mean(0)
    scale = np.where(shares > 0, shares, 1.0) ** -class_balance
    return np.tile(scale, len(mean) // num_classes)


def _enough(channels, variance):
    """What `pca.principal` asks: how many of these eigenvalues are wanted?"""
    if _is_whole(channels):
        return lambda values: channels if len(values) >= channels else None

    def enough(values):
        reached = np.flatnonzero(values.cumsum() >= (channels - _NOTHING) * variance)
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


def _check_arguments(num_classes, ratio, channels=1, method="pca", class_balance=0.0):
    for name, value in (("num_classes", num_classes), ("ratio", ratio)):
        if not _is_whole(value) or value < 1:
            raise ValueError(f"{name} is {value!r}; a whole number of 1 or more is expected")
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; one of {METHODS} is expected")
    if not 0 <= class_balance <= 0.5:
        raise ValueError(f"class_balance is {class_balance}; 0 to 0.5 is expected")
    if class_balance and method != "pca":
        raise ValueError(f"class_balance is of method 'pca', not of {method!r}")
    if method == "pca" and isinstance(channels, float | np.floating) and 0 < channels <= 1:
        return
    if not _is_whole(channels) or channels < 1:
        share = ", or a float in (0, 1], a share of the variance," if method == "pca" else ""
        raise ValueError(
            f"channels is {channels!r}; a whole number of 1 or more{share} is expected"
        )
    most = ratio * ratio * (num_classes - 1)
    if channels > max(most, 1):
        raise _too_many_channels(channels, most, f"ratio {ratio} and {num_classes} classes")


def _is_whole(value):
    """Is it an integer? True and False are none, and neither is 1.0, which is a share."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _too_many_channels(channels, most, what):
    return ValueError(f"channels is {channels}, but {what} give at most {most}")
