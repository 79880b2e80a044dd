"""Label maps -> windows: r x r pieces of class ids, void filled in.

The rule for void and its reason stand at `keras_dup.projection.fit`.
"""

import math

import numpy as np

__all__ = ["cut_windows", "id_type", "several_and_single"]


def cut_windows(label_map, num_classes, ratio, ignore_class, name):
    """(H, W) class ids -> (n, r*r) class ids, void filled in, and (n, r*r) where it was void.

    The ids in windows that are void throughout mean nothing. Raises ValueError, with `name`, for
    a label map that is not (H, W) integers of 0..C-1 and void.
    """
    ids, void = _checked(label_map, num_classes, ignore_class, name)
    windows = _filled(ids, void, num_classes, ratio)[0]
    padding = [(0, -size % ratio) for size in ids.shape]
    void = _cut(np.pad(void, padding, constant_values=True), ratio)
    return windows.reshape(-1, ratio * ratio), void.reshape(-1, ratio * ratio)


def several_and_single(label_map, num_classes, ratio, ignore_class, name):
    """(H, W) class ids -> (n, r*r), windows of several labels; (C,), how many have each alone.

    As `cut_windows`, but in another order and without the windows that are void throughout. Of
    several labels are also those that were so before void was filled in.
    """
    ids, void = _checked(label_map, num_classes, ignore_class, name)
    windows, lowest, highest = _filled(ids, void, num_classes, ratio)
    single = np.bincount(lowest[lowest == highest], minlength=num_classes + 1)
    return windows[lowest != highest].reshape(-1, ratio * ratio), single[:num_classes]


def id_type(num_classes):
    """The smallest unsigned type; it holds C too, which stands for void and for outside."""
    return np.min_scalar_type(num_classes)


def _checked(label_map, num_classes, ignore_class, name):
    """Checks a label map -> (H, W) integers and where they are void."""
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
    return ids, void


def _filled(ids, void, num_classes, ratio):
    """-> windows (h, w, r, r), a view; the lowest and highest label of each before filling, (h, w).

    A column is kept free on the left, so that no run of void goes on in the next row.
    """
    (height, width), marker = ids.shape, num_classes
    h, w = (-(-size // ratio) for size in ids.shape)
    framed = np.zeros((h * ratio, w * ratio + 1), id_type(num_classes))
    labels = framed[:, 1:]
    labels[:height, :width] = ids
    labels[:height, :width][void] = marker
    _repeat_edges(labels, height, width)
    rows = labels.reshape(h, ratio, w * ratio)
    lowest, highest = (
        extreme.reduce(extreme.reduce(rows, 1).reshape(h, w, ratio), 2)
        for extreme in (np.minimum, np.maximum)
    )
    partly = (lowest < marker) & (highest == marker)
    if partly.any():
        _fill(framed, partly, ratio, marker)
        _repeat_edges(labels, height, width)
    return _cut(labels, ratio), lowest, highest


def _repeat_edges(labels, height, width):
    labels[height:] = labels[height - 1]
    labels[:, width:] = labels[:, width - 1 : width]


def _fill(framed, partly, ratio, marker):
    """Gives void pixels of the windows `partly` (h, w) their nearest label, in place.

    Of labels equally near the leftmost counts, of those the topmost. First the nearest label in
    the row of each void pixel is found, from the runs of void, then the best row, going up and
    down for as long as it can be better. What is compared is one number: squared distance, column,
    row.
    """
    reach = math.ceil(ratio * math.sqrt(2)) + 1  # of a window that has a label, and no farther
    bits = (2 * reach).bit_length()
    kind = np.int32 if 2 * bits + (2 * reach**2).bit_length() < 32 else np.int64
    height, stride = framed.shape
    near = np.zeros((height + 2 * reach, stride), kind)  # 0 where a label is
    near[:reach] = near[-reach:] = reach**2 << 2 * bits
    near = near.ravel()
    places, right = _nearest_in_row(framed, marker, reach)
    right = right.astype(kind)
    near[places + reach * stride] = ((right * right << bits) + right) << bits

    row = places // stride
    places = places[partly[row // ratio, (places - row * stride - 1) // ratio]]
    at = places + reach * stride
    best = near.take(at)
    active, key = np.arange(len(at)), best
    for step in range(1, reach):
        unsure = np.flatnonzero(key >= (step * step << 2 * bits) - (1 << 2 * bits - 1))
        if not len(unsure):
            break
        active, at, key = active.take(unsure), at.take(unsure), key.take(unsure)
        for down in (-step, step):
            other = near.take(at + down * stride)
            other += (step * step << 2 * bits) + down
            np.minimum(key, other, out=key)
        best[active] = key
    half = 1 << bits - 1
    best += (half << bits) + half
    right, down = ((best >> shift & 2 * half - 1) - half for shift in (bits, 0))
    framed = framed.reshape(-1)
    framed[places] = framed.take(places + down * stride + right)


def _nearest_in_row(framed, marker, reach):
    """Places of void in `framed.ravel()` and how far right the row's nearest label is, clipped."""
    stride = framed.shape[1]
    void = np.append(framed.ravel() == marker, False)
    borders = np.flatnonzero(void[1:] != void[:-1]) + 1
    starts, ends = borders[::2], borders[1::2]
    lengths = ends - starts
    # the first column is no label
    left = np.where(starts % stride == 1, -reach, 0) + starts - 1
    right = np.where(ends % stride == 0, reach, 0) + ends
    places = np.flatnonzero(void)
    left, right = places - left.repeat(lengths), right.repeat(lengths) - places
    return places, np.where(left <= right, -left, right).clip(-reach, reach)


def _cut(pixels, ratio):
    """(h*r, w*r) -> (h, w, r, r), a view."""
    h, w = (size // ratio for size in pixels.shape)
    return pixels.reshape(h, ratio, w, ratio).swapaxes(1, 2)
