"""Label maps -> windows: r x r pieces of class ids, void filled in.

The rule for void and its reason stand at `keras_dup.projection.fit`.
"""

import math
from functools import cache

import numpy as np
from scipy import ndimage

_NEAR = 5  # pixels


def cut_windows(label_map, num_classes, ratio, ignore_class, name):
    """(H, W) class ids -> (n, r*r) class ids, void filled in, and (n, r*r) where it was void.

    The ids in windows that are void throughout mean nothing. Raises ValueError, with `name`, for
    a label map that is not (H, W) integers of 0..C-1 and void.
    """
    labels = _labels(label_map, num_classes, ignore_class, name)
    padding = [(0, -size % ratio) for size in labels.shape]
    void = _cut(np.pad(labels == num_classes, padding, constant_values=True), ratio)
    _fill(labels, _partly_void(void, ratio, labels.shape), ratio, num_classes)
    return _cut(np.pad(labels, padding, mode="edge"), ratio), void


def id_type(num_classes):
    """The smallest unsigned type; it holds C too, which stands for void and for outside."""
    return np.min_scalar_type(num_classes)


def _labels(label_map, num_classes, ignore_class, name):
    """Checks a label map -> (H, W) of `id_type`, void C."""
    ids = np.asarray(label_map)
    if ids.ndim != 2 or ids.size == 0 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"{name} has shape {ids.shape} and type {ids.dtype}; (H, W) of integer class ids is "
            "expected (read a palette PNG without converting it to colours)"
        )
    void = np.zeros(ids.shape, bool) if ignore_class is None else ids == ignore_class
    wrong = (ids >= num_classes) & ~void
    if ids.dtype.kind == "i":
        wrong |= (ids < 0) & ~void
    if wrong.any():
        raise ValueError(
            f"{name} has class id {ids[wrong][0]}; 0..{num_classes - 1} "
            f"(num_classes={num_classes}) and {ignore_class} (ignore_class) are expected"
        )
    return np.where(void, num_classes, ids).astype(id_type(num_classes))


def _fill(labels, void, ratio, marker):
    """Gives the pixels in `void` the nearest label that is not `marker`, in place.

    Of labels equally near the leftmost counts, of those the topmost: SciPy's choice too. Void is
    mostly a thin band, so what is near is looked up pixel by pixel, which is faster.
    """
    places = np.flatnonzero(np.pad(void, _NEAR))
    around = np.pad(labels, _NEAR, constant_values=marker)
    shape, around = around.shape, around.ravel()
    filled = around.copy()
    for row, column in _near():
        if not len(places):
            break
        found = around.take(places + (row * shape[1] + column))
        filled[places] = found
        places = places.take((found == marker).nonzero()[0])
    if len(places):
        rows, columns = np.subtract(np.unravel_index(places, shape), _NEAR)
        reach = math.ceil(ratio * math.sqrt(2))  # of a window that has a valid pixel
        filled[places] = _nearest(labels, rows, columns, reach, marker)
    labels[:] = filled.reshape(shape)[_NEAR:-_NEAR, _NEAR:-_NEAR]


def _nearest(labels, rows, columns, reach, marker):
    """The labels nearest to void pixels, at most `reach` away."""
    top, left = max(rows.min() - reach, 0), max(columns.min() - reach, 0)
    box = labels[top : rows.max() + reach + 1, left : columns.max() + reach + 1]
    indices = ndimage.distance_transform_edt(
        box == marker, return_distances=False, return_indices=True
    )
    return box[tuple(indices[:, rows - top, columns - left])]


@cache
def _near():
    """Offsets (row, column) up to _NEAR pixels away, the nearest first, then as `_fill` says."""
    side = range(-_NEAR, _NEAR + 1)
    offsets = [(i, j) for i in side for j in side if 0 < i * i + j * j <= _NEAR**2]
    return sorted(offsets, key=lambda at: (at[0] ** 2 + at[1] ** 2, at[1], at[0]))


def _cut(pixels, ratio):
    """(h*r, w*r) -> (h*w, r*r), windows row by row."""
    h, w = (size // ratio for size in pixels.shape)
    windows = pixels.reshape(h, ratio, w, ratio).swapaxes(1, 2)
    return windows.reshape(h * w, ratio * ratio)


def _partly_void(void, ratio, shape):
    """(h*w, r*r) -> (H, W): the void pixels of windows that hold a valid one too."""
    h, w = (-(-size // ratio) for size in shape)
    windows = (void & ~void.all(1)[:, None]).reshape(h, w, ratio, ratio)
    return windows.swapaxes(1, 2).reshape(h * ratio, w * ratio)[: shape[0], : shape[1]]
