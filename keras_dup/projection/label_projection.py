"""What label maps are compressed and rebuilt by: Tian et al. 2019, Eq. 2, in NumPy.

A window of r x r one-hot labels is a vector v of N = r*r*C numbers, in the order (row, column,
class), which is the order of `depth_to_space`. A `LabelProjection` is linear,

    x = P (v - mean)        v~ = W x + mean,

a `LabelAutoencoder` has one hidden layer on either side (the paper's Sec. 3.1, "non-linear").
"""

import dataclasses
from pathlib import Path

import numpy as np
from scipy import sparse

from keras_dup.projection.windows import cut_windows
from keras_dup.whole import writing

_CHUNK = 4096  # windows worked on at once, bounds the memory
NUMBERS = ("num_classes", "ratio", "ignore_class")


class _LabelTransform:
    """What linear and non-linear have in common: label maps in and out, and files."""

    @property
    def arrays(self):
        """{name: array} of the fields that are arrays and are there."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {k: v for k, v in fields.items() if k not in NUMBERS and v is not None}

    def compress(self, label_map):
        """(H, W) class ids -> (ceil(H/r), ceil(W/r), channels) float32, the paper's Y~.

        Void is filled in as in `fit`; a window that is void throughout becomes zeros: the mean.
        Raises ValueError for a label map that is not (H, W) integers of 0..C-1 and void.
        """
        ids, void = cut_windows(
            label_map, self.num_classes, self.ratio, self.ignore_class, "label map"
        )
        throughout = void.all(1)
        ids[throughout] = 0  # of no meaning, and maybe no class
        rows = np.concatenate([self.compress_windows(part) for part in _chunks(ids)])
        rows[throughout] = 0
        return rows.reshape(-(-np.shape(label_map)[0] // self.ratio), -1, self.channels)

    def reconstruct(self, compressed):
        """(h, w, channels) -> (h*r, w*r, C) float32, the class scores v~.

        Raises ValueError for another number of axes or channels.
        """
        compressed = np.asarray(compressed, np.float32)
        if compressed.ndim != 3 or compressed.shape[2] != self.channels:
            raise ValueError(
                f"compressed has shape {compressed.shape}; (h, w, {self.channels}) is expected"
            )
        h, w, _ = compressed.shape
        r, c = self.ratio, self.num_classes
        scores = self.reconstruct_windows(compressed).reshape(h, w, r, r, c)
        return scores.swapaxes(1, 2).reshape(h * r, w * r, c)

    def save(self, path, float16=False):
        """Writes an .npz, whole or not at all, and returns its path; `.npz` is added if missing.

        float16: keeps the matrix to 2^-14 and compresses it, a third of the size or less; `load`
        makes its rows orthonormal again. For projections of method "pca".
        """
        path = npz(path)
        numbers = {name: getattr(self, name) for name in NUMBERS}
        numbers["ignore_class"] = [] if self.ignore_class is None else [self.ignore_class]
        arrays, save = self.arrays, np.savez
        if float16:
            # Most entries are near zero; on a grid they are zero, which compresses well.
            matrix = (np.round(self.matrix * 2**14) / 2**14).astype(np.float16)
            arrays, save = {**arrays, "matrix": matrix}, np.savez_compressed
        with writing(path) as temporary:
            save(temporary, **arrays, **numbers)
        return path

    def _one_hot(self, windows):
        """(n, r*r) class ids -> sparse (n, r*r*C)."""
        columns = np.arange(self.ratio**2) * self.num_classes + windows
        ones = np.ones(columns.size, np.float32)
        starts = np.arange(0, columns.size + 1, self.ratio**2)
        shape = (len(windows), len(self.mean))
        return sparse.csr_array((ones, columns.ravel(), starts), shape=shape)

    def _check_shapes(self, **expected):
        found = {name: np.shape(getattr(self, name)) for name in expected}
        if found != expected:
            raise ValueError(
                f"{_listed(found)}; ratio {self.ratio} and {self.num_classes} classes make "
                f"{_listed(expected)}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class LabelProjection(_LabelTransform):
    """The pair P, W of Tian et al. 2019, Eq. 2, with the mean.

    Attributes:
        matrix: (channels, r*r*C) float32, W transposed, columns ordered (row in window, column in
            window, class). Of method "pca" its rows are orthonormal, and it is P as well.
        mean: (r*r*C,) float32.
        explained_variance_ratio: (channels,), the share of the variance that each row adds to
            those before it; falling where they are orthonormal.
        num_classes, ratio, ignore_class: C, r and the id of void (or None), as in `fit`.
        compression: (channels, r*r*C) float32, P where it is not `matrix` (method "sgd").
        channels: C~, the number of rows.

    Raises ValueError if the arrays do not fit together.
    """

    matrix: np.ndarray
    mean: np.ndarray
    explained_variance_ratio: np.ndarray
    num_classes: int
    ratio: int
    ignore_class: int | None = 255
    compression: np.ndarray | None = None

    def __post_init__(self):
        size, rows = self.ratio**2 * self.num_classes, np.shape(self.matrix)[0]
        expected = {"matrix": (rows, size), "mean": (size,), "explained_variance_ratio": (rows,)}
        if self.compression is not None:
            expected["compression"] = (rows, size)
        self._check_shapes(**expected)

    @property
    def channels(self):
        return len(self.matrix)

    @property
    def p(self):
        """P, (channels, r*r*C): `matrix`, or `compression` where there is one."""
        return self.matrix if self.compression is None else self.compression

    @property
    def class_shares(self):
        """(C,), each class's share of the pixels, void filled in, that W was fitted to."""
        return self.mean.reshape(-1, self.num_classes).mean(0)

    @property
    def class_ramps(self):
        """(C,), 0..1: how much W holds of scores of a class that rise linearly over a window.

        Such are what bilinear interpolation adds to constant scores. Where it is near 0 W cannot
        interpolate the class, whatever the convolution before it gives; classes that are rare, or
        always fill little of a window, come to it first. The mean of ramps along rows and columns,
        as shares of their squared norm, less that of the mean over the classes that occur, which
        no softmax sees. 1 at ratio 1, where there is nothing to interpolate.
        """
        if self.ratio == 1:
            return np.ones(self.num_classes)
        places = (np.arange(self.ratio) + 0.5) / self.ratio - 0.5
        ramps = np.stack(np.broadcast_arrays(places, places[:, None])).reshape(2, -1)
        ramps /= np.linalg.norm(ramps[0])
        basis = np.linalg.qr(self.matrix.T)[0].T  # of "sgd" the rows are not orthonormal
        basis = basis.reshape(len(basis), -1, self.num_classes)
        held = np.einsum("cpk,dp->dck", basis, ramps)
        present = max(2, np.count_nonzero(self.class_shares))
        return (held**2).sum(1).mean(0) / (1 - 1 / present)

    def first(self, channels):
        """The projection of the first rows alone, which of method "pca" is that of so many."""
        names = ("matrix", "explained_variance_ratio", "compression")
        rows = {name: self.arrays[name][:channels] for name in names if name in self.arrays}
        return dataclasses.replace(self, **rows)

    def compress_windows(self, windows):
        """(n, r*r) class ids without void -> (n, channels) float32."""
        # One-hot windows times P^T without the zeros: the sum of P's columns that the labels pick.
        return self._one_hot(windows) @ self.p.T - self.p @ self.mean

    def reconstruct_windows(self, rows):
        """(..., channels) -> (..., r*r*C) float32 class scores."""
        return rows @ self.matrix + self.mean


@dataclasses.dataclass(frozen=True, eq=False)
class LabelAutoencoder(_LabelTransform):
    """The non-linear auto-encoder of Tian et al. 2019, Sec. 3.1, here of one hidden layer a side.

        x = P relu(A (v - mean) + a) + p        v~ = W relu(B x + b) + mean

    Attributes, float32, with h hidden units and N = r*r*C:
        matrix: (h, N), W transposed.     mean: (N,).
        hidden_kernel: (channels, h), B transposed.     hidden_bias: (h,), b.
        encoder_kernel: (N, h), A transposed.     encoder_bias: (h,), a.
        code_kernel: (h, channels), P transposed.     code_bias: (channels,), p.
        num_classes, ratio, ignore_class, channels: as in `LabelProjection`.

    Raises ValueError if the arrays do not fit together.
    """

    matrix: np.ndarray
    mean: np.ndarray
    hidden_kernel: np.ndarray
    hidden_bias: np.ndarray
    encoder_kernel: np.ndarray
    encoder_bias: np.ndarray
    code_kernel: np.ndarray
    code_bias: np.ndarray
    num_classes: int
    ratio: int
    ignore_class: int | None = 255

    def __post_init__(self):
        size = self.ratio**2 * self.num_classes
        channels, hidden = np.shape(self.hidden_kernel)
        self._check_shapes(
            matrix=(hidden, size),
            mean=(size,),
            hidden_bias=(hidden,),
            encoder_kernel=(size, hidden),
            encoder_bias=(hidden,),
            code_kernel=(hidden, channels),
            code_bias=(channels,),
        )

    @property
    def channels(self):
        return len(self.hidden_kernel)

    def compress_windows(self, windows):
        """(n, r*r) class ids without void -> (n, channels) float32."""
        shift = self.encoder_bias - self.mean @ self.encoder_kernel
        hidden = np.maximum(self._one_hot(windows) @ self.encoder_kernel + shift, 0)
        return hidden @ self.code_kernel + self.code_bias

    def reconstruct_windows(self, rows):
        """(..., channels) -> (..., r*r*C) float32 class scores."""
        hidden = np.maximum(rows @ self.hidden_kernel + self.hidden_bias, 0)
        return hidden @ self.matrix + self.mean


def nearest(num_classes, ratio, ignore_class=255):
    """The projection onto windows of one class: DUpsampling is nearest-neighbour upsampling then.

    No label map is asked, so `explained_variance_ratio` is NaN and the mean zero. To compare with:
    it is what the rows of a fitted W add borders to.

    Returns: a `LabelProjection` of num_classes orthonormal rows.
    """
    matrix = np.tile(np.eye(num_classes, dtype=np.float32) / ratio, ratio**2)
    mean, shares = np.zeros(matrix.shape[1], np.float32), np.full(num_classes, np.nan)
    return LabelProjection(matrix, mean, shares, num_classes, ratio, ignore_class)


def _listed(shapes):
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _chunks(array, size=_CHUNK):
    return (array[i : i + size] for i in range(0, len(array), size))


def npz(path):
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")
