"""ResNet v1 "beta" as DeepLab modified it: three 3x3 convolutions in the root (Chen et al. 2018).

Source of the definition: tensorflow/models, research/deeplab/core/resnet_v1_beta.py: a block's
stride is in its *last* unit, batch norm has epsilon 1e-5, and past the output stride the rate of
the 3x3 convolutions grows instead of the stride. No multi-grid: DeepLab publishes these networks
with the ImageNet checkpoints alone, and the default there is (1, 1, 1). The input is
image / 127.5 - 1, as `_PREPROCESS_FN` of feature_extractor.py has it for the beta variants (the
mean is subtracted for those with a 7x7 root alone). pool1 pads on every side, which is DeepLab's
'same' where its input has an odd size, as at 513.
"""

import functools
from typing import Any

from keras import layers

from keras_dup._backbones.convolution import convolution, shifted, strides_and_rates

__all__ = ["resnet50", "resnet101"]

# base depth, units, stride of the last unit
RESNET50 = ((64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1))
RESNET101 = ((64, 3, 2), (128, 4, 2), (256, 23, 2), (512, 3, 1))

_convolution = functools.partial(convolution, epsilon=1e-5, kernel_initializer="he_normal")


def resnet50(image: Any, output_stride: int = 16, centred: bool = False) -> dict[str, Any]:
    """ResNet-50 beta. Features: conv1_1..3 (stride 2) and b{block}u{unit}c{conv}, 2048 at the end.

    conv 3 of a unit is named before the shortcut is added, as DeepLab's decoder takes it
    (b1u2c3: 256 channels at stride 4).
    """
    return _resnet(image, RESNET50, output_stride, centred)


def resnet101(image: Any, output_stride: int = 16, centred: bool = False) -> dict[str, Any]:
    """ResNet-101 beta. Features as in `resnet50`, with 23 units in block 3."""
    return _resnet(image, RESNET101, output_stride, centred)


def _resnet(image, blocks, output_stride, centred):
    features = {}
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescaling")(image)
    for name, filters, stride in (("conv1_1", 64, 2), ("conv1_2", 64, 1), ("conv1_3", 128, 1)):
        x = features[name] = _convolution(x, name, 3, stride, filters=filters, activation="relu")
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # after ReLU, a zero never is the maximum
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    units = [
        (depth, stride if unit == units else 1, f"b{block}u{unit}")
        for block, (depth, units, stride) in enumerate(blocks, start=1)
        for unit in range(1, units + 1)
    ]
    plan = strides_and_rates((stride for _, stride, _ in units), 4, output_stride, centred)
    for (depth, _, name), place in zip(units, plan, strict=True):
        x = _bottleneck(x, depth, place, name, features)
    features["last"] = x
    return features


def _bottleneck(x, depth, place, name, features):
    stride, rate, shift = place
    if x.shape[-1] != 4 * depth:
        shortcut = f"{name}_shortcut"
        shortcut = _convolution(x, shortcut, 1, stride, filters=4 * depth, shift=shift)
    elif stride > 1:
        shortcut = shifted(x, f"{name}_shortcut") if shift else x
        shortcut = layers.MaxPooling2D(1, stride, name=f"{name}_shortcut")(shortcut)
    else:
        shortcut = x
    residual = functools.partial(_convolution, activation="relu")
    x = features[f"{name}c1"] = residual(x, f"{name}c1", 1, filters=depth)
    x = features[f"{name}c2"] = residual(
        x, f"{name}c2", 3, stride, rate, filters=depth, shift=shift
    )
    x = features[f"{name}c3"] = _convolution(x, f"{name}c3", 1, filters=4 * depth)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([shortcut, x]))
