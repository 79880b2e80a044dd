"""Label maps -> windows: r x r pieces of class ids, void filled in, counted by their bytes.

The rule for void and its reason stand at `keras_dup.projection.fit`.
"""

import numpy as np
from scipy import ndimage
from tqdm import tqdm


def read_windows(label_maps, num_classes, ratio, ignore_class, verbose, total):
    """Yields `cut_windows` of each label map."""
    read = 0
    bar = tqdm(label_maps, "reading", total, unit=" label maps", disable=not verbose)
    for read, label_map in enumerate(bar, 1):
        yield cut_windows(label_map, num_classes, ratio, ignore_class, f"label map {read - 1}")
    if not read:
        raise ValueError("no label maps: the iterable is empty (or was used up before)")


def cut_windows(label_map, num_classes, ratio, ignore_class, name):
    """(H, W) class ids -> (n, r*r) class ids, void filled in, and (n, r*r) where it was void."""
    ids = np.asarray(label_map)
    if ids.ndim != 2 or ids.size == 0 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"{name} has shape {ids.shape} and type {ids.dtype}; (H, W) of integer class ids is "
            "expected (read a palette PNG without converting it to colours)"
        )
    void = np.zeros(ids.shape, bool) if ignore_class is None else ids == ignore_class
    wrong = ((ids < 0) | (ids >= num_classes)) & ~void
    if wrong.any():
        raise ValueError(
            f"{name} has class id {ids[wrong][0]}; 0..{num_classes - 1} "
            f"(num_classes={num_classes}) and {ignore_class} (ignore_class) are expected"
        )
    ids = _fill_void(ids, void).astype(id_type(num_classes))
    padding = [(0, -size % ratio) for size in ids.shape]
    ids = np.pad(ids, padding, mode="edge")
    void = np.pad(void, padding, constant_values=True)
    return _cut(ids, ratio), _cut(void, ratio)


def _fill_void(ids, void):
    """Gives void pixels the label of the nearest valid one; class 0 if there is none. (H, W)."""
    if void.all():  # no nearest one: the transform would give places outside
        return np.zeros_like(ids)
    if not void.any():
        return ids
    # The nearest valid pixel is never outside the box around all void by more than one pixel.
    (top, bottom), (left, right) = (np.flatnonzero(void.any(i))[[0, -1]] for i in (1, 0))
    box = slice(max(top - 1, 0), bottom + 2), slice(max(left - 1, 0), right + 2)
    nearest = ndimage.distance_transform_edt(void[box], return_distances=False, return_indices=True)
    filled = ids.copy()
    rows, columns = nearest[:, void[box]]
    filled[void] = ids[box][rows, columns]
    return filled


def _cut(pixels, ratio):
    """(h*r, w*r) -> (h*w, r*r), windows row by row."""
    h, w = (size // ratio for size in pixels.shape)
    windows = pixels.reshape(h, ratio, w, ratio).swapaxes(1, 2)
    return windows.reshape(h * w, ratio * ratio)


def keys(windows):
    return windows.view(f"V{windows.shape[1] * windows.itemsize}")[:, 0].tolist()


def distinct(counts, id_type):
    """Counter -> (n, ...) ids and (n,) counts, sorted: the order of reading cannot matter."""
    keys = sorted(counts)
    windows = np.frombuffer(b"".join(keys), id_type).reshape(len(keys), -1)
    return windows, np.array([counts[key] for key in keys], np.float64)


def id_type(num_classes):
    return np.min_scalar_type(num_classes)  # holds C too: a sparse difference pads with it
