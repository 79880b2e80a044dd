"""The largest principal components of one-hot windows, without their covariance matrix.

A block Krylov method: the covariance is applied to blocks of vectors, which is five times faster
per vector than one by one (the products with a sparse matrix wait for memory), every vector is
kept orthogonal to all before, and the components come from the space that all of them span
(Rayleigh-Ritz). It ends when what each component misses, |A x - value x|, is below `TOLERANCE`
of the largest value; on VOC (r = 16, 64 components) that is after some 16 blocks of 16.

A value that repeats more often than a block is wide is found only as often as the block is wide:
all that grows from the block stays orthogonal to the rest of its vectors. So a second random
block, orthogonal to all that was found, is followed until it is clear that nothing larger is
left; if something is, both blocks go on together.
"""

import dataclasses

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

__all__ = ["TOLERANCE", "principal", "within"]

TOLERANCE = 1e-10


def principal(covariance, enough, block_size=16, verbose=False):
    """The largest eigenvalues, falling, and their eigenvectors as rows: (k,), (k, N).

    Args:
        covariance: (N, N), symmetric, positive semi-definite, anything with `size` and `@`.
        enough: function of the eigenvalues found so far, falling, that returns k, how many are
            wanted, or None while there are too few.
        block_size: vectors that are multiplied at once: more need fewer, longer products.
    """
    bar = tqdm(desc="solving", unit=" products", disable=not verbose)
    # The matrices are narrow: threads gain little, and lose tenfold where others use the cores.
    with bar, threadpool_limits(1, user_api="blas"):
        span = _Span(covariance, block_size, bar)
        front = span.random_front(block_size)
        while True:
            values, rows = _converged(span, front, enough)
            new = None if span.whole else _larger(span, block_size, values)
            if new is None:
                return values, rows
            front = front.joined(new)


def within(covariance, rows):
    """The principal components of the span of some rows (k, N): eigenvalues, falling, and rows."""
    basis = np.linalg.qr(rows.T)[0].T
    values, vectors = _falling(basis @ (covariance @ basis.T))
    return values, vectors.T @ basis


def _converged(span, front, enough):
    """Goes on from `front` until the wanted eigenpairs are within the tolerance."""
    while True:
        values, vectors = _falling(span.small)
        k = enough(values) or (len(values) if span.whole else None)
        if k and (span.whole or front.missed(vectors[:, :k]) <= TOLERANCE * values[0]):
            return values[:k], vectors[:, :k].T @ span.basis
        front.advance()


def _larger(span, block_size, values):
    """-> a front that leads to more than the last of `values`; None where there is nothing.

    Only what is orthogonal to the span counts, where no eigenvalue is larger than outside it. The
    largest there is known well when the distance to `values` is a thousand times what it misses.
    """
    start, front = len(span.small), span.random_front(block_size)
    while True:
        largest, vectors = _falling(span.small[start:, start:])
        above = largest[0] - values[-1]
        if above > TOLERANCE * values[0]:
            return front
        missed = front.missed(np.pad(vectors[:, :1], ((start, 0), (0, 0))))
        if span.whole or missed <= max(-1e-3 * above, TOLERANCE * values[0]):
            return None
        front.advance()


class _Span:
    """An orthonormal basis, as rows (n, N), and the covariance of its span, `small` (n, n)."""

    def __init__(self, covariance, block_size, bar):
        self._covariance, self._bar, self._random = covariance, bar, np.random.default_rng(0)
        self._store, self.small = np.empty((8 * block_size, covariance.size)), np.zeros((0, 0))

    @property
    def basis(self):
        return self._store[: len(self.small)]

    @property
    def whole(self):
        return len(self.small) == self._covariance.size

    def random_front(self, block_size):
        shape = self._covariance.size, block_size
        front = _Front(self, np.linalg.qr(self._random.standard_normal(shape)), np.arange(0))
        front.advance()
        return front

    def add(self, block):
        """Adds columns (N, b), orthonormal and orthogonal to the basis -> A times them, outside."""
        count = len(self.small) + block.shape[1]
        if count > len(self._store):
            self._store = np.concatenate([self._store, np.empty_like(self._store)])
        basis = self._store[:count]
        basis[len(self.small) :] = block.T
        image = self._covariance @ block
        self._bar.update(block.shape[1])
        inside, grown = basis @ image, np.zeros((count, count))
        grown[: len(self.small), : len(self.small)] = self.small
        grown[:, len(self.small) :], grown[len(self.small) :] = inside, inside.T
        self.small = grown
        return image - basis.T @ inside

    def orthogonal(self, block, triangle):
        """The QR of what lies outside -> new columns of a basis, as many as there is room for."""
        block = block[:, : len(block) - len(self.small)]
        # What has no more to say, up to rounding, goes on in a random direction.
        sizes = np.abs(triangle.diagonal())[: block.shape[1]]
        empty = sizes <= 1e-14 * max(sizes.max(), 1.0)
        block[:, empty] = self._random.standard_normal((len(block), empty.sum()))
        for _ in range(2):  # once is not enough where little is left
            block = np.linalg.qr(block - self.basis.T @ (self.basis @ block))[0]
        return block


@dataclasses.dataclass
class _Front:
    """Where a span can grow: A times some of its basis, as far as that lies outside the span.

    outside: the QR of it, (N, b) and (b, m); places: (m,), of which rows of the basis it comes.
    """

    span: _Span
    outside: tuple
    places: np.ndarray

    def advance(self):
        block = self.span.orthogonal(*self.outside)
        rest = self.span.add(block)
        self.outside = np.linalg.qr(rest)
        self.places = np.arange(len(self.span.small) - rest.shape[1], len(self.span.small))

    def missed(self, vectors):
        """max |A x - value x| of vectors (n, k) in the basis of a span that has no other front."""
        return np.linalg.norm(self.outside[1] @ vectors[self.places], axis=0).max()

    def joined(self, other):
        """Both fronts as one; what the other has added to the span is no longer outside."""
        rest = self.outside[0] @ self.outside[1]
        rest = rest - self.span.basis.T @ (self.span.basis @ rest)
        both = np.concatenate([rest, other.outside[0] @ other.outside[1]], 1)
        places = np.concatenate([self.places, other.places])
        return _Front(self.span, np.linalg.qr(both), places)


def _falling(small):
    """Eigenvalues, falling, and eigenvectors as columns."""
    values, vectors = np.linalg.eigh(small)
    return values[::-1], vectors[:, ::-1]
