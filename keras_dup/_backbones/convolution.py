"""Convolutions as DeepLab pads, strides and dilates them.

Source of the rules: tensorflow/models, `conv2d_same` and `stack_blocks_dense` of
research/slim/nets/resnet_utils.py, `fixed_padding` of research/deeplab/core/xception.py.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from keras import layers

__all__ = ["convolution", "shifted", "strides_and_rates"]


def convolution(
    x: Any,
    name: str,
    kernel_size: int,
    stride: int = 1,
    rate: int = 1,
    *,
    layer: type[layers.Layer] = layers.Conv2D,
    epsilon: float,
    activation: str | None = None,
    shift: bool = False,
    **kwargs: Any,
) -> Any:
    """Convolution without bias, batch norm and, if named, an activation.

    A strided convolution pads (kernel_size - 1) / 2 on every side (DeepLab's "explicit padding").
    'same' does so at odd sizes only; at even sizes it shifts the feature by a pixel. With `shift`
    the output is at the positions 1, 1 + stride, ... of x in place of 0, stride, ...

    Input: (B, H, W, any).  Output: (B, ceil(H / stride), ceil(W / stride), filters).
    """
    if stride > 1 and kernel_size > 1:
        pad = (kernel_size // 2 - shift, kernel_size // 2 + shift)
        x = layers.ZeroPadding2D((pad, pad), name=f"{name}_pad")(x)
    elif shift:
        x = shifted(x, name)
    x = layer(
        kernel_size=kernel_size,
        strides=stride,
        dilation_rate=rate,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        name=f"{name}_conv",
        **kwargs,
    )(x)
    x = layers.BatchNormalization(epsilon=epsilon, name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_relu")(x) if activation else x


def shifted(x: Any, name: str) -> Any:
    """(B, H, W, C) without its first row and column, and with zeros after its last."""
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_shift_pad")(x)
    return layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}_shift")(x)


def strides_and_rates(
    strides: Iterable[int], current_stride: int, output_stride: int, centred: bool = False
) -> Iterator[tuple[int, int, bool]]:
    """Yields (stride, rate, shift) of each unit, given the strides of the units without dilation.

    From `output_stride` on a unit keeps its positions; the stride it gave up multiplies the rate of
    the units *after* it. With `centred` the last unit that has a stride is shifted: its output
    is centred on the pixels s/2, s + s/2, ..., the centres of windows, in place of 0, s, 2s, ...
    """
    rate = 1
    for stride in strides:
        if current_stride == output_stride:
            yield 1, rate, False
            rate *= stride
        else:
            current_stride *= stride
            yield stride, 1, centred and stride > 1 and current_stride == output_stride
