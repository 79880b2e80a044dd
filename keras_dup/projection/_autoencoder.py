"""The paper's other ways to W, by gradient descent (Tian et al. 2019, Sec. 3.1, around Eq. 3).

`fit` is what `keras_dup.projection.fit` calls for `method="sgd"`, Eq. 3 without the constraint
that makes it PCA, and `method="autoencoder"`; `AutoencoderUpsampling` is the auto-encoder's
decoder as the upsampling of a model.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_dup._label_maps import VOID
from keras_dup.layers import DUpsampling
from keras_dup.projection._covariance import Covariance
from keras_dup.projection._label_projection import LabelAutoencoder, LabelProjection
from keras_dup.projection._window_counts import MEMORY, WindowCounts

__all__ = ["HIDDEN", "AutoencoderUpsampling", "ReconstructionError", "fit"]

HIDDEN = 2  # hidden units of the auto-encoder per channel


def fit(
    counts: WindowCounts,
    num_classes: int,
    ratio: int,
    channels: int,
    ignore_class: int | None = VOID,
    verbose: bool = False,
    method: str = "sgd",
    steps: int = 3000,
    batch_size: int = 512,
    seed: int = 0,
) -> LabelProjection | LabelAutoencoder:
    """Minimises |v - v~|^2 over the windows that were counted, each as often as it occurs.

    Args:
        counts: a `WindowCounts`.
        method: "sgd", momentum 0.9, or "autoencoder", Adam; both with a cosine-decaying rate.
        steps, batch_size, seed: of the training. Windows are drawn with replacement.
        The others are as in `keras_dup.projection.fit`.

    Returns: a `LabelProjection` with a `compression` of its own, or a `LabelAutoencoder`.

    Raises:
        ValueError: the descent diverged. "sgd" does so if nearly all windows have one class.
    """
    covariance = Covariance(counts.windows, counts.counts, num_classes, ratio, MEMORY)
    mean = covariance.mean.astype(np.float32)
    sides = (_linear if method == "sgd" else _non_linear)(channels, len(mean), seed)
    error = ReconstructionError(mean, num_classes, *sides)
    # Of the linear one the curvature is known: at most 4 eigenvalues, each below the variance.
    schedule = keras.optimizers.schedules.CosineDecay
    optimizer = (
        keras.optimizers.SGD(schedule(0.25 / covariance.variance, steps), momentum=0.9)
        if method == "sgd"
        else keras.optimizers.Adam(schedule(1e-3, steps))
    )
    compiled = keras.backend.backend() == "jax"  # else it runs operation by operation
    error.compile(optimizer, loss=lambda _, squares: squares, jit_compile=compiled)
    error.fit(_Windows(counts, batch_size, steps, seed), shuffle=False, verbose=int(verbose))
    weights = [ops.convert_to_numpy(weight) for weight in error.trainable_variables]
    if not all(np.isfinite(weight).all() for weight in weights):
        raise ValueError(f'method="{method}" diverged on these label maps; take method="pca"')
    numbers: dict[str, Any] = {
        "num_classes": num_classes,
        "ratio": ratio,
        "ignore_class": ignore_class,
    }
    if method == "autoencoder":
        names = ["encoder_kernel", "encoder_bias", "code_kernel", "code_bias"]
        names += ["hidden_kernel", "hidden_bias", "matrix"]
        return LabelAutoencoder(mean=mean, **dict(zip(names, weights, strict=True)), **numbers)
    compression, matrix = weights[0].T, weights[1]
    shares = _shares(covariance, matrix)
    return LabelProjection(matrix, mean, shares, **numbers, compression=compression)


def _linear(channels, size, seed):
    start = keras.initializers.Orthogonal(seed=seed)
    sides = channels, size
    return [[keras.layers.Dense(n, use_bias=False, kernel_initializer=start)] for n in sides]


def _non_linear(channels, size, seed):
    hidden = HIDDEN * channels
    seeds = iter(range(seed, seed + 4))

    def dense(units, **kwargs):
        start = keras.initializers.GlorotUniform(seed=next(seeds))
        return keras.layers.Dense(units, kernel_initializer=start, **kwargs)

    encoder = [dense(hidden, activation="relu"), dense(channels)]
    return encoder, [dense(hidden, activation="relu"), dense(size, use_bias=False)]


class ReconstructionError(keras.Model):
    """(n, r*r) class ids -> (n,), |v - v~|^2."""

    def __init__(self, mean, num_classes, encoder, decoder):
        super().__init__()
        self.mean, self.num_classes = mean, num_classes
        self.sides = keras.Sequential([*encoder, *decoder])

    def call(self, ids):
        v = ops.reshape(ops.one_hot(ids, self.num_classes), (-1, len(self.mean))) - self.mean
        return ops.sum(ops.square(v - self.sides(v)), -1)


class _Windows(keras.utils.PyDataset):
    """Batches of windows, weighted so that their mean is that over all windows.

    Windows of one class, of which there are at most C distinct ones and four of five of all, are
    in every batch with their share as weight; of the others `size` are drawn by how often they
    occur.
    """

    def __init__(self, counts, size, steps, seed):
        super().__init__()
        windows = np.asarray(counts.windows)
        single = (windows == windows[:, :1]).all(1)
        shares = counts.counts / counts.counts.sum()
        self._single, self._several = windows[single], windows[~single]
        self._chances = shares[~single] / max(shares[~single].sum(), 1e-300)
        drawn = size if len(self._several) else 0
        self._size, self._steps, self._seed = drawn, steps, seed
        rows = len(self._single) + drawn  # Keras divides by the rows
        self._weights = rows * np.concatenate(
            [shares[single], np.full(drawn, shares[~single].sum() / max(drawn, 1))]
        ).astype(np.float32)

    def __len__(self):
        return self._steps

    def __getitem__(self, step):
        rng = np.random.default_rng((self._seed, step))
        drawn = rng.choice(len(self._several), self._size, p=self._chances) if self._size else []
        ids = np.concatenate([self._single, self._several[drawn]]).astype(np.int32)
        return ids, np.zeros(len(ids), np.float32), self._weights


def _shares(covariance, matrix):
    """(channels,): the share of the variance that each row's direction adds to those before."""
    directions = np.linalg.qr(matrix.T.astype(float))[0]
    return (directions * (covariance @ directions)).sum(0) / covariance.variance


@keras.saving.register_keras_serializable(package="keras_dup")
class AutoencoderUpsampling(DUpsampling):
    """DUpsampling by an auto-encoder: a hidden layer with ReLU, then W (Sec. 3.1, "non-linear").

    Args:
        projection: a `LabelAutoencoder`. None, with `hidden_units`, draws the weights at random.
        hidden_units: h; None takes the projection's.
        num_classes, ratio, trainable: as in `DUpsampling`.

    Input: (B, h, w, C~).  Output: (B, h*r, w*r, K), logits.

    Raises:
        ValueError: the projection is of another ratio, class count or number of channels, or
            neither it nor `hidden_units` is given.
    """

    def __init__(
        self,
        num_classes: int,
        ratio: int,
        projection: LabelAutoencoder | None = None,
        hidden_units: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, ratio, projection, **kwargs)
        if projection is not None:
            hidden_units = hidden_units or projection.hidden_kernel.shape[1]
        if hidden_units is None:
            raise ValueError("hidden_units is None; without a projection a number is expected")
        self.hidden_units = hidden_units

    def build(self, input_shape):
        channels, kernel, bias = input_shape[-1], "glorot_uniform", "zeros"
        if self.projection is not None:
            self._check_input(self.projection, channels)
            kernel, bias = (
                keras.initializers.Constant(array)
                for array in (
                    self.projection.hidden_kernel[None, None],
                    self.projection.hidden_bias,
                )
            )
        shape = (1, 1, channels, self.hidden_units)
        self.hidden_kernel = self.add_weight(name="hidden_kernel", shape=shape, initializer=kernel)
        self.hidden_bias = self.add_weight(name="hidden_bias", shape=shape[-1:], initializer=bias)
        super().build((*input_shape[:-1], self.hidden_units))

    def set_projection(self, projection: LabelAutoencoder) -> None:
        """Replaces the weights of a built layer by those of a `LabelAutoencoder`."""
        self._check_input(projection, self.hidden_kernel.shape[2])
        super().set_projection(projection)
        self.hidden_kernel.assign(projection.hidden_kernel[None, None])
        self.hidden_bias.assign(projection.hidden_bias)

    def call(self, x):
        x = ops.relu(ops.conv(x, self.hidden_kernel, padding="valid") + self.hidden_bias)
        return super().call(x)  # (B, h, w, hidden_units) -> (B, h*r, w*r, K)

    def get_config(self):
        return {**super().get_config(), "hidden_units": self.hidden_units}

    def _check_input(self, projection, channels):
        if projection.channels != channels:
            raise ValueError(
                f"{self.name}: the auto-encoder has {projection.channels} channels, the features "
                f"have {channels}; fit it with channels={channels}"
            )
