"""A network as it is deployed: batch norms and the temperature folded away, class ids come out.

Runs on every backend of Keras; what the exports write is what `fold` returns.
"""

import collections
import contextlib
import functools

import keras
import numpy as np
from keras import layers, ops

from keras_dup import _keras_private
from keras_dup.layers import AdaptiveTemperatureSoftmax, BilinearUpsampling, Crop, DUpsampling

OUTPUTS = ("label_map", "probabilities")
DTYPES = (None, "bfloat16")
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


def fold(model, output="label_map", dtype=None, jit_compile=False):
    """A copy of a network that gives the same label maps with fewer operations.

    Batch norm after a convolution becomes the convolution's kernel and bias. The temperature
    becomes part of W and of the mean; for a label map it is dropped with the softmax, since neither
    changes which class is largest, and the largest class of each pixel is found in the packed
    layout (B, h, w, r*r, K), so that only class ids are rearranged into pixels. The r rows of the
    windows come one after another: the scores of all pixels never exist at the same time.

    Args:
        model: what `keras_dup.models.build` returns, or any functional model of an image whose
            last axis are the scores of classes. It stays as it is.
        output: "label_map", (B, H, W) ids, uint8 up to 256 classes, else int32; or "probabilities",
            (B, H, W, K) float32, what `model` gives.
        dtype: None keeps that of each layer. "bfloat16" holds the weights up to DUpsampling, or up
            to the last upsampling, in it and computes with them: half the size, faster where the
            processor multiplies it (AVX512_BF16, AMX, GPUs, TPUs), slower elsewhere; class ids
            near a tie change.
        jit_compile: on TensorFlow XLA compiles the search for the largest class, the same ids in
            less time; each new size of an image then compiles once. For "label_map" of a
            DUpsampling network.

    Returns: a functional `keras.Model` for inference; training it further makes no sense.

    Raises:
        ValueError: unknown `output` or `dtype`; the model is not functional or has several outputs.
    """
    for name, value, known in (("output", output, OUTPUTS), ("dtype", dtype, DTYPES)):
        if value not in known:
            raise ValueError(f"fold: {name}={value!r}; it must be one of {known}")
    if not _keras_private.is_functional(model) or len(model.outputs) != 1:
        raise ValueError(f"fold: {model.name} must be a functional Keras model with one output")
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

    The rows of the windows come one after another, W and the mean cut accordingly: the scores of
    one or two of the r rows are all that exists at a time.

    Args:
        jit_compile: XLA compiles the search (TensorFlow). W's columns are then in the order
            (class, column in window), along which it is fast.

    Input: (B, h, w, C~).  Output: (B, h*r, w*r, 1), uint8 up to 256 classes, else int32.
    """

    def __init__(self, *arguments, jit_compile=False, **keywords):
        super().__init__(*arguments, **keywords)
        self.jit_compile = jit_compile and keras.backend.backend() == "tensorflow"

    def build(self, input_shape):
        scores = self.ratio * self.num_classes
        shape = (self.ratio, 1, 1, input_shape[-1], scores)
        self.kernel = self.add_weight(name="kernel", shape=shape)
        self.bias = self.add_weight(name="bias", shape=(self.ratio, scores), initializer="zeros")

    def assign_from(self, upsampling):
        """Takes W and the mean of a DUpsampling."""
        for name in ("kernel", "bias"):
            array = _numpy(getattr(upsampling, name))  # (..., r*r*K)
            array = array.reshape(*array.shape[:-1], self.ratio, self.ratio, self.num_classes)
            array = np.moveaxis(array, -3, 0)  # (r, ..., r, K)
            variable = getattr(self, name)
            array = np.swapaxes(array, -1, -2) if self.jit_compile else array
            variable.assign(array.reshape(variable.shape))

    def call(self, x):
        batch, height, width, _ = ops.shape(x)
        rows = []
        for row in range(self.ratio):
            with _after(rows[-2:-1]):
                scores = ops.conv(x, self.kernel[row], padding="valid") + self.bias[row]
                ids = self._search(scores)
                rows.append(ops.reshape(ids, (batch, height, 1, width * self.ratio)))
        ids = ops.concatenate(rows, axis=2)
        return ops.reshape(ids, (batch, height * self.ratio, width * self.ratio, 1))

    def _search(self, scores):
        if self.jit_compile:
            return _compiled_largest()(ops.reshape(scores, (-1, self.num_classes, self.ratio)))
        return _largest(ops.reshape(scores, (-1, self.ratio, self.num_classes)))

    def compute_output_spec(self, x):
        shape = self.compute_output_shape(x.shape)
        return keras.KerasTensor((*shape[:3], 1), _id_type(self.num_classes))

    def get_config(self):
        return {**super().get_config(), "jit_compile": self.jit_compile}


def _after(tensors):
    """In a TensorFlow graph what is made in it waits for `tensors`, so that memory is freed."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.control_dependencies(tensors)
    return contextlib.nullcontext()


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


@functools.cache
def _compiled_largest():
    """(N, K, P) -> (N, P): the largest along K, one pass over the scores."""
    import tensorflow as tf

    @tf.function(autograph=False, jit_compile=True)
    def largest(scores):
        best, ids = scores[:, 0], tf.zeros_like(scores[:, 0], tf.int32)  # as wide as a score
        for k in range(1, scores.shape[1]):
            ids = tf.where(scores[:, k] > best, k, ids)
            best = tf.maximum(best, scores[:, k])
        return tf.cast(ids, _id_type(scores.shape[1]))

    return largest


def _id_type(num_classes):
    return "uint8" if num_classes <= 256 else "int32"


class _Graph:
    """Who reads what in a functional model; the outputs of the model count as readers."""

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
    """The softmax that ends the model, and the linear DUpsampling that it gets its scores from."""
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
    """(copy of a model with batch norms folded, {old layer: new layer}).

    `replaced` maps layers to those that stand in their place, whose weights are the caller's
    business; `dtype` is that of the others, the head's excepted, or None.
    """
    model = keras.Model(model.inputs, model.outputs, name=model.name)  # without its optimizer
    norms, copies = _foldable(model), {}
    folded = set(norms.values())

    def copy(layer):
        if not isinstance(layer, layers.Layer):
            return layer  # of keras.ops: nothing to copy
        new = _skip if layer in norms else replaced.get(layer)
        new = new or _copied(layer, layer in folded, dtype)
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


def _copied(layer, with_bias, dtype):
    if _keras_private.is_functional(layer):
        return _copy(layer, {}, dtype)[0]  # with its weights
    config = layer.get_config()
    if with_bias:
        config["use_bias"] = True
    if dtype and not isinstance(layer, _HEAD) and not _is_softmax(layer):
        config["dtype"] = dtype
    return type(layer).from_config(config)


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
