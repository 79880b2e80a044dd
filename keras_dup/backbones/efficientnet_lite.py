"""EfficientNet-Lite: EfficientNet without squeeze-excite and with ReLU6, made for LiteRT.

Source of the definition: tensorflow/tpu, models/official/efficientnet/lite; the table is that of
EfficientNet-B0 (Tan and Le 2019, Table 1). Batch norm has epsilon 1e-3; the input is
(image - 127) / 128.
"""

import keras
from keras import layers

# kernel size, stride, expansion, filters, units
LITE0 = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def efficientnet_lite0(image, output_stride=16):
    """EfficientNet-Lite0. Features: conv1 (stride 2) and b{block}u{unit}c{conv}, 320 at the end.

    In a unit conv 1 expands, conv 2 is depthwise and conv 3 projects; c3 is named before the
    shortcut is added. The blocks end at strides 2, 4, 8, 16, 16, 32, 32.
    """
    return _efficientnet_lite(image, LITE0, output_stride)


def efficientnet_lite0_classifier():
    """EfficientNet-Lite0 with its ImageNet head.

    Input: (B, H, W, 3) in 0..255.  Output: (B, 1000) probabilities.
    """
    image = keras.Input((None, None, 3))
    x = efficientnet_lite0(image, output_stride=32)["last"]
    x = _convolution(x, layers.Conv2D, 1, filters=1280, name="head")
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = layers.Dense(1000, activation="softmax", name="classifier")(x)
    return keras.Model(image, x)


def _efficientnet_lite(image, blocks, output_stride):
    x = layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(image)
    x = _convolution(x, layers.Conv2D, 3, 2, filters=32, name="conv1")
    features = {"conv1": x}
    current_stride, rate = 2, 1
    for block, (kernel_size, block_stride, expansion, filters, units) in enumerate(blocks, 1):
        for unit in range(1, units + 1):
            stride = block_stride if unit == 1 else 1
            unit_rate = rate
            if current_stride * stride > output_stride:
                stride, rate = 1, rate * stride  # the strided unit keeps the rate before it
            current_stride *= stride
            shape = kernel_size, stride, unit_rate, expansion, filters
            x = _inverted_residual(x, *shape, f"b{block}u{unit}", features)
    features["last"] = x
    return features


def _inverted_residual(x, kernel_size, stride, rate, expansion, filters, name, features):
    shortcut, expanded = x, expansion * x.shape[-1]
    if expansion > 1:
        x = _convolution(x, layers.Conv2D, 1, filters=expanded, name=f"{name}c1")
        features[f"{name}c1"] = x
    x = _convolution(x, layers.DepthwiseConv2D, kernel_size, stride, rate, name=f"{name}c2")
    features[f"{name}c2"] = x
    x = _convolution(x, layers.Conv2D, 1, filters=filters, name=f"{name}c3", relu=False)
    features[f"{name}c3"] = x
    if stride == 1 and shortcut.shape[-1] == filters:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _convolution(x, convolution, kernel_size, stride=1, rate=1, *, name, relu=True, **kwargs):
    if stride > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    x = convolution(
        kernel_size=kernel_size,
        strides=stride,
        dilation_rate=rate,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        name=f"{name}_conv",
        **kwargs,
    )(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x
