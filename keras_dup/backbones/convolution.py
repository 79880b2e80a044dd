"""Convolutions as DeepLab pads, strides and dilates them.

Source of the rules: tensorflow/models, `conv2d_same` and `stack_blocks_dense` of
research/slim/nets/resnet_utils.py, `fixed_padding` of research/deeplab/core/xception.py.
"""

from keras import layers


def convolution(
    x,
    name,
    kernel_size,
    stride=1,
    rate=1,
    *,
    layer=layers.Conv2D,
    epsilon,
    activation=None,
    shift=False,
    **kwargs,
):
    """Convolution without bias, batch norm and, if named, an activation.

    A strided one pads (kernel_size - 1) / 2 on every side, which 'same' does at odd sizes alone:
    at even sizes 'same' shifts the feature by a pixel (DeepLab's "explicit padding"). With `shift`
    it is at the positions 1, 1 + stride, ... of x in place of 0, stride, ...

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


def shifted(x, name):
    """(B, H, W, C) without its first row and column, and with zeros after its last."""
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_shift_pad")(x)
    return layers.Cropping2D(((1, 0), (1, 0)), name=f"{name}_shift")(x)


def strides_and_rates(strides, current_stride, output_stride, centred=False):
    """Yields (stride, rate, shift) of each unit, given the strides of the units without dilation.

    From `output_stride` on a unit keeps its positions; the stride it gave up multiplies the rate of
    the units *after* it. With `centred` the last unit that has a stride is shifted, so that what
    was centred on the pixels 0, s, 2s, ... is on s/2, s + s/2, ..., the centres of windows.
    """
    rate = 1
    for stride in strides:
        if current_stride == output_stride:
            yield 1, rate, False
            rate *= stride
        else:
            current_stride *= stride
            yield stride, 1, centred and stride > 1 and current_stride == output_stride
