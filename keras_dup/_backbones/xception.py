"""Modified aligned Xception (Chen et al. 2018, Sec. 3.2), as DeepLab has it.

Source of the definition: tensorflow/models, research/deeplab/core/xception.py: separable
convolutions with stride in place of max pooling, the stride in the third of a unit; each
separable convolution is a depthwise and a pointwise one, *each* with batch norm (epsilon 1e-3).
ReLU stands before the separable convolution and nowhere inside it, but for the last block, where it
follows both the depthwise and the pointwise part. All three of a unit have the unit's rate. The
shortcut takes the input of the unit without ReLU. Weights start from a truncated normal of
deviation 0.09. The input is image / 127.5 - 1 (`_PREPROCESS_FN` of feature_extractor.py).
"""

import functools
from typing import Any

from keras import initializers, layers

from keras_dup._backbones.convolution import convolution, strides_and_rates

__all__ = ["xception65", "xception71"]

# name, units, filters of the three separable convolutions, shortcut, stride of each unit
MIDDLE = ("mfb1", 16, (728, 728, 728), "sum", 1)
EXIT = (
    ("xfb1", 1, (728, 1024, 1024), "conv", 2),
    ("xfb2", 1, (1536, 1536, 2048), None, 1),
)
XCEPTION65 = (
    ("efb1", 1, (128, 128, 128), "conv", 2),
    ("efb2", 1, (256, 256, 256), "conv", 2),
    ("efb3", 1, (728, 728, 728), "conv", 2),
    MIDDLE,
    *EXIT,
)
XCEPTION71 = (
    ("efb1", 1, (128, 128, 128), "conv", 2),
    ("efb2", 1, (256, 256, 256), "conv", 1),
    ("efb3", 1, (256, 256, 256), "conv", 2),
    ("efb4", 1, (728, 728, 728), "conv", 1),
    ("efb5", 1, (728, 728, 728), "conv", 2),
    MIDDLE,
    *EXIT,
)

_convolution = functools.partial(convolution, epsilon=1e-3)


def xception65(image: Any, output_stride: int = 16, centred: bool = False) -> dict[str, Any]:
    """Xception-65. Features: conv1_1..2 (stride 2) and {flow}b{block}u{unit}c{conv}, 2048 at last.

    The flows are ef (entry), mf (middle) and xf (exit). conv 3 of a unit is named before the
    shortcut is added (mfb1u16c3: 728 channels at stride 16; efb2u1c2: 256 at stride 4).
    """
    return _xception(image, XCEPTION65, output_stride, centred)


def xception71(image: Any, output_stride: int = 16, centred: bool = False) -> dict[str, Any]:
    """Xception-71. Features as in `xception65`, with five blocks in the entry flow."""
    return _xception(image, XCEPTION71, output_stride, centred)


def _xception(image, blocks, output_stride, centred):
    features = {}
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescaling")(image)
    for name, filters, stride in (("conv1_1", 32, 2), ("conv1_2", 64, 1)):
        arguments = {"filters": filters, "kernel_initializer": _initializer()}
        x = features[name] = _convolution(x, name, 3, stride, activation="relu", **arguments)
    units = [
        (f"{block}u{unit}", filters, shortcut, stride)
        for block, units, filters, shortcut, stride in blocks
        for unit in range(1, units + 1)
    ]
    plan = strides_and_rates((stride for *_, stride in units), 2, output_stride, centred)
    for (name, filters, shortcut, _), place in zip(units, plan, strict=True):
        x = _unit(x, name, filters, shortcut, place, features)
    features["last"] = x
    return features


def _unit(x, name, filters, shortcut, place, features):
    unit_input, relu_first = x, shortcut is not None
    last = {True: place, False: (1, place[1], False)}  # the third convolution has the stride
    for conv, depth in enumerate(filters, start=1):
        if relu_first:
            x = layers.ReLU(name=f"{name}c{conv}_relu")(x)
        x = _separable(x, f"{name}c{conv}", depth, last[conv == 3], relu_inside=not relu_first)
        features[f"{name}c{conv}"] = x
    if shortcut == "conv":
        arguments = {"filters": filters[-1], "kernel_initializer": _initializer()}
        arguments |= {"stride": place[0], "shift": place[2]}
        unit_input = _convolution(unit_input, f"{name}_shortcut", 1, **arguments)
    return x if shortcut is None else layers.Add(name=f"{name}_add")([x, unit_input])


def _separable(x, name, filters, place, relu_inside):
    (stride, rate, shift), activation = place, "relu" if relu_inside else None
    x = _convolution(
        x,
        f"{name}_depthwise",
        3,
        stride,
        rate,
        layer=layers.DepthwiseConv2D,
        depthwise_initializer=_initializer(),
        activation=activation,
        shift=shift,
    )
    arguments = {"filters": filters, "kernel_initializer": _initializer()}
    return _convolution(x, f"{name}_pointwise", 1, activation=activation, **arguments)


def _initializer():
    return initializers.TruncatedNormal(stddev=0.09)
