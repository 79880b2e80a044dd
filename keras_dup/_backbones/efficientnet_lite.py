"""EfficientNet-Lite: EfficientNet without squeeze-excite and with ReLU6, made for LiteRT.

Source of the definition: tensorflow/tpu, models/official/efficientnet/lite; the table is that of
EfficientNet-B0 (Tan and Le 2019, Table 1). Wider ones round filters to multiples of 8, deeper ones
repeat more units, but the root, the first and the last block stay. Batch norm has epsilon 1e-3;
the input is (image - 127) / 128.
"""

import math
from typing import Any

import keras
from keras import layers

from keras_dup._backbones.mobilenet import inverted_residuals, relu6_convolution

__all__ = [
    "efficientnet_lite0",
    "efficientnet_lite0_classifier",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "scaled",
]

# kernel size, stride of the first unit, expansion, filters, units
LITE0 = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def efficientnet_lite0(
    image: Any, output_stride: int = 16, centred: bool = False
) -> dict[str, Any]:
    """EfficientNet-Lite0. Features: conv1 (stride 2) and b{block}u{unit}c{conv}, 320 at the end.

    In a unit conv 1 expands, conv 2 is depthwise and conv 3 projects; c3 is named before the
    shortcut is added. The blocks end at strides 2, 4, 8, 16, 16, 32, 32.
    """
    return _efficientnet_lite(image, LITE0, output_stride, centred)


def efficientnet_lite1(
    image: Any, output_stride: int = 16, centred: bool = False
) -> dict[str, Any]:
    """EfficientNet-Lite1: depth times 1.1. Features as in `efficientnet_lite0`."""
    return _efficientnet_lite(image, scaled(LITE0, 1.0, 1.1), output_stride, centred)


def efficientnet_lite2(
    image: Any, output_stride: int = 16, centred: bool = False
) -> dict[str, Any]:
    """EfficientNet-Lite2: width times 1.1, depth times 1.2, 352 channels at the end."""
    return _efficientnet_lite(image, scaled(LITE0, 1.1, 1.2), output_stride, centred)


def efficientnet_lite0_classifier() -> keras.Model:
    """EfficientNet-Lite0 with its ImageNet head.

    Input: (B, H, W, 3) in 0..255.  Output: (B, 1000) probabilities.
    """
    image = keras.Input((None, None, 3))
    x = efficientnet_lite0(image, output_stride=32)["last"]
    x = relu6_convolution(x, "head", 1, filters=1280)
    x = layers.GlobalAveragePooling2D(name="head_pool")(x)
    x = layers.Dense(1000, activation="softmax", name="classifier")(x)
    return keras.Model(image, x)


def scaled(blocks: tuple, width: float, depth: float) -> tuple:
    """The table of a network `width` times as wide and `depth` times as deep."""
    inner = range(1, len(blocks) - 1)
    return tuple(
        (*row[:3], _rounded(width * row[3]), math.ceil(depth * row[4]) if i in inner else row[4])
        for i, row in enumerate(blocks)
    )


def _rounded(filters):
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * filters else nearest + 8


def _efficientnet_lite(image, blocks, output_stride, centred):
    x = layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(image)
    return inverted_residuals(x, blocks, output_stride, centred)
