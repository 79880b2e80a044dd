"""A network as it is deployed: batch norms and the temperature folded away, class ids come out.

Runs on every backend of Keras; what the exports write is what `fold` returns.
"""

import collections

import keras
import numpy as np
from keras import layers, ops

from keras_dup.layers import AdaptiveTemperatureSoftmax, Crop, DUpsampling

OUTPUTS = ("label_map", "probabilities")
_CONVOLUTIONS = {  # layer: the variable that batch norm scales
    layers.Conv2D: "kernel",
    layers.DepthwiseConv2D: "kernel",
    layers.SeparableConv2D: "pointwise_kernel",
}


def fold(model, output="label_map"):
    """A copy of a network that gives the same label maps with fewer operations.

    Batch norm after a convolution becomes the convolution's kernel and bias. The temperature
    becomes part of W and of the mean; for a label map it is dropped with the softmax, since neither
    changes which class is largest, and the largest class of each pixel is found in the packed
    layout (B, h, w, r*r, K), so that only class ids are rearranged into pixels.

    Args:
        model: what `keras_dup.models.build` returns, or any functional model of an image whose
            last axis are the scores of classes. It stays as it is.
        output: "label_map", (B, H, W) ids, uint8 up to 256 classes, else int32; or "probabilities",
            (B, H, W, K) float32, what `model` gives.

    Returns: a functional `keras.Model` for inference; training it further makes no sense.

    Raises:
        ValueError: unknown `output`; the model is not functional or has several outputs.
    """
    if output not in OUTPUTS:
        raise ValueError(f"fold: output={output!r}; it must be one of {OUTPUTS}")
    if not _is_functional(model) or len(model.outputs) != 1:
        raise ValueError(f"fold: {model.name} must be a functional Keras model with one output")
    softmax, upsampling = _head(model)
    if output == "probabilities":
        if not (upsampling and isinstance(softmax, AdaptiveTemperatureSoftmax)):
            return _copy(model, {})[0]
        plain = layers.Softmax(dtype="float32", name=softmax.name)
        folded, copies = _copy(model, {softmax: plain})
        for variable in copies[upsampling].weights:  # W and the mean
            variable.assign(variable / ops.exp(softmax.log_temperature))
        return folded
    replaced = {softmax: _skip} if softmax else {}
    if upsampling:
        replaced[upsampling] = PackedLabels.from_config(upsampling.get_config())
    folded, _ = _copy(model, replaced)
    last = Unpack if upsampling else LabelMap
    label_map = last(name="label_map")(folded.outputs[0])
    return keras.Model(folded.inputs, label_map, name=model.name)


@keras.saving.register_keras_serializable(package="keras_dup")
class LabelMap(layers.Layer):
    """The class of the largest score.

    Input: (B, H, W, K).  Output: (B, H, W), uint8 up to 256 classes, else int32.
    """

    def call(self, x):
        return _largest(x)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape[:-1], _id_type(x.shape[-1]))


@keras.saving.register_keras_serializable(package="keras_dup")
class PackedLabels(DUpsampling):
    """DUpsampling that finds the class of a pixel before it rearranges windows into pixels.

    Input: (B, h, w, C~).  Output: (B, h*r, w*r, 1), uint8 up to 256 classes, else int32.
    """

    def call(self, x):
        windows = ops.conv(x, self.kernel, padding="valid") + self.bias  # (B, h, w, r*r*K)
        shape, pixels = ops.shape(windows), self.ratio**2
        scores = ops.reshape(windows, (-1, pixels, self.num_classes))
        return ops.depth_to_space(ops.reshape(_largest(scores), (*shape[:3], pixels)), self.ratio)

    def compute_output_spec(self, x):
        shape = self.compute_output_shape(x.shape)
        return keras.KerasTensor((*shape[:3], 1), _id_type(self.num_classes))


@keras.saving.register_keras_serializable(package="keras_dup")
class Unpack(layers.Layer):
    """Drops the last axis of what `PackedLabels` gives: (B, H, W, 1) -> (B, H, W)."""

    def call(self, x):
        return ops.squeeze(x, axis=-1)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape[:-1], x.dtype)


def _largest(scores):
    if keras.backend.backend() == "tensorflow":  # there Keras adds operations for the sign of zero
        import tensorflow as tf

        return tf.cast(tf.argmax(scores, -1, tf.int32), _id_type(scores.shape[-1]))
    return ops.cast(ops.argmax(scores, axis=-1), _id_type(scores.shape[-1]))


def _id_type(num_classes):
    return "uint8" if num_classes <= 256 else "int32"


class _Graph:
    """Who reads what in a functional model; the outputs of the model count as readers."""

    def __init__(self, model):
        nodes = [node for depth in model._nodes_by_depth.values() for node in depth]
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
            source = tensor._keras_history.operation
            if self.readers[id(tensor)] == 1 and len(self.calls[source]) == 1:
                return source
        return None


def _head(model):
    """The softmax that ends the model, and the linear DUpsampling that it gets its scores from."""
    graph, last = _Graph(model), model.outputs[0]._keras_history.operation
    is_softmax = isinstance(last, (layers.Softmax, AdaptiveTemperatureSoftmax)) or (
        isinstance(last, layers.Activation) and last.activation is keras.activations.softmax
    )
    if not is_softmax:
        return None, None
    source = graph.before(last)
    if isinstance(source, Crop):
        source = graph.before(source)
    return last, source if type(source) is DUpsampling else None


def _copy(model, replaced):
    """(copy of a model with batch norms folded, {old layer: new layer}).

    `replaced` maps layers to those that stand in their place, with the same weights.
    """
    model = keras.Model(model.inputs, model.outputs, name=model.name)  # without its optimizer
    norms, copies = _foldable(model), {}
    folded = set(norms.values())

    def copy(layer):
        if not isinstance(layer, layers.Layer):
            return layer  # of keras.ops: nothing to copy
        new = _skip if layer in norms else replaced.get(layer) or _copied(layer, layer in folded)
        if new is not _skip:
            copies[layer] = new
        return new

    def call(layer, *arguments, **keywords):
        return layer(*arguments, **keywords)

    clone = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for old, new in copies.items():
        if old not in folded and new.weights and not _is_functional(old):
            new.set_weights(old.get_weights())
    for norm, old in norms.items():
        _fold(norm, old, copies[old])
    return clone, copies


def _copied(layer, with_bias):
    if _is_functional(layer):
        return _copy(layer, {})[0]  # with its weights
    config = layer.get_config()
    return type(layer).from_config({**config, "use_bias": True} if with_bias else config)


def _is_functional(layer):
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


def _skip(x, *arguments, **keywords):
    return x


def _foldable(model):
    """{batch norm: the convolution before it}, where nothing else sees what is between."""
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
