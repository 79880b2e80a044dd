"""Layers of a segmentation network in plain JAX, in the form that XLA compiles best for a GPU.

XLA has slow kernels for depthwise convolutions, and a convolution with the weights of several
networks becomes a grouped one. So a depthwise convolution is k*k shifted multiply-adds of a padded
tensor, a 1x1 convolution is a matrix product, and a larger one is a product of patches. All of it
can be mapped over networks with `jax.vmap`.

Features are (B, H, W, C); they have the compute dtype (float32 or bfloat16), sums are float32.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

__all__ = [
    "batch_norm",
    "bilinear",
    "cross_entropy",
    "depthwise",
    "edge_filled",
    "masked",
    "normalize",
    "patches",
    "pointwise",
]

_SPLIT = 2400  # from so many positions on the gradient of a 1x1 kernel is summed image by image


def depthwise(x, kernel, stride=1, rate=1):
    """Depthwise convolution without padding: (B, H, W, C), (k, k, C) -> (B, H', W', C)."""
    return _taps(x, kernel, stride, rate)


def _slices(x, size, stride, rate):
    """Yields (row, column, what this tap of the kernel sees)."""
    height, width = (_steps(side, size, stride, rate) for side in x.shape[1:3])
    for i in range(size):
        for j in range(size):
            rows = slice(i * rate, i * rate + (height - 1) * stride + 1, stride)
            columns = slice(j * rate, j * rate + (width - 1) * stride + 1, stride)
            yield i, j, x[:, rows, columns]


def _steps(side, size, stride, rate):
    return (side - rate * (size - 1) - 1) // stride + 1


def _sum_of_taps(x, kernel, stride, rate):
    x = lax.optimization_barrier(x)  # padded once, read k*k times
    total = 0.0
    for i, j, part in _slices(x, len(kernel), stride, rate):
        total = total + part.astype(jnp.float32) * kernel[i, j].astype(jnp.float32)
    return total.astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _taps(x, kernel, stride, rate):
    return _sum_of_taps(x, kernel, stride, rate)


def _taps_forward(x, kernel, stride, rate):
    return _sum_of_taps(x, kernel, stride, rate), (x, kernel)


def _taps_backward(stride, rate, kept, dy):
    x, kernel = kept
    size, dy = len(kernel), lax.optimization_barrier(dy)
    reach, ends = rate * (size - 1), [(0, 0, 0)]
    for side, steps in zip(x.shape[1:3], dy.shape[1:3], strict=True):
        rest = side - ((steps - 1) * stride + reach + 1)
        ends.append((reach, reach + rest, stride - 1))
    spread = lax.pad(dy, jnp.zeros((), dy.dtype), [*ends, (0, 0, 0)])
    dx = _sum_of_taps(spread, kernel[::-1, ::-1], 1, rate)
    x, wide = lax.optimization_barrier(x), dy.astype(jnp.float32)
    rows = [
        (part.astype(jnp.float32) * wide).sum((1, 2)).sum(0)
        for _, _, part in _slices(x, size, stride, rate)
    ]
    return dx, jnp.stack(rows).reshape(kernel.shape).astype(kernel.dtype)


_taps.defvjp(_taps_forward, _taps_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def pointwise(x, kernel, dtype=None):
    """1x1 convolution: (B, H, W, C), (C, D) -> (B, H, W, D) of `dtype` (that of x)."""
    dtype = dtype or x.dtype
    return jnp.einsum("bhwc,cd->bhwd", x, kernel.astype(x.dtype), preferred_element_type=dtype)


def _pointwise_forward(x, kernel, dtype):
    return pointwise(x, kernel, dtype), (x, kernel)


def _pointwise_backward(dtype, kept, dy):
    x, kernel = kept
    dy, images = dy.astype(x.dtype), len(x)
    dx = jnp.einsum("bhwd,cd->bhwc", dy, kernel.astype(x.dtype), preferred_element_type=x.dtype)
    x, dy = (t.reshape(images, -1, t.shape[-1]) for t in (x, dy))
    each = "bpc,bpd->bcd" if x.shape[1] > _SPLIT else "bpc,bpd->cd"
    total = jnp.einsum(each, x, dy, preferred_element_type=jnp.float32)
    total = total.sum(0) if total.ndim == 3 else total
    return dx, total.astype(kernel.dtype)


pointwise.defvjp(_pointwise_forward, _pointwise_backward)


def patches(x, size, stride=1):
    """What a size x size convolution without padding sees: (B, H', W', size * size * C)."""
    return jnp.concatenate([part for _, _, part in _slices(x, size, stride, 1)], axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def batch_norm(x, gamma, beta, epsilon, ceiling):
    """Batch norm and ReLU: -> y, and mean and variance over the batch, as Keras trains it.

    ceiling: None for no activation, infinity for ReLU, 6 for ReLU6.
    """
    mean, variance = _moments(x)
    return normalize(x, gamma, beta, mean, variance, epsilon, ceiling), mean, variance


def _moments(x):
    x = x.astype(jnp.float32)
    count = x.shape[0] * x.shape[1] * x.shape[2]
    mean = x.sum((1, 2)).sum(0) / count
    return mean, (x * x).sum((1, 2)).sum(0) / count - mean * mean


def normalize(x, gamma, beta, mean, variance, epsilon, ceiling):
    """Batch norm with given mean and variance, then the activation of `batch_norm`."""
    scale = gamma * lax.rsqrt(variance + epsilon)
    y = (x.astype(jnp.float32) - mean) * scale + beta
    return (y if ceiling is None else jnp.clip(y, 0, ceiling)).astype(x.dtype)


def _batch_norm_forward(x, gamma, beta, epsilon, ceiling):
    mean, variance = _moments(x)
    y = normalize(x, gamma, beta, mean, variance, epsilon, ceiling)
    return (y, mean, variance), (x, gamma, beta, mean, variance)


def _batch_norm_backward(epsilon, ceiling, kept, cotangents):
    x, gamma, beta, mean, variance = kept
    dy = cotangents[0].astype(jnp.float32)  # mean and variance only enter the moving averages
    deviation = lax.rsqrt(variance + epsilon)
    normal = (x.astype(jnp.float32) - mean) * deviation
    if ceiling is not None:
        y = normal * gamma + beta
        dy = jnp.where((y > 0) & (y < ceiling), dy, 0.0)
    count = x.shape[0] * x.shape[1] * x.shape[2]
    dbeta, dgamma = dy.sum((1, 2)).sum(0), (dy * normal).sum((1, 2)).sum(0)
    dx = gamma * deviation * (dy - (dbeta + normal * dgamma) / count)
    return dx.astype(x.dtype), dgamma, dbeta


batch_norm.defvjp(_batch_norm_forward, _batch_norm_backward)


def bilinear(x, ratio):
    """`keras_dup.layers.BilinearUpsampling`: (B, h, w, C) -> (B, h*r, w*r, C)."""
    dtype, x = x.dtype, x.astype(jnp.float32)
    for axis in (1, 2):
        size = x.shape[axis]
        last = lax.slice_in_dim(x, size - 1, size, axis=axis)
        following = jnp.concatenate([lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
        shares = [p / ratio for p in range(ratio)]
        y = jnp.stack([x * (1 - s) + following * s for s in shares], axis + 1)
        x = y.reshape(*x.shape[:axis], size * ratio, *x.shape[axis + 1 :])
    return x.astype(dtype)


def masked(x, sizes, full):
    """Zeros beyond the true sizes (B, 2), in pixels, of images padded to the height `full`."""
    if sizes is None:
        return x
    inside = [
        jnp.arange(side) < -(-sizes[:, i] // (full // x.shape[1]))[:, None]
        for i, side in enumerate(x.shape[1:3])
    ]
    return x * (inside[0][:, :, None] & inside[1][:, None])[..., None].astype(x.dtype)


def edge_filled(x, sizes, full):
    """The last true row and column repeated beyond the true sizes; see `masked`."""
    if sizes is None:
        return x
    for axis in (1, 2):
        count = -(-sizes[:, axis - 1] // (full // x.shape[1]))[:, None]
        index = jnp.minimum(jnp.arange(x.shape[axis]), count - 1)
        index = index[:, :, None, None] if axis == 1 else index[:, None, :, None]
        x = jnp.take_along_axis(x, index, axis)
    return x


def cross_entropy(scores, labels, void=255):
    """The mean over the labelled pixels of a batch: (B, H, W, K), (B, H, W) -> a number."""
    valid = labels != void
    chosen = jax.nn.one_hot(jnp.where(valid, labels, 0), scores.shape[-1], dtype=scores.dtype)
    losses = jax.nn.logsumexp(scores, axis=-1) - (scores * chosen).sum(-1)
    return jnp.where(valid, losses, 0.0).sum() / jnp.maximum(valid.sum(), 1)
