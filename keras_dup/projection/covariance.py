"""The covariance of one-hot windows, as an operator: it is applied to vectors and never stored."""

import numpy as np
from scipy import sparse

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

    Attributes: mean (r*r*C,), variance (the trace), resident (is D kept?).
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


class Scaled:
    """The covariance of windows whose entries are first multiplied by `scale`, (r*r*C,)."""

    def __init__(self, covariance, scale):
        self._covariance, self._scale, self.size = covariance, scale[:, None], covariance.size
        mean = covariance.mean
        self.variance = scale**2 @ (mean * (1 - mean))  # of entries that are 0 or 1

    def __matmul__(self, block):
        return self._scale * (self._covariance @ (self._scale * block))


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
