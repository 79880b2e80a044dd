"""Depthwise convolution as a sum of shifted products, behind Keras's own layers.

    y[b, i, j, c] = sum of x[b, i*s + p*d, j*s + q*d, c] * k[p, q, c] over p, q

XLA has no good kernel for convolutions with one channel per group, on CPUs and on GPUs. As slices
of one padded tensor the products are a single elementwise pass, bound by memory. So are the
gradients: of x it is the same sum with dy spread by the stride and the kernel turned around; of the
kernel it is one sum over positions for each p, q.

`tests/test_jax_depthwise.py` reads from XLA's programs that no slice is copied. The forms for GPUs
were chosen from programs for an H100, which XLA compiles without one; their time is not measured.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["DEVICES", "TAPS", "depthwise_conv", "padded", "parts"]

TAPS = 49  # 7 x 7: a larger kernel makes a program that takes long to compile
DEVICES = ("cpu", "gpu")  # a TPU has convolutions of its own


def depthwise_conv(
    keras_conv: Callable,
    inputs: Any,
    kernel: Any,
    strides: int | tuple = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | tuple = 1,
) -> Any:
    """Equals `keras.ops.depthwise_conv` up to rounding; sums are in float32 or wider.

    Args:
        keras_conv: Keras's function; runs what has no sum of products here: other ranks, unknown
            sizes, channels first, several filters per channel, more than 49 taps, other devices
            than CPU and GPU.
        inputs, kernel, strides, padding, data_format, dilation_rate: as in `keras.ops`.
    """
    inputs, kernel = jnp.asarray(inputs), jnp.asarray(kernel)
    shifts = (
        inputs.ndim == kernel.ndim == 4
        and all(isinstance(side, int) for side in inputs.shape)
        and data_format in (None, "channels_last")
        and kernel.shape[2:] == (inputs.shape[-1], 1)
        and kernel.shape[0] * kernel.shape[1] <= TAPS
        and inputs.dtype == kernel.dtype
        and jnp.issubdtype(inputs.dtype, jnp.floating)
        and jax.default_backend() in DEVICES
    )
    if not shifts:
        return keras_conv(inputs, kernel, strides, padding, data_format, dilation_rate)
    strides, rates = (
        (value, value) if isinstance(value, int) else tuple(value)
        for value in (strides, dilation_rate)
    )
    reach = [rate * (size - 1) for rate, size in zip(rates, kernel.shape[:2], strict=True)]
    sides = [side + 1 for side in reach]
    pads = lax.padtype_to_pads(inputs.shape[1:3], sides, strides, padding.upper())
    return _compiled(inputs, kernel[..., 0], strides, rates, tuple(pads))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(x, kernel, strides, rates, pads):
    """(B, H, W, C), (k, l, C) -> (B, H', W', C)."""
    x = lax.optimization_barrier(x)  # what made x is not computed again for every tap
    return _sum_of_products(padded(x, [(*pad, 0) for pad in pads]), kernel, strides, rates)


def _forward(x, kernel, strides, rates, pads):
    return _convolve(x, kernel, strides, rates, pads), (x, kernel)


def _backward(strides, rates, pads, kept, dy):
    x, kernel = kept
    dy = lax.optimization_barrier(dy)
    spread = []
    for i, (stride, rate, (before, _)) in enumerate(zip(strides, rates, pads, strict=True)):
        reach = rate * (kernel.shape[i] - 1)
        first = reach - before
        last = x.shape[i + 1] + reach - first - (stride * (dy.shape[i + 1] - 1) + 1)
        spread.append((first, last, stride - 1))
    dx = _sum_of_products(padded(dy, spread), kernel[::-1, ::-1], (1, 1), rates)
    dx, x, dy = lax.optimization_barrier((dx, x, dy))  # the sums below are passes of their own
    spread_x, wide = padded(x, [(*pad, 0) for pad in pads]), dy.astype(_accumulator(x))
    products = [part * wide for _, part in parts(spread_x, kernel.shape, strides, rates)]
    sums = lax.platform_dependent(*products, cpu=_sums_in_one_pass, default=_sums)
    return dx, jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)


_convolve.defvjp(_forward, _backward)
# one program where layers are called eagerly; part of the caller's where that is traced
_compiled = jax.jit(_convolve, static_argnums=(2, 3, 4), inline=True)


def _sums(*products):
    """(B, H, W, C) each -> (C,) each; XLA fuses the products into the sums on a GPU."""
    return [jnp.sum(product, axis=(0, 1, 2)) for product in products]


def _sums_in_one_pass(*products):
    """`_sums` as one reduction of several arrays, into which XLA fuses the products on a CPU."""
    zeros = (jnp.zeros((), products[0].dtype),) * len(products)
    return list(lax.reduce(products, zeros, lambda a, b: list(map(lax.add, a, b)), (0, 1, 2)))


def padded(x, sides, value=0):
    """x with `value` before, after and between its rows and columns: (before, after, between)."""
    return lax.pad(x, jnp.asarray(value, x.dtype), [(0, 0, 0), *sides, (0, 0, 0)])


def _sum_of_products(x, kernel, strides, rates):
    total = sum(
        part * kernel[place].astype(part.dtype)
        for place, part in parts(x, kernel.shape, strides, rates)
    )
    return total.astype(x.dtype)


def parts(x, kernel_shape, strides, rates) -> Iterator[tuple[tuple[int, int], Any]]:
    """Yields a place in the kernel, and what it is multiplied with: (B, H', W', C)."""
    steps = [
        (side - rate * (size - 1) - 1) // stride + 1
        for side, size, stride, rate in zip(
            x.shape[1:3], kernel_shape, strides, rates, strict=False
        )
    ]
    for p in range(kernel_shape[0]):
        for q in range(kernel_shape[1]):
            rows, columns = (
                slice(place * rate, place * rate + stride * (count - 1) + 1, stride)
                for place, rate, stride, count in zip((p, q), rates, strides, steps, strict=True)
            )
            yield (p, q), x[:, rows, columns].astype(_accumulator(x))


def _accumulator(x):
    return jnp.promote_types(x.dtype, jnp.float32)
