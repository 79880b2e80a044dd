"""The covariance of one-hot windows, as an operator: it is applied to vectors and never stored."""

import numpy as np
from scipy import sparse

__all__ = ["Covariance", "Remainder", "Scaled", "constant_windows"]

_CHUNK = 8192  # windows worked on at once: what a product needs then stays in the cache


class Covariance:
    """The covariance of one-hot windows; `@` multiplies it by (r*r*C, b).

    X, the one-hot windows, is D U, where U sums over all pixels below and to the right of each
    pixel and D, the difference of X across rows and columns, is zero wherever a window does not
    have a corner between labels: a tenth of X's nonzeros at r = 16.

    Args:
        windows, counts: of a `WindowCounts`.
        num_classes, ratio: C and r.
        memory: bytes that D may take; beyond them it is computed anew for each product.

    Attributes: mean (r*r*C,); variance, the trace; class_variance (C,), each class's part of it;
        rows, directions that W has anyway, and explained, the variance along each: none;
        resident: is D kept?
    """

    def __init__(self, windows, counts, num_classes, ratio, memory):
        self.size = ratio * ratio * num_classes
        self._windows, self._shape = windows, (ratio, ratio, num_classes, -1)
        self._counts, self._total = counts, counts.sum()
        # a product fills (size, b) a chunk: few chunks where that is large
        self._rows = int(np.clip(self.size // 2, _CHUNK, 8 * _CHUNK))
        self._differences, used, total = [], 0, 0.0
        for differences, weights in self._compute():
            total = total + differences.T @ weights
            if self._differences is not None:
                self._differences.append((differences, weights))
                used += differences.data.nbytes + differences.indices.nbytes
                self._differences = self._differences if used <= memory else None
        self.mean = self._collect(total[:, None])[:, 0]
        # Each of the r*r pixels has one label, so |v|^2 = r*r and the variance needs no sum.
        self.variance = ratio * ratio - self.mean @ self.mean
        self.class_variance = _by_class(self.mean * (1 - self.mean), num_classes)
        self.rows, self.explained = np.zeros((0, self.size)), np.zeros(0)

    @property
    def resident(self):
        return self._differences is not None

    def __matmul__(self, block):
        summed = block.reshape(self._shape).copy()
        _sum_up(summed[::-1, ::-1])
        summed, shift = summed.reshape(self.size, -1), self.mean @ block
        total = 0.0
        for differences, weights in self._differences or self._compute():
            total = total + differences.T @ (weights[:, None] * (differences @ summed - shift))
        return self._collect(total)

    def _collect(self, block):
        """U^T: (N, b) -> (N, b), in place."""
        _sum_up(block.reshape(self._shape))
        return block

    def _compute(self):
        """Yields D and the share of each window, chunk by chunk."""
        ratio, _, num_classes, _ = self._shape
        for start in range(0, len(self._windows), self._rows):
            part = slice(start, start + self._rows)
            weights = self._counts[part] / self._total
            yield _differences(self._windows[part], num_classes, ratio), weights


class Remainder:
    """The covariance about a constant mean, without the directions of the constant windows.

    A constant window has the same class scores at each of its pixels; `rows` are those of the
    classes, of length 1. What is left of a window once they are taken out is, in each class, its
    difference from the class's share of the window.

    Attributes: as of `Covariance`, of what is left; mean: each class's share, at every pixel.
    """

    def __init__(self, covariance, num_classes):
        self._covariance, self.size = covariance, covariance.size
        self.resident = covariance.resident
        self.rows = constant_windows(num_classes, self.size)
        self.mean = covariance.mean @ self.rows.T @ self.rows
        self._offset = (covariance.mean - self.mean)[:, None]
        self.explained = (self.rows * (covariance @ self.rows.T).T).sum(1)
        about_mean = covariance.class_variance + _by_class(self._offset**2, num_classes)
        self.class_variance = about_mean - self.explained
        self.variance = self.class_variance.sum()

    def __matmul__(self, block):
        block = self._rest(block)
        image = self._covariance @ block + self._offset * (self._offset.T @ block)
        return self._rest(image)

    def _rest(self, block):
        windows = block.reshape(-1, len(self.rows), block.shape[1])
        return (windows - windows.mean(0)).reshape(block.shape)


class Scaled:
    """The covariance of windows whose classes are first multiplied by `scale`, (C,)."""

    def __init__(self, covariance, scale):
        self._covariance, self.size = covariance, covariance.size
        self._scale = np.tile(scale, self.size // len(scale))[:, None]
        self.explained = scale[: len(covariance.explained)] ** 2 * covariance.explained
        self.variance = scale**2 @ covariance.class_variance

    def __matmul__(self, block):
        return self._scale * (self._covariance @ (self._scale * block))


def constant_windows(num_classes, size):
    """(C, size): the constant window of each class, of length 1."""
    pixels = size // num_classes
    return np.tile(np.eye(num_classes) / np.sqrt(pixels), pixels)


def _by_class(entries, num_classes):
    return entries.reshape(-1, num_classes).sum(0)


def _sum_up(block):
    """Each (i, j) becomes the sum over all rows and columns up to it, in place."""
    for i in range(1, len(block)):
        block[i] += block[i - 1]
        block[:, i] += block[:, i - 1]


def _differences(windows, num_classes, ratio):
    """D of `Covariance`, sparse (n, r*r*C): x[i, j] - x[i-1, j] - x[i, j-1] + x[i-1, j-1]."""
    side = ratio + 1
    around = np.pad(
        windows.reshape(-1, ratio, ratio), ((0, 0), (1, 0), (1, 0)), constant_values=num_classes
    )
    here, above = around[:, 1:, 1:], around[:, :-1, 1:]
    left, above_left = around[:, 1:, :-1], around[:, :-1, :-1]
    corner = ((here != above) | (left != above_left)) & ((here != left) | (above != above_left))
    window, pixel = np.divmod(np.flatnonzero(corner), ratio * ratio)
    place = window * side**2 + pixel // ratio * side + pixel % ratio  # of above_left
    labels = around.ravel()[place[:, None] + [side + 1, 1, side, 0]]
    kept = _uncancelled(*labels.T).T & (labels != num_classes)
    columns = (pixel[:, None] * num_classes + labels)[kept]
    values = np.broadcast_to([1.0, -1.0, -1.0, 1.0], kept.shape)[kept]
    ends = np.append(0, np.bincount(window, kept.sum(1), len(windows)).cumsum())
    shape = len(windows), ratio * ratio * num_classes
    return sparse.csr_array((values, columns.astype(np.int32), ends.astype(np.int32)), shape)


def _uncancelled(here, above, left, above_left):
    """(4, n): which of a corner's labels remain where a plus and a minus on one label meet."""
    first = here == above
    second = ~first & (here == left)
    third = ~first & ~second & (above_left == above)
    fourth = ~first & ~second & ~third & (above_left == left)
    return ~np.array([first | second, first | third, second | fourth, third | fourth])
