"""Borders in label maps: how far from them, where they lie, how well two label maps share them."""

import numpy as np
from scipy import ndimage

from keras_dup._label_maps import VOID

__all__ = ["block_borders", "boundary_counts", "distance_to_a_change"]


def block_borders(label_map: np.ndarray, ratio: int) -> tuple[int, int]:
    """Counts the borders of a label map, and those of them that lie on the grid of the windows.

    A border is a pair of pixels, side by side or one above the other, with different ids. It is
    on the grid if the pixels belong to different r x r windows. Of borders that know nothing of
    the windows 1 of r is on the grid; a larger share shows as blocks.

    Args:
        label_map: (H, W) ids; void counts as a label.
        ratio: r, the side of a window in pixels. The first window begins at the first pixel.

    Returns: (borders on the grid, all borders).

    Raises:
        ValueError: ratio is less than 2.
    """
    if ratio < 2:
        raise ValueError(f"ratio={ratio}; at least 2 is expected")
    rows = label_map[1:] != label_map[:-1]
    columns = label_map[:, 1:] != label_map[:, :-1]
    on_grid = rows[ratio - 1 :: ratio].sum() + columns[:, ratio - 1 :: ratio].sum()
    return int(on_grid), int(rows.sum() + columns.sum())


def boundary_counts(truth: np.ndarray, found: np.ndarray, num_classes: int) -> np.ndarray:
    """(2, K): pixels in both and in either of the boundaries of each class."""
    width = max(1, round(0.02 * float(np.hypot(*truth.shape))))
    counts = np.zeros((2, num_classes), np.int64)
    valid = truth != VOID
    for k in np.union1d(truth[valid], found[valid]):
        true, predicted = (_boundary((ids == k) & valid, width) for ids in (truth, found))
        counts[:, k] = np.sum(true & predicted), np.sum(true | predicted)
    return counts


def _boundary(mask, width):
    """The pixels of a mask that `width` erosions with 3 x 3 remove; outside nothing is set."""
    inside = ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1]
    return mask & (inside <= width)


def distance_to_a_change(truth: np.ndarray) -> np.ndarray:
    """The distance of each pixel to the nearest change of label.

    Args: truth, (H, W) ids; void counts as a label.

    Returns: (H, W) Euclidean distances. Pixels beside a pixel of another label have 0; without
        any change all are infinite.
    """
    edge = np.zeros(truth.shape, bool)
    for axis in (0, 1):
        differs = np.diff(truth.astype(np.int16), axis=axis) != 0
        first = [slice(None, -1) if a == axis else slice(None) for a in (0, 1)]
        second = [slice(1, None) if a == axis else slice(None) for a in (0, 1)]
        edge[tuple(first)] |= differs
        edge[tuple(second)] |= differs
    if not edge.any():
        return np.full(truth.shape, np.inf)
    return ndimage.distance_transform_edt(~edge)
