"""Multiply-adds and parameters of a model, counted from its layers (paper, Tables 2-4).

The paper's decoder figures count a multiply-add as 2 operations: "1.15B" is 573 M multiply-adds.
Convolutions, dense layers and attention are counted and, as in the paper, one multiply-add per
score for the mean and the temperature of DUpsampling; elementwise operations only on request.
"""

import math
import re
from collections.abc import Sequence

import keras
from keras import layers

from keras_dup import _keras_private
from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling

__all__ = ["count"]

_ELEMENTWISE = (
    layers.Activation,
    layers.Add,
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.ReLU,
    layers.Rescaling,
    layers.Softmax,
    AdaptiveTemperatureSoftmax,
)
_ENCODER = ("backbone", "ASPP")


def count(
    model: keras.Model, input_size: tuple[int, int] = (513, 513), elementwise: bool = False
) -> dict[str, int]:
    """Counts the multiply-adds of a model for one image of input_size (H, W) pixels.

    Returns: {"encoder": ..., "decoder": ..., "total": ...}; the encoder includes ASPP. Arguments
        and errors are those of `table`.
    """
    counts = {"encoder": 0, "decoder": 0}
    for part, (multiply_adds, _) in table(model, input_size, elementwise).items():
        counts["encoder" if part in _ENCODER else "decoder"] += multiply_adds
    return {**counts, "total": sum(counts.values())}


def count_multi_scale(
    model: keras.Model, input_size: tuple[int, int], scales: Sequence[float], flip: bool = True
) -> int:
    """Counts the multiply-adds of an image at several scales, each also mirrored with `flip`.

    At a scale a side of n pixels has (n - 1) * scale + 1, as DeepLab resizes (513 -> 257 at 0.5).
    """
    height, width = input_size
    sizes = [(int((height - 1) * s) + 1, int((width - 1) * s) + 1) for s in scales]
    return (1 + int(flip)) * sum(count(model, size)["total"] for size in sizes)


def table(
    model: keras.Model, input_size: tuple[int, int] = (513, 513), elementwise: bool = False
) -> dict[str, tuple[int, int]]:
    """Counts multiply-adds and parameters of each part of a model.

    Args:
        model: a model from `keras_dup.models.build`. Another one is all "backbone".
        input_size: (H, W) in pixels.
        elementwise: True also counts one operation for each output value of batch norms,
            activations, sums, rescaling and softmax.

    Returns: {part: (multiply-adds, parameters)}, in the order of computation. The parts are
        "backbone", "ASPP", "fusion of NAME" for each low-level feature, and "head".

    Raises:
        ValueError: a layer contains other layers and is not a functional model, so that the input
            sizes of its parts are unknown.
    """
    parts: dict[str, tuple[int, int]] = {}

    def add(layer, part, *arguments, **keywords):
        spec = layer.compute_output_spec(*arguments, **keywords)
        if isinstance(layer, layers.Layer):
            operations, parameters = parts.get(part, (0, 0))
            operations += _operations(layer, arguments, spec, elementwise)
            parts[part] = operations, parameters + layer.count_params()
        return spec

    _run(model, keras.KerasTensor((1, *input_size, 3)), add)
    return parts


def _run(model, image, add, part=None):
    """Runs a functional model, and the functional models inside it, on shapes."""

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


def _operations(layer, inputs, output, elementwise):
    if isinstance(layer, _ELEMENTWISE):
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
    if isinstance(layer, layers.MultiHeadAttention):
        return _attention(layer, *(x.shape[1] for x in inputs[:2]))
    if _keras_private.sublayers(layer, include_self=False):
        raise ValueError(
            f"flops: {layer.name} is a {type(layer).__name__}, a layer made of layers; the sizes "
            "of their inputs are not known, so their multiply-adds cannot be counted"
        )
    return 0


def _attention(layer, queries, values):
    """Of the four projections, of queries with keys, and of their weights with values."""
    query, key, value, output = (
        dense.kernel.shape
        for dense in (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
    )
    of_queries, of_values = math.prod(query) + math.prod(output), math.prod(key) + math.prod(value)
    products = queries * values * (math.prod(query[1:]) + math.prod(value[1:]))
    return queries * of_queries + values * of_values + products
