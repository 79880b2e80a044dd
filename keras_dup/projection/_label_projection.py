"""What label maps are compressed and rebuilt by: Tian et al. 2019, Eq. 2, in NumPy.

A window of r x r one-hot labels is a vector v of N = r*r*C numbers, in the order (row, column,
class), which is the order of `depth_to_space`. A `LabelProjection` is linear,

    x = P (v - mean)        v~ = W x + mean,

a `LabelAutoencoder` has one hidden layer on either side (the paper's Sec. 3.1, "non-linear").
"""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from keras_dup._label_maps import VOID
from keras_dup._whole import writing
from keras_dup.projection._covariance import constant_windows
from keras_dup.projection._windows import cut_windows

__all__ = ["NUMBERS", "LabelAutoencoder", "LabelProjection", "nearest", "npz"]

_CHUNK = 4096  # windows worked on at once, bounds the memory
NUMBERS = ("num_classes", "ratio", "ignore_class")


class _LabelTransform:
    """What linear and non-linear have in common: label maps in and out, and files."""

    matrix: np.ndarray
    mean: np.ndarray
    num_classes: int
    ratio: int
    ignore_class: int | None
    __dataclass_fields__: dict

    @property
    def channels(self) -> int:
        raise NotImplementedError

    def compress_windows(self, windows: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reconstruct_windows(self, rows: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """{name: array} of the fields that are arrays and not None."""
        names = [name for name in self.__dataclass_fields__ if name not in NUMBERS]
        fields = {name: getattr(self, name) for name in names}
        return {name: array for name, array in fields.items() if array is not None}

    def compress(self, label_map: np.ndarray) -> np.ndarray:
        """(H, W) class ids -> (ceil(H/r), ceil(W/r), channels) float32, the paper's Y~.

        Void is filled in as in `fit`. A window without any label becomes zeros, the mean. Raises
        ValueError for a label map that is not (H, W) integers of 0..C-1 and void.
        """
        ids, void = cut_windows(
            label_map, self.num_classes, self.ratio, self.ignore_class, "label map"
        )
        throughout = void.all(1)
        ids[throughout] = 0  # of no meaning, and maybe no class
        rows = np.concatenate([self.compress_windows(part) for part in _chunks(ids)])
        rows[throughout] = 0
        return rows.reshape(-(-np.shape(label_map)[0] // self.ratio), -1, self.channels)

    def reconstruct(self, compressed: np.ndarray) -> np.ndarray:
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

    def save(self, path: str | os.PathLike, float16: bool = False) -> Path:
        """Writes an .npz file, the whole file or none, and returns its path.

        Args:
            path: `.npz` is added if it is missing.
            float16: True rounds the matrix to 2^-14 and compresses it, to a third of the size or
                less. `load` makes its rows orthonormal again. For projections of method "pca".
        """
        path = npz(path)
        numbers = {name: getattr(self, name) for name in NUMBERS}
        numbers["ignore_class"] = [] if self.ignore_class is None else [self.ignore_class]
        arrays: dict[str, Any] = self.arrays
        save: Callable = np.savez
        if float16:
            # Most entries are near zero; on a grid they are zero, which compresses well.
            grid = np.round(self.matrix * 2**14) / 2**14
            arrays = {**arrays, "matrix": np.asarray(grid, np.float16)}
            save = np.savez_compressed
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
    ignore_class: int | None = VOID
    compression: np.ndarray | None = None

    def __post_init__(self):
        size, rows = self.ratio**2 * self.num_classes, np.shape(self.matrix)[0]
        expected = {"matrix": (rows, size), "mean": (size,), "explained_variance_ratio": (rows,)}
        if self.compression is not None:
            expected["compression"] = (rows, size)
        self._check_shapes(**expected)

    @property
    def channels(self) -> int:
        return len(self.matrix)

    @property
    def p(self) -> np.ndarray:
        """P, (channels, r*r*C): `matrix`, or `compression` where there is one."""
        return self.matrix if self.compression is None else self.compression

    @property
    def class_shares(self) -> np.ndarray:
        """(C,), the share of each class in the pixels that W was fitted to, void filled in."""
        return self.mean.reshape(-1, self.num_classes).mean(0)

    @property
    def class_ramps(self) -> np.ndarray:
        """(C,), 0..1: how much W holds of scores of a class that rise linearly over a window.

        Bilinear interpolation adds such ramps to constant scores. Near 0, W cannot interpolate the
        class, whatever the convolution before it gives. This happens first to classes that are
        rare or always fill a small part of a window. The value is the share of the squared norm
        of a ramp, mean of rows and columns, less the mean over the classes that occur, which a
        softmax ignores. It is 1 at ratio 1, where there is nothing to interpolate.
        """
        if self.ratio == 1:
            return np.ones(self.num_classes)
        places = (np.arange(self.ratio) + 0.5) / self.ratio - 0.5
        ramps = np.stack(np.broadcast_arrays(places, places[:, None])).reshape(2, -1)
        ramps /= np.linalg.norm(ramps[0])
        basis = np.linalg.qr(self.matrix.T)[0].T  # of "sgd" the rows are not orthonormal
        basis = basis.reshape(len(basis), -1, self.num_classes)
        held = np.einsum("cpk,dp->dck", basis, ramps)
        present = max(2, int(np.count_nonzero(self.class_shares)))
        return (held**2).sum(1).mean(0) / (1 - 1 / present)

    def first(self, channels: int) -> "LabelProjection":
        """Returns the projection of the first rows. With method "pca", `fit` gives the same."""
        return dataclasses.replace(
            self,
            matrix=self.matrix[:channels],
            explained_variance_ratio=self.explained_variance_ratio[:channels],
            compression=None if self.compression is None else self.compression[:channels],
        )

    def with_constant_windows(self, channels: int | None = None) -> "LabelProjection":
        """Returns a projection whose first C rows are the constant windows, as `fit` can make it.

        The other rows are the principal components of what the rows of this one know beyond
        constant windows. The more rows this one has, the closer is the result to
        `fit(..., constant_windows=True)`. Its shares of the variance are those that these rows
        know.

        Args:
            channels: the number of rows of the result, C or more. None keeps the number.

        Raises:
            ValueError: fewer channels than classes, or more than these rows know.
        """
        if self.compression is not None or not np.isfinite(self.explained_variance_ratio).all():
            raise ValueError('this projection is not of method "pca"')
        count, c = self.channels if channels is None else channels, self.num_classes
        mean = self.mean.astype(np.float64)
        constant = constant_windows(c, len(mean))
        centre = mean @ constant.T @ constant
        variance = self.ratio**2 - mean @ mean  # of one-hot windows
        rows = self.matrix * np.sqrt(self.explained_variance_ratio * variance)[:, None]
        rows = np.concatenate([rows, [mean - centre]])
        rest = rows - rows @ constant.T @ constant
        _, sizes, vectors = np.linalg.svd(rest, full_matrices=False)
        known = c + int((sizes**2 > 1e-12 * variance).sum())
        if not c <= count <= known:
            raise ValueError(f"channels is {count}; {c} (the classes) to {known} are expected")
        matrix = np.concatenate([constant, vectors[: count - c]])
        explained = ((rows @ matrix.T) ** 2).sum(0) / (variance + ((mean - centre) ** 2).sum())
        return dataclasses.replace(
            self,
            matrix=matrix.astype(np.float32),
            mean=centre.astype(np.float32),
            explained_variance_ratio=explained,
        )

    def compress_windows(self, windows: np.ndarray) -> np.ndarray:
        """(n, r*r) class ids without void -> (n, channels) float32."""
        # One-hot windows times P^T without the zeros: the sum of P's columns that the labels pick.
        return self._one_hot(windows) @ self.p.T - self.p @ self.mean

    def reconstruct_windows(self, rows: np.ndarray) -> np.ndarray:
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
    ignore_class: int | None = VOID

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
    def channels(self) -> int:
        return len(self.hidden_kernel)

    def compress_windows(self, windows: np.ndarray) -> np.ndarray:
        """(n, r*r) class ids without void -> (n, channels) float32."""
        shift = self.encoder_bias - self.mean @ self.encoder_kernel
        hidden = np.maximum(self._one_hot(windows) @ self.encoder_kernel + shift, 0)
        return hidden @ self.code_kernel + self.code_bias

    def reconstruct_windows(self, rows: np.ndarray) -> np.ndarray:
        """(..., channels) -> (..., r*r*C) float32 class scores."""
        hidden = np.maximum(rows @ self.hidden_kernel + self.hidden_bias, 0)
        return hidden @ self.matrix + self.mean


def nearest(num_classes: int, ratio: int, ignore_class: int | None = VOID) -> LabelProjection:
    """Returns the projection with which DUpsampling is nearest-neighbour upsampling.

    Its num_classes orthonormal rows are the constant windows, for comparison with a fitted W. It
    needs no label maps: `explained_variance_ratio` is NaN and the mean is zero.
    """
    matrix = constant_windows(num_classes, ratio**2 * num_classes).astype(np.float32)
    mean, shares = np.zeros(matrix.shape[1], np.float32), np.full(num_classes, np.nan)
    return LabelProjection(matrix, mean, shares, num_classes, ratio, ignore_class)


def _listed(shapes):
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _chunks(array, size=_CHUNK):
    return (array[i : i + size] for i in range(0, len(array), size))


def npz(path: str | os.PathLike) -> Path:
    """The path of a projection: `.npz` is added if it is missing."""
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")
