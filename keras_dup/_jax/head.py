"""The end of a network on a GPU, in tiles: scores are made and used without going to memory.

Two Pallas kernels for DUpsampling with a fixed W: `class_ids` (features -> ids) and
`loss_and_slopes` (features, labels -> the cross-entropy and its derivatives). A program computes a
tile of windows and pixels, class by class. What it keeps of all classes (the largest score, the sum
of exponentials) is a number per window and pixel, so any number of classes fits without padding.

`tests/test_jax_head.py` runs both on a CPU, interpreted. They compile for an H100 (XLA needs none
for that); they were not run on a GPU.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

__all__ = ["class_ids", "fits", "loss_and_slopes", "on_gpu"]

_ROWS, _COLUMNS = 128, 32  # windows and pixels of a tile
_WARPS = 8
_CHANNELS = 128  # more do not fit into the registers and the shared memory of a program
_LEAST = 16  # of each side of a matrix product


def fits(x: Any) -> bool:
    """Whether the kernels take features (..., C~): of known sizes, with 128 channels at most.

    And on one device: XLA cannot share a kernel's work among several.
    """
    known = all(isinstance(size, int) for size in x.shape)
    return known and x.shape[-1] <= _CHANNELS and keras.distribution.distribution() is None


def on_gpu(tiled: Callable, elsewhere: Callable) -> Any:
    """Calls `tiled` in programs for CUDA devices, and `elsewhere` in all others."""
    return lax.platform_dependent(cuda=tiled, default=elsewhere)


def class_ids(x: Any, kernel: Any, bias: Any, interpret: bool = False) -> Any:
    """The class of the largest score of every pixel; the first of equals.

    Args:
        x: (M, C~) features, M known.
        kernel, bias: (K, C~, P) and (K, P), float32.
        interpret: run the kernel in Python, on any device.

    Returns: (M, P) int32.
    """
    rows, channels, pixels = _whole_tiles(x, kernel, bias)
    ids = pl.pallas_call(
        _ids_kernel,
        grid=(rows // _ROWS, pixels // _COLUMNS),
        in_specs=[
            pl.BlockSpec((_ROWS, channels), lambda i, j: (i, 0)),
            pl.BlockSpec((len(bias), channels, pixels), lambda i, j: (0, 0, 0)),
            pl.BlockSpec((len(bias), pixels), lambda i, j: (0, 0)),
        ],
        out_specs=pl.BlockSpec((_ROWS, _COLUMNS), lambda i, j: (i, j)),
        out_shape=jax.ShapeDtypeStruct((rows, pixels), jnp.int32),
        compiler_params=triton.CompilerParams(num_warps=_WARPS, num_stages=2),
        interpret=interpret,
    )(
        _padded(x, rows, channels),
        _padded(kernel, len(bias), channels, pixels),
        _padded(bias, len(bias), pixels),
    )
    return ids[: len(x), : bias.shape[1]]


def _ids_kernel(x_ref, kernel_ref, bias_ref, ids_ref):
    x, place = x_ref[...], pl.ds(pl.program_id(1) * _COLUMNS, _COLUMNS)

    def following(k, found):
        best, ids = found
        scores = _scores(x, kernel_ref[k, :, place], bias_ref[k, place])
        larger = scores > best
        return jnp.where(larger, scores, best), jnp.where(larger, k, ids)

    start = jnp.full(ids_ref.shape, -jnp.inf), jnp.zeros(ids_ref.shape, jnp.int32)
    _, ids_ref[...] = lax.fori_loop(0, kernel_ref.shape[0], following, start)


def loss_and_slopes(
    x: Any,
    log_temperature: Any,
    kernel: Any,
    bias: Any,
    labels: Any,
    weights: Any,
    smoothing: float = 0.0,
    interpret: bool = False,
) -> Sequence[Any]:
    """The sum of weights * cross-entropies of scores / T.

    Args:
        x: (M, C~) features, M known.
        log_temperature: a number.
        kernel, bias: (K, C~, P) and (K, P), float32.
        labels: (M, P) int32 in 0..K-1.
        weights: (M, P) float32; 0 for void.
        smoothing: as `label_smoothing` of `PixelCrossentropy`.
        interpret: run the kernel in Python, on any device.

    Returns: the sum, and its derivatives by x, float32, and by log_temperature.
    """
    rows, channels, pixels = _whole_tiles(x, kernel, bias)
    count, classes = rows // _ROWS, len(bias)
    wide = pl.BlockSpec((_ROWS, pixels), lambda i: (i, 0))
    narrow = pl.BlockSpec((_ROWS, channels), lambda i: (i, 0))
    sums = pl.BlockSpec((1, _COLUMNS), lambda i: (i, 0))
    of_tiles = jax.ShapeDtypeStruct((count, _COLUMNS), jnp.float32)
    losses, slopes, of_temperature = pl.pallas_call(
        functools.partial(_loss_kernel, smoothing=smoothing),
        grid=(count,),
        in_specs=[
            narrow,
            pl.BlockSpec((1,), lambda i: (0,)),
            pl.BlockSpec((classes, channels, pixels), lambda i: (0, 0, 0)),
            pl.BlockSpec((classes, pixels), lambda i: (0, 0)),
            wide,
            wide,
        ],
        out_specs=[sums, narrow, sums],
        out_shape=[of_tiles, jax.ShapeDtypeStruct((rows, channels), jnp.float32), of_tiles],
        compiler_params=triton.CompilerParams(num_warps=_WARPS, num_stages=1),
        interpret=interpret,
    )(
        _padded(x, rows, channels),
        jnp.exp(-log_temperature).reshape(1),
        _padded(kernel, classes, channels, pixels),
        _padded(bias, classes, pixels),
        _padded(labels, rows, pixels),
        _padded(weights, rows, pixels),
    )
    return losses.sum(), slopes[: len(x), : x.shape[1]], of_temperature.sum()


def _loss_kernel(
    x_ref, scale_ref, kernel_ref, bias_ref, labels_ref, weights_ref, *results, smoothing
):
    x, scale, classes = x_ref[...], scale_ref[0], kernel_ref.shape[0]
    zeros = jnp.zeros((_ROWS, _COLUMNS), jnp.float32)

    def tile(j, found):
        total, slopes, of_temperature = found
        place = pl.ds(j * _COLUMNS, _COLUMNS)
        labels, weights = labels_ref[:, place], weights_ref[:, place]

        def scores_of(k):
            return _scores(x, kernel_ref[k, :, place], bias_ref[k, place]) * scale

        def seen(k, found):
            largest, sums, chosen, every = found
            scores = scores_of(k)
            new = jnp.maximum(largest, scores)
            sums = sums * jnp.exp(largest - new) + jnp.exp(scores - new)
            return new, sums, jnp.where(labels == k, scores, chosen), every + scores

        start = zeros - jnp.inf, zeros, zeros, zeros
        largest, sums, chosen, every = lax.fori_loop(0, classes, seen, start)
        of_all = largest + jnp.log(sums)
        losses = of_all - (1 - smoothing) * chosen - smoothing / classes * every

        def derived(k, found):
            slopes, of_temperature = found
            scores = scores_of(k)
            truth = jnp.where(labels == k, 1 - smoothing, 0.0) + smoothing / classes
            slope = (jnp.exp(scores - of_all) - truth) * weights
            slopes += triton.dot(slope * scale, kernel_ref[k, :, place], trans_b=True)
            return slopes, of_temperature - slope * scores

        slopes, of_temperature = lax.fori_loop(0, classes, derived, (slopes, of_temperature))
        return total + losses * weights, slopes, of_temperature

    start = zeros, jnp.zeros(x.shape, jnp.float32), zeros
    found = lax.fori_loop(0, labels_ref.shape[1] // _COLUMNS, tile, start)
    total, slopes, of_temperature = found
    total_ref, slopes_ref, of_temperature_ref = results
    total_ref[...] = total.sum(0, keepdims=True)
    slopes_ref[...] = slopes
    of_temperature_ref[...] = of_temperature.sum(0, keepdims=True)


def _scores(x, kernel, bias):
    """(rows, C~), (C~, columns), (columns,) -> (rows, columns) float32."""
    return triton.dot(x, kernel.astype(x.dtype)) + bias[None]


def _whole_tiles(x, kernel, bias):
    """The sizes of tiles together: windows, channels (a power of two), pixels."""
    rows, pixels = (
        -(-n // tile) * tile for n, tile in ((len(x), _ROWS), (bias.shape[1], _COLUMNS))
    )
    return rows, max(_LEAST, 1 << (x.shape[1] - 1).bit_length()), pixels


def _padded(x, *shape):
    return jnp.pad(x, [(0, new - old) for new, old in zip(shape, x.shape, strict=True)])
