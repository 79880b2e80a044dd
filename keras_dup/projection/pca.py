"""The largest principal components of one-hot windows, without their covariance matrix.

A block Krylov method: the covariance is applied to blocks of vectors, which is five times faster
a vector than one by one (the products with a sparse matrix wait for memory), every vector is kept
orthogonal to all before, and the components come from the space that all of them span
(Rayleigh-Ritz). It ends when what each component misses, |A x - value x|, is below `TOLERANCE`
of the largest value; on VOC (r = 16, 64 components) that is after some 16 blocks of 16.
"""

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits
from tqdm import tqdm

TOLERANCE = 1e-10
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


def within(covariance, rows):
    """The principal components of the span of some rows (k, N): eigenvalues, falling, and rows."""
    basis = np.linalg.qr(rows.T)[0].T
    values, vectors = np.linalg.eigh(basis @ (covariance @ basis.T))
    return values[::-1], vectors[:, ::-1].T @ basis


def _sum_up(block):
    """Each (i, j) becomes the sum over all rows and columns up to it, in place."""
    for i in range(1, len(block)):
        block[i] += block[i - 1]
        block[:, i] += block[:, i - 1]


def principal(covariance, enough, block_size=16, verbose=False):
    """The largest eigenvalues, falling, and their eigenvectors as rows: (k,), (k, N).

    Args:
        covariance: (N, N), symmetric, anything with `size` and `@`.
        enough: function of the eigenvalues found so far, falling, that returns k, how many are
            wanted, or None while there are too few.
        block_size: vectors that are multiplied at once: more need fewer, longer products.
    """
    random = np.random.default_rng(0)
    store, small = np.empty((8 * block_size, covariance.size)), np.zeros((0, 0))
    outside = np.linalg.qr(random.standard_normal((covariance.size, block_size)))
    bar = tqdm(desc="solving", unit=" products", disable=not verbose)
    # The matrices are narrow: threads gain little, and lose tenfold where others use the cores.
    with bar, threadpool_limits(1, user_api="blas"):
        while True:
            block = _next_block(*outside, store[: len(small)], random)
            if len(small) + block.shape[1] > len(store):
                store = np.concatenate([store, np.empty_like(store)])
            basis = store[: len(small) + block.shape[1]]
            basis[len(small) :] = block.T
            small, rest = _project(small, covariance @ block, basis)
            outside = np.linalg.qr(rest)
            bar.update(rest.shape[1])
            values, vectors = np.linalg.eigh(small)
            values, vectors = values[::-1], vectors[:, ::-1]
            whole = len(small) == covariance.size
            k = enough(values) or (len(small) if whole else None)
            if k and (whole or _missed(outside[1], vectors[:, :k]) <= TOLERANCE * values[0]):
                return values[:k], vectors[:, :k].T @ basis


def _next_block(block, triangle, basis, random):
    """Columns orthonormal, also to the basis, from the QR of the last rest; as there is room."""
    block = block[:, : len(block) - len(basis)]
    # What has no more to say, up to rounding, goes on in a random direction.
    sizes = np.abs(triangle.diagonal())[: block.shape[1]]
    empty = sizes <= 1e-14 * max(sizes.max(), 1.0)
    block[:, empty] = random.standard_normal((len(block), empty.sum()))
    for _ in range(2 if empty.any() else 1):  # `rest` was made orthogonal once before
        block = np.linalg.qr(block - basis.T @ (basis @ block))[0]
    return block


def _project(small, image, basis):
    """Adds the last block's image to the covariance of the span -> that, and what is outside."""
    inside = basis @ image
    grown = np.zeros((len(inside), len(inside)))
    grown[: len(small), : len(small)] = small
    grown[:, len(small) :], grown[len(small) :] = inside, inside.T
    return grown, image - basis.T @ inside


def _missed(triangle, vectors):
    """max |A x - value x|: of vectors in the basis, by the triangle of the rest's QR."""
    return np.linalg.norm(triangle @ vectors[-triangle.shape[1] :], axis=0).max()


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
