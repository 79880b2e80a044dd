"""Networks for deployment: batch norms and the temperature are folded away, class ids come out.

Runs on every backend of Keras. The exports write the model that `fold` returns.
"""

import collections

import keras
import numpy as np
from keras import layers, ops

from keras_dup import _keras_private
from keras_dup._labelled import copy_labels
from keras_dup.export._label_maps import LabelMap, PackedLabels, Unpack
from keras_dup.layers import (
    AdaptiveTemperatureSoftmax,
    BilinearUpsampling,
    Crop,
    DUpsampling,
    Subsampling,
)

__all__ = ["fold"]

_OUTPUTS = ("label_map", "probabilities")
_DTYPES = (None, "bfloat16")
_HEAD = (  # in float32 always: bfloat16 has 8 bits, too few to tell scores apart
    BilinearUpsampling,
    Crop,
    DUpsampling,
    layers.InputLayer,
)
_CONVOLUTIONS = {  # layer: the variable that batch norm scales
    layers.Conv2D: "kernel",
    layers.DepthwiseConv2D: "kernel",
    layers.SeparableConv2D: "pointwise_kernel",
}


def fold(
    model: keras.Model,
    output: str = "label_map",
    dtype: str | None = None,
    jit_compile: bool = False,
) -> keras.Model:
    """Returns a copy of a network that computes the same label maps with fewer operations.

    Batch norm after a convolution becomes part of the kernel and bias. Subsampling before a 1x1
    convolution becomes its stride. The temperature becomes part of W and of the mean. For a label
    map temperature and softmax are dropped, since they do not change which class is largest. The
    largest class is then found in the packed layout
    (B, h, w, r*r, K), and only class ids are rearranged into pixels, one row of the windows at a
    time: the scores of all pixels never exist together.

    Args:
        model: a model from `keras_dup.models.build`, or any functional model of an image whose
            last axis holds the scores of classes. It is not changed.
        output: "label_map", (B, H, W) ids, uint8 up to 256 classes, else int32; or "probabilities",
            (B, H, W, K) float32, the output of `model`.
        dtype: None keeps that of each layer. "bfloat16" stores the weights in it and computes with
            them; upsampling and what follows stay in float32. Half the size, and faster where the
            processor multiplies bfloat16 (AVX512_BF16, AMX, GPUs, TPUs), slower elsewhere; class
            ids near a tie change.
        jit_compile: on TensorFlow XLA compiles the search for the largest class: the same ids in
            less time, but each new size of an image compiles once. Acts for "label_map" of a
            DUpsampling network.

    Returns: a functional `keras.Model` for inference, not for further training. A layer that its
        own config does not make again is shared with `model`.

    Raises:
        ValueError: unknown `output` or `dtype`; the model is not functional or has several outputs.
    """
    for name, value, known in (("output", output, _OUTPUTS), ("dtype", dtype, _DTYPES)):
        if value not in known:
            raise ValueError(f"fold: {name}={value!r}; it must be one of {known}")
    if not _keras_private.is_functional(model) or len(model.outputs) != 1:
        raise ValueError(f"fold: {model.name} must be a functional Keras model with one output")
    return copy_labels(_folded(model, output, dtype, jit_compile), model)


def _folded(model, output, dtype, jit_compile):
    softmax, upsampling = _head(model)
    if output == "probabilities":
        if not (upsampling and isinstance(softmax, AdaptiveTemperatureSoftmax)):
            return _copy(model, {}, dtype)[0]
        plain = layers.Softmax(dtype="float32", name=softmax.name)
        folded, copies = _copy(model, {softmax: plain}, dtype)
        for variable in copies[upsampling].weights:  # W and the mean
            variable.assign(variable / ops.exp(softmax.log_temperature))
        return folded
    replaced = {softmax: _skip} if softmax else {}
    if upsampling:
        config = {**upsampling.get_config(), "jit_compile": jit_compile}
        replaced[upsampling] = PackedLabels.from_config(config)
    folded, copies = _copy(model, replaced, dtype)
    if upsampling:
        copies[upsampling].assign_from(upsampling)
    last = Unpack if upsampling else LabelMap
    label_map = last(name="label_map")(folded.outputs[0])
    return keras.Model(folded.inputs, label_map, name=model.name)


class _Graph:
    """Which layer reads which tensor in a functional model; its outputs count as readers."""

    def __init__(self, model):
        nodes = _keras_private.nodes(model)
        self.calls = collections.defaultdict(list)
        for node in nodes:
            self.calls[node.operation].append(node)
        tensors = [tensor for node in nodes for tensor in node.input_tensors] + model.outputs
        self.readers = collections.Counter(id(tensor) for tensor in tensors)

    def before(self, layer):
        """The layer whose output is the first input of `layer`, if nothing else reads it."""
        calls = self.calls[layer]
        if len(calls) == 1:
            tensor = calls[0].input_tensors[0]
            source = _keras_private.source(tensor)
            if self.readers[id(tensor)] == 1 and len(self.calls[source]) == 1:
                return source
        return None


def _head(model):
    """The softmax at the end of the model and the DUpsampling before it, or None for each."""
    graph, last = _Graph(model), _keras_private.source(model.outputs[0])
    if not _is_softmax(last):
        return None, None
    source = graph.before(last)
    if isinstance(source, Crop):
        source = graph.before(source)
    return last, source if type(source) is DUpsampling else None


def _is_softmax(layer):
    return isinstance(layer, (layers.Softmax, AdaptiveTemperatureSoftmax)) or (
        isinstance(layer, layers.Activation) and layer.activation is keras.activations.softmax
    )


def _copy(model, replaced, dtype):
    """Copies a model and folds its batch norms.

    Args:
        replaced: {layer of the model: layer for its place}; the caller sets their weights.
        dtype: of the other layers but those of the head, or None.

    Returns: (the copy, {old layer: new layer}).
    """
    model = keras.Model(model.inputs, model.outputs, name=model.name)  # without its optimizer
    norms, copies = _foldable(model), {}
    folded, sampled = set(norms.values()), _sampled(model)
    for old in sampled.values():
        beginning = Beginning.from_config(old.get_config()) if old.start else _skip
        replaced = {**replaced, old: beginning}

    def copy(layer):
        if not isinstance(layer, layers.Layer):
            return layer  # of keras.ops: nothing to copy
        new = _skip if layer in norms else replaced.get(layer)
        new = new or _copied(layer, layer in folded, dtype, sampled.get(layer))
        if new is not _skip:
            copies[layer] = new
        return new

    def call(layer, *arguments, **keywords):
        return layer(*arguments, **keywords)

    clone = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for old, new in copies.items():
        if old not in folded and old not in replaced and not _keras_private.is_functional(old):
            new.set_weights(old.get_weights())
    for norm, old in norms.items():
        _fold(norm, old, copies[old])
    return clone, copies


@keras.saving.register_keras_serializable(package="keras_dup")
class Beginning(Subsampling):
    """What a convolution of the same stride has to read to do the subsampling itself."""

    def call(self, x):
        return self.completed(x)[:, self.start :, self.start :]

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        rest = self.stride - 1
        sides = [
            side and max(side - self.start, (side + rest) // self.stride * self.stride - rest)
            for side in (height, width)
        ]
        return (batch, *sides, channels)


def _copied(layer, with_bias, dtype, sampling=None):
    if _keras_private.is_functional(layer):
        return _copy(layer, {}, dtype)[0]  # with its weights
    config = layer.get_config()
    if with_bias:
        config["use_bias"] = True
    if sampling:
        config["strides"] = sampling.stride
    if dtype and not isinstance(layer, _HEAD) and not _is_softmax(layer):
        config["dtype"] = dtype
    try:
        return type(layer).from_config(config)
    except (TypeError, ValueError):  # its own config does not make it: keras-hub has such layers
        return layer


def _skip(x, *arguments, **keywords):
    return x


def _foldable(model):
    """{batch norm: the convolution before it}, where no other layer reads the convolution."""
    graph, found = _Graph(model), {}
    for norm in model.layers:
        if isinstance(norm, layers.BatchNormalization) and norm.axis in (-1, 3):
            convolution = graph.before(norm)
            if (
                type(convolution) in _CONVOLUTIONS
                and convolution.activation is keras.activations.linear
                and convolution.data_format == "channels_last"
            ):
                found[norm] = convolution
    return found


def _sampled(model):
    """{1x1 convolution: the subsampling before it}, where no other layer reads the subsampling."""
    graph, found = _Graph(model), {}
    for layer in model.layers:
        if type(layer) is layers.Conv2D and layer.kernel_size == layer.strides == (1, 1):
            before = graph.before(layer)
            if type(before) is Subsampling:
                found[layer] = before
    return found


def _fold(norm, old, new):
    """norm(old(x)) == new(x): y = gamma (conv + bias - mean) / sqrt(variance + epsilon) + beta."""
    mean, variance = (_numpy(w) for w in (norm.moving_mean, norm.moving_variance))
    scale = 1 / np.sqrt(variance + norm.epsilon)
    scale = scale * _numpy(norm.gamma) if norm.scale else scale
    bias = -mean * scale + (_numpy(norm.beta) if norm.center else 0)
    if old.use_bias:
        bias = bias + _numpy(old.bias) * scale
    name = _CONVOLUTIONS[type(old)]
    for variable in new.weights:
        if variable is new.bias:
            variable.assign(bias)
            continue
        kernel = _numpy(getattr(old, variable.name))
        if variable.name == name:
            # a depthwise kernel is (h, w, C, multiplier), its outputs C * multiplier
            ends = kernel.shape[-2:] if type(old) is layers.DepthwiseConv2D else kernel.shape[-1:]
            kernel = kernel * scale.reshape(ends)
        variable.assign(kernel)


def _numpy(variable):
    return ops.convert_to_numpy(variable).astype("float64")
