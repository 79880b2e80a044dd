"""The end of a network that answers with class ids: the largest class, found before the shuffle."""

import contextlib
import functools

import keras
import numpy as np
from keras import layers, ops

from keras_dup.layers import DUpsampling

__all__ = ["LabelMap", "PackedLabels", "Unpack"]


@keras.saving.register_keras_serializable(package="keras_dup")
class LabelMap(layers.Layer):
    """The class of the largest score.

    Input: (B, H, W, K).  Output: (B, H, W), uint8 up to 256 classes, else int32.
    """

    def call(self, x):
        return ops.cast(_largest(x), _id_type(x.shape[-1]))

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape[:-1], _id_type(x.shape[-1]))


@keras.saving.register_keras_serializable(package="keras_dup")
class PackedLabels(DUpsampling):
    """DUpsampling that finds the class of each pixel before it rearranges windows into pixels.

    It computes one row of all windows at a time, with the columns of W and of the mean for that
    row, so that the scores of one or two of the r rows exist at the same time.

    Args:
        jit_compile: XLA compiles the search for the largest class (TensorFlow). The columns of W
            are then in the order (class, column in window), in which the search is fast.

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
        """Sets W and the mean from a `DUpsampling` layer."""
        for name in ("kernel", "bias"):
            array = ops.convert_to_numpy(getattr(upsampling, name))  # (..., r*r*K)
            array = array.reshape(*array.shape[:-1], self.ratio, self.ratio, self.num_classes)
            array = np.moveaxis(array, -3, 0)  # (r, ..., r, K)
            variable = getattr(self, name)
            array = np.swapaxes(array, -1, -2) if self.jit_compile else array
            variable.assign(array.reshape(variable.shape))

    def call(self, x):
        if keras.backend.backend() == "jax":
            from keras_dup._jax import head

            if head.fits(x):
                tiled, in_rows = (functools.partial(f, x) for f in (self._tiled, self._in_rows))
                return head.on_gpu(tiled, in_rows)
        return self._in_rows(x)

    def _tiled(self, x):
        from keras_dup._jax import head

        batch, height, width, channels = x.shape
        shape = self.ratio, channels, self.ratio, self.num_classes
        kernel = ops.transpose(ops.reshape(self.kernel, shape), (3, 1, 0, 2))
        bias = ops.reshape(self.bias, (self.ratio**2, self.num_classes))
        ids = head.class_ids(
            ops.reshape(x, (-1, channels)),
            ops.reshape(kernel, (self.num_classes, channels, self.ratio**2)),
            ops.transpose(bias),
        )
        ids = ops.cast(ids, _id_type(self.num_classes))
        ids = ops.reshape(ids, (batch, height, width, self.ratio**2))
        return ops.depth_to_space(ids, self.ratio)

    def _in_rows(self, x):
        batch, height, width, _ = ops.shape(x)
        rows = []
        for row in range(self.ratio):
            with _after(rows[-2:-1]):
                scores = ops.conv(x, self.kernel[row], padding="valid") + self.bias[row]
                rows.append(self._search(scores, width * self.ratio))
        ids = ops.cast(ops.stack(rows, axis=1), _id_type(self.num_classes))  # (B*h, r, w*r)
        return ops.reshape(ids, (batch, height * self.ratio, width * self.ratio, 1))

    def _search(self, scores, width):
        """Class ids (B*h, width)."""
        if self.jit_compile:
            scores = ops.reshape(scores, (-1, self.num_classes, self.ratio))
            return ops.reshape(_compiled_largest()(scores), (-1, width))
        # XNNPACK reshapes scores, not class ids; of more axes TensorFlow's argmax is slower
        return _largest(ops.reshape(scores, (-1, width, self.num_classes)))

    def compute_output_spec(self, x):
        shape = self.compute_output_shape(x.shape)
        return keras.KerasTensor((*shape[:3], 1), _id_type(self.num_classes))

    def get_config(self):
        return {**super().get_config(), "jit_compile": self.jit_compile}


def _after(tensors):
    """In a TensorFlow graph operations made inside wait for `tensors`: memory is freed."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.control_dependencies(tensors)
    return contextlib.nullcontext()


@keras.saving.register_keras_serializable(package="keras_dup")
class Unpack(layers.Layer):
    """Drops the last axis of the output of `PackedLabels`: (B, H, W, 1) -> (B, H, W)."""

    def call(self, x):
        return ops.squeeze(x, axis=-1)

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape[:-1], x.dtype)


def _largest(scores):
    if keras.backend.backend() == "tensorflow":  # there Keras adds operations for the sign of zero
        import tensorflow as tf

        return tf.argmax(scores, -1, tf.int32)
    return ops.argmax(scores, axis=-1)


@functools.cache
def _compiled_largest():
    """A compiled function (N, K, P) -> (N, P): the index of the largest along K, in one pass."""
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
