"""Max pooling as a maximum of slices, behind Keras's own layer.

XLA's gradient of a pool for GPUs writes maxima and their places in four arrays of 32 bits and
then scatters. Here a place is a byte, and the gradient one elementwise pass. Of equal values
the first counts, as in XLA's. Compiled for an H100; its time was not measured.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from keras_dup._jax.depthwise import DEVICES, TAPS, padded, parts

__all__ = ["max_pool"]


def max_pool(
    keras_pool: Callable,
    inputs: Any,
    pool_size: int | tuple,
    strides: int | tuple | None = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Equals `keras.ops.max_pool`, its gradient too.

    Args:
        keras_pool: Keras's function; runs other ranks than images', unknown sizes, channels first,
            windows of more than 49 values, and devices other than CPU and GPU.
        inputs, pool_size, strides, padding, data_format: as in `keras.ops`.
    """
    x = jnp.asarray(inputs)
    size, steps = (
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (pool_size, strides or pool_size)
    )
    slices = (
        x.ndim == 4
        and all(isinstance(side, int) for side in x.shape)
        and data_format in (None, "channels_last")
        and size[0] * size[-1] <= TAPS
        and jnp.issubdtype(x.dtype, jnp.floating)
        and jax.default_backend() in DEVICES
    )
    if not slices:
        return keras_pool(inputs, pool_size, strides, padding, data_format)
    return _compiled(
        x, size, steps, tuple(lax.padtype_to_pads(x.shape[1:3], size, steps, padding.upper()))
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _pool(x, size, strides, pads):
    return _forward(x, size, strides, pads)[0]


def _forward(x, size, strides, pads):
    sides = x.shape[1:3]
    x = padded(lax.optimization_barrier(x), [(*pad, 0) for pad in pads], -jnp.inf)
    best, taken = None, None
    for place, (_, part) in enumerate(parts(x, size, strides, (1, 1))):
        if best is None:
            best, taken = part, jnp.zeros(part.shape, jnp.int8)
        else:
            taken = jnp.where(part > best, jnp.int8(place), taken)
            best = jnp.maximum(best, part)
    return best.astype(x.dtype), (taken, sides)


def _backward(size, strides, pads, kept, dy):
    taken, sides = kept
    dy, dx = lax.optimization_barrier(dy), 0
    for place in range(size[0] * size[1]):
        spread = []
        for i, (stride, (before, _)) in enumerate(zip(strides, pads, strict=True)):
            first = divmod(place, size[1])[i] - before
            last = sides[i] - first - (stride * (dy.shape[i + 1] - 1) + 1)
            spread.append((first, last, stride - 1))
        # of overlapping windows in float32 or wider
        part = jnp.where(taken == place, dy, 0).astype(jnp.promote_types(dy.dtype, jnp.float32))
        dx = dx + padded(part, spread)
    return (dx.astype(dy.dtype),)


_pool.defvjp(_forward, _backward)
# one program where layers are called eagerly, as in depthwise.py
_compiled = jax.jit(_pool, static_argnums=(1, 2, 3), inline=True)
