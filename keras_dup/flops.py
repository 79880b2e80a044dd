"""Multiply-adds of a model, counted from its layers (paper, Tables 2-4).

The paper's decoder figures count a multiply-add as 2 operations: "1.15B" is 573 M multiply-adds.
Counted are convolutions, dense layers and, as the paper does, one multiply-add a score for the
mean and the temperature of DUpsampling; nothing else elementwise.
"""

import math

import numpy as np
from keras import layers

from keras_dup.layers import DUpsampling

DECODER = ("fuse_", "compressed", "dupsampling", "scores")


def count(model, input_size=(513, 513)):
    """{"encoder", "decoder", "total"}: multiply-adds for one image of input_size (H, W) pixels.

    The encoder is everything up to and with ASPP.
    """
    shapes = _output_shapes(model, (1, *input_size, 3))
    counts = {"encoder": 0, "decoder": 0}
    for layer in model.layers:
        part = "decoder" if layer.name.startswith(DECODER) else "encoder"
        counts[part] += _multiply_adds(layer, shapes)
    return {**counts, "total": sum(counts.values())}


def _output_shapes(model, input_shape):
    shapes = {model.inputs[0]: input_shape}
    for layer in model.layers[1:]:
        inputs = layer.input
        given = [shapes[t] for t in inputs] if isinstance(inputs, list) else shapes[inputs]
        shapes[layer.output] = tuple(layer.compute_output_shape(given))
    return shapes


def _multiply_adds(layer, shapes):
    if isinstance(layer, DUpsampling):
        _, height, width, classes = shapes[layer.output]
        positions = height * width // layer.ratio**2
        hidden = getattr(layer, "hidden_kernel", np.zeros(0))  # of an auto-encoder
        return height * width * classes * (layer.kernel.shape[2] + 1) + positions * math.prod(
            hidden.shape
        )
    if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
        positions = math.prod(shapes[layer.output][1:3])
        return positions * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.Dense):
        return math.prod(layer.kernel.shape)
    return 0
