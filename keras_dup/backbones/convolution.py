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
    **kwargs,
):
    """Convolution without bias, batch norm and, if named, an activation.

    A strided one pads (kernel_size - 1) / 2 on every side, which 'same' does at odd sizes alone:
    at even sizes 'same' shifts the feature by a pixel (DeepLab's "explicit padding").

    Input: (B, H, W, any).  Output: (B, ceil(H / stride), ceil(W / stride), filters).
    """
    if stride > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
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


def strides_and_rates(strides, current_stride, output_stride):
    """Yields (stride, rate) of each unit, given the strides of the units without dilation.

    From `output_stride` on a unit keeps its positions; the stride it gave up multiplies the rate of
    the units *after* it.
    """
    rate = 1
    for stride in strides:
        if current_stride == output_stride:
            yield 1, rate
            rate *= stride
        else:
            yield stride, 1
            current_stride *= stride
