"""Multiply-adds and parameters of a model, counted from its layers (paper, Tables 2-4).

The paper's decoder figures count a multiply-add as 2 operations: "1.15B" is 573 M multiply-adds.
Counted are convolutions, dense layers and, as the paper does, one multiply-add a score for the
mean and the temperature of DUpsampling. Not counted are products of activations with each other
(attention) and, unless asked for, what works value by value.
"""

import math
import re

import keras
from keras import layers

from keras_dup import _keras_private
from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling

ELEMENTWISE = (
    layers.Activation,
    layers.Add,
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.ReLU,
    layers.Rescaling,
    layers.Softmax,
    AdaptiveTemperatureSoftmax,
)
ENCODER = ("backbone", "ASPP")


def count(model, input_size=(513, 513), elementwise=False):
    """{"encoder", "decoder", "total"}: multiply-adds for one image of input_size (H, W) pixels.

    The encoder is everything up to and with ASPP. Other arguments and errors as in `table`.
    """
    counts = {"encoder": 0, "decoder": 0}
    for part, (multiply_adds, _) in table(model, input_size, elementwise).items():
        counts["encoder" if part in ENCODER else "decoder"] += multiply_adds
    return {**counts, "total": sum(counts.values())}


def count_multi_scale(model, input_size, scales, flip=True):
    """The total over an image at several scales, mirrored too where `flip`: multiply-adds.

    A side of n pixels has (n - 1) * scale + 1 at a scale, as DeepLab resizes (513 -> 257 at 0.5).
    """
    sizes = [[int((side - 1) * scale) + 1 for side in input_size] for scale in scales]
    return (1 + flip) * sum(count(model, size)["total"] for size in sizes)


def table(model, input_size=(513, 513), elementwise=False):
    """{part: (multiply-adds, parameters)}, in the order of computation.

    The parts are "backbone", "ASPP", "fusion of NAME" for each low-level feature and "head".

    Args:
        model: what `keras_dup.models.build` returns (of another model everything is "backbone").
        input_size: (H, W) in pixels.
        elementwise: also count one operation for each value that batch norm, activations, sums,
            rescaling and softmax give.

    Raises:
        ValueError: a layer made of other layers that is not a functional model: what its parts see
            is not known.
    """
    parts = {}

    def add(layer, part, *arguments, **keywords):
        spec = layer.compute_output_spec(*arguments, **keywords)
        if isinstance(layer, layers.Layer):
            operations, parameters = parts.get(part, (0, 0))
            operations += _operations(layer, spec, elementwise)
            parts[part] = operations, parameters + layer.count_params()
        return spec

    _run(model, keras.KerasTensor((1, *input_size, 3)), add)
    return parts


def _run(model, image, add, part=None):
    """Goes through a functional model, and those inside it, with shapes in place of values."""

    def call(operation, *arguments, **keywords):
        of = part or _part(operation.name)
        if isinstance(operation, keras.Model):
            return _run(operation, arguments[0], add, of)
        return add(operation, of, *arguments, **keywords)

    return _keras_private.run_graph(model, image, call)


def _part(name):
    if name.startswith("aspp"):
        return "ASPP"
    steps = r"\w*sampling|padding|crop|concat|(?:context|projection)_\w+|[12]_\w+wise\w*"
    fusion = re.fullmatch(rf"fuse_(.+)_({steps})", name)
    if fusion:
        return f"fusion of {fusion[1]}"
    head = ("compressed", "interpolation", "dupsampling", "scores", "bilinear")
    return "head" if name.startswith((*head, "crop", "softmax")) else "backbone"


def _operations(layer, output, elementwise):
    if isinstance(layer, ELEMENTWISE):
        return math.prod(output.shape) if elementwise else 0
    if isinstance(layer, DUpsampling):
        hidden = getattr(layer, "hidden_kernel", None)  # of an auto-encoder
        operations = math.prod(output.shape) * (layer.kernel.shape[2] + 1)
        if hidden is not None:
            operations += math.prod(output.shape[1:3]) // layer.ratio**2 * math.prod(hidden.shape)
        return operations
    if isinstance(layer, layers.SeparableConv2D):
        kernels = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
        return math.prod(output.shape[1:3]) * kernels
    if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
        return math.prod(output.shape[1:3]) * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.Dense):
        return math.prod(output.shape[:-1]) * math.prod(layer.kernel.shape)
    if _keras_private.sublayers(layer, include_self=False):
        raise ValueError(
            f"flops: {layer.name} is a {type(layer).__name__}, a layer made of layers; what they "
            "see is not known, so their multiply-adds cannot be counted"
        )
    return 0
