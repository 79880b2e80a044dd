"""MobileNetV2 (Sandler et al. 2018), and the inverted residuals that EfficientNet-Lite shares.

Source of the definition: Table 2 of the paper; tensorflow/models,
research/slim/nets/mobilenet/mobilenet_v2.py. Batch norm has epsilon 1e-3 (that of slim and of
keras.applications), activations are ReLU6. DeepLab ends it at the 320 channels of layer_18, before
the 1x1 convolution to 1280; it pads 'same', which at odd sizes is what is done here. The input is
image / 127.5 - 1 (feature_extractor.py of DeepLab).
"""

import functools
from typing import Any

from keras import layers

from keras_dup._backbones.convolution import convolution, strides_and_rates

__all__ = ["inverted_residuals", "mobilenet_v2", "relu6_convolution"]

# kernel size, stride of the first unit, expansion, filters, units
MOBILENET_V2 = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (3, 2, 6, 32, 3),
    (3, 2, 6, 64, 4),
    (3, 1, 6, 96, 3),
    (3, 2, 6, 160, 3),
    (3, 1, 6, 320, 1),
)

relu6_convolution = functools.partial(convolution, epsilon=1e-3, activation="relu6")


def mobilenet_v2(image: Any, output_stride: int = 16, centred: bool = False) -> dict[str, Any]:
    """MobileNetV2. Features: conv1 (stride 2) and b{block}u{unit}c{conv}, 320 at the end.

    In a unit conv 1 expands, conv 2 is depthwise and conv 3 projects; c3 is named before the
    shortcut is added. The blocks end at strides 2, 4, 8, 16, 16, 32, 32.
    """
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescaling")(image)
    return inverted_residuals(x, MOBILENET_V2, output_stride, centred)


def inverted_residuals(x: Any, blocks: tuple, output_stride: int, centred: bool) -> dict[str, Any]:
    """A 3x3 convolution with stride 2 to 32 channels, the units of `blocks` -> {name: feature}."""
    x = relu6_convolution(x, "conv1", 3, 2, filters=32)
    features = {"conv1": x}
    units = [
        (f"b{block}u{unit}", kernel_size, stride if unit == 1 else 1, expansion, filters)
        for block, (kernel_size, stride, expansion, filters, units) in enumerate(blocks, 1)
        for unit in range(1, units + 1)
    ]
    plan = strides_and_rates((unit[2] for unit in units), 2, output_stride, centred)
    for (name, kernel_size, _, expansion, filters), place in zip(units, plan, strict=True):
        x = _unit(x, name, kernel_size, place, expansion, filters, features)
    features["last"] = x
    return features


def _unit(x, name, kernel_size, place, expansion, filters, features):
    (stride, rate, shift), shortcut = place, x
    if expansion > 1:
        x = relu6_convolution(x, f"{name}c1", 1, filters=expansion * x.shape[-1])
        features[f"{name}c1"] = x
    depthwise = layers.DepthwiseConv2D
    x = relu6_convolution(x, f"{name}c2", kernel_size, stride, rate, layer=depthwise, shift=shift)
    features[f"{name}c2"] = x
    x = relu6_convolution(x, f"{name}c3", 1, filters=filters, activation=None)
    features[f"{name}c3"] = x
    if stride == 1 and shortcut.shape[-1] == filters:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x
