"""The layers of the decoder: DUpsampling, the adaptive-temperature softmax, and how sizes meet.

Written with `keras.ops`: every backend of Keras runs the same code.
"""

import math
from typing import Any

import keras
from keras import ops

from keras_dup._edges import upper_left, with_edge

__all__ = [
    "AdaptiveTemperatureSoftmax",
    "BilinearUpsampling",
    "Crop",
    "DUpsampling",
    "EdgePadding",
]


@keras.saving.register_keras_serializable(package="keras_dup")
class DUpsampling(keras.layers.Layer):
    """Turns each feature vector into an r x r window of class scores (Tian et al. 2019, Sec. 3.1).

        y[b, i*r + p, j*r + q, k] = sum_c x[b, i, j, c] W[c, n] + mean[n],    n = (p*r + q)*K + k

    A 1x1 convolution with the kernel W and the bias `mean`, then `depth_to_space`.

    Args:
        num_classes: K, the number of classes.
        ratio: r, the side of a window in pixels, at least 2; the stride of the input features.
        projection: a `LabelProjection`, or anything with `matrix` (C~, r*r*K), `mean` (r*r*K,),
            `ratio` and `num_classes`. None draws W at random with orthonormal rows and a zero mean,
            for saved models, whose weights hold W, and for `set_projection` later.
        trainable: False keeps W and the mean of the projection in training (the paper).

    Input: (B, h, w, C~).  Output: (B, h*r, w*r, K), logits.

    Raises:
        ValueError: the projection is of another ratio, class count or number of channels.
    """

    def __init__(
        self,
        num_classes: int,
        ratio: int,
        projection: Any = None,
        trainable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable=trainable, **kwargs)
        if ratio < 2:
            raise ValueError(f"DUpsampling: ratio is {ratio}; it must be at least 2")
        self.num_classes = num_classes
        self.ratio = ratio
        self.projection = projection
        if projection is not None:
            self._check(projection)

    def build(self, input_shape):
        channels, scores = input_shape[-1], self.ratio**2 * self.num_classes
        if channels is None:
            raise ValueError("DUpsampling: the number of input channels must be known")
        matrix, mean = "orthogonal", "zeros"
        if self.projection is not None:
            self._check_channels(self.projection, channels)
            # initializers, since an `assign` is lost where Keras builds symbolically
            matrix, mean = map(_constant, (self.projection.matrix, self.projection.mean))
        self.kernel = self.add_weight(
            name="kernel", shape=(1, 1, channels, scores), initializer=matrix
        )
        self.bias = self.add_weight(name="bias", shape=(scores,), initializer=mean)

    def set_projection(self, projection: Any) -> None:
        """Replaces W and the mean of a built layer by the ones of `projection`.

        Raises:
            ValueError: the projection is of another ratio, class count or number of channels.
        """
        self._check(projection)
        self._check_channels(projection, self.kernel.shape[2])
        self.kernel.assign(projection.matrix[None, None])
        self.bias.assign(projection.mean)

    def call(self, x):
        x = ops.conv(x, self.kernel, padding="valid") + self.bias  # (B, h, w, r*r*K)
        return ops.depth_to_space(x, self.ratio)  # (B, h*r, w*r, K)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sides = [None if side is None else side * self.ratio for side in (height, width)]
        return (batch, *sides, self.num_classes)

    def get_config(self):
        # W is a weight: what is saved needs no projection file
        config = {"num_classes": self.num_classes, "ratio": self.ratio, "trainable": self.trainable}
        return {**super().get_config(), **config}

    def _check(self, projection):
        fitted_for = (projection.ratio, projection.num_classes)
        if fitted_for != (self.ratio, self.num_classes):
            raise ValueError(
                f"{self.name}: the projection was fitted for ratio {fitted_for[0]} and "
                f"{fitted_for[1]} classes, the layer has ratio {self.ratio} and "
                f"{self.num_classes} classes; fit one with ratio={self.ratio}, "
                f"num_classes={self.num_classes}"
            )

    def _check_channels(self, projection, channels):
        fitted = len(projection.matrix)
        if fitted != channels:
            raise ValueError(
                f"{self.name}: the projection has {fitted} channels, the features have {channels}; "
                f"fit it with channels={channels}, or build the model with channels={fitted}"
            )


def _constant(array):
    return lambda shape, dtype: ops.convert_to_tensor(array.reshape(shape), dtype)


@keras.saving.register_keras_serializable(package="keras_dup")
class AdaptiveTemperatureSoftmax(keras.layers.Layer):
    """Softmax over the last axis with a learned temperature T (Tian et al. 2019, Eq. 6).

        y[k] = exp(x[k] / T) / sum_j exp(x[j] / T),    T = exp(log_temperature)

    The exponential keeps T positive; a plain T does not train together with DUpsampling. The layer
    computes in float32 under mixed precision. Exclude T from weight decay, which would pull it
    towards 1: `optimizer.exclude_from_weight_decay(var_names=["log_temperature"])`. Where this
    layer ends a model, `SparseCategoricalCrossentropy()` on its probabilities is exact on
    TensorFlow, since Keras finds the logits; elsewhere Keras clips probabilities at
    `keras.config.epsilon()`.

    Args:
        temperature: T at the start, positive.

    Input: (..., K), logits.  Output: (..., K), float32 probabilities.

    Raises:
        ValueError: temperature is not positive.
    """

    def __init__(self, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        if temperature <= 0:
            raise ValueError(f"AdaptiveTemperatureSoftmax: temperature {temperature} is not > 0")
        self.temperature = temperature

    def build(self, input_shape):
        self.log_temperature = self.add_weight(
            name="log_temperature",
            shape=(),
            initializer=keras.initializers.Constant(math.log(self.temperature)),
        )

    def call(self, x):
        return keras.activations.softmax(x * ops.exp(-self.log_temperature))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="keras_dup")
class BilinearUpsampling(keras.layers.Layer):
    """Bilinear interpolation between features that sit at the pixels 0, r, 2r, ...

        y[b, i*r + p] = (1 - s) x[b, i] + s x[b, i + 1],    s = p/r,    rows, then columns

    Features sit at the first pixels of their windows, as the backbones place them at any size of
    the image. For h features this covers (h - 1)*r + 1 rows (33 features at r = 16: 513 rows), on
    which it equals DeepLab's resize with aligned corners; the last feature is repeated after them.

    Args:
        ratio: r, at least 2.
        centred: features sit at the centres of windows, as patches of a vision transformer do:
            s = (p + 1/2)/r - 1/2, from i to i - 1 where it is negative; edges are repeated.

    Input: (B, h, w, C).  Output: (B, h*r, w*r, C).
    """

    def __init__(self, ratio: int, centred: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio, self.centred = ratio, centred

    def call(self, x):
        if keras.backend.backend() == "tensorflow":
            return self._call_tensorflow(x)
        return self._upsample(self._upsample(x, 1), 2)

    def _call_tensorflow(self, x):
        # one kernel, known to LiteRT; `keras.ops` has no resize with aligned corners
        import tensorflow as tf

        height, width = (side * self.ratio for side in ops.shape(x)[1:3])
        if self.centred:
            y = tf.raw_ops.ResizeBilinear(images=x, size=(height, width), half_pixel_centers=True)
            return tf.cast(y, x.dtype)
        x = with_edge(with_edge(x, 1), 2)
        y = tf.raw_ops.ResizeBilinear(images=x, size=(height + 1, width + 1), align_corners=True)
        return tf.cast(upper_left(y, height, width), x.dtype)

    def _upsample(self, x, axis):
        size = x.shape[axis]
        before, after = (
            ops.take(x, [min(max(i + d, 0), size - 1) for i in range(size)], axis=axis)
            for d in (-1, 1)
        )
        start = (1 - self.ratio) / 2 if self.centred else 0
        shares = [(start + p) / self.ratio for p in range(self.ratio)]
        y = [x * (1 - abs(s)) + (before if s < 0 else after) * abs(s) for s in shares]
        shape = (*x.shape[:axis], size * self.ratio, *x.shape[axis + 1 :])
        return ops.reshape(ops.stack(y, axis=axis + 1), shape)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sides = [None if side is None else side * self.ratio for side in (height, width)]
        return (batch, *sides, channels)

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "centred": self.centred}


@keras.saving.register_keras_serializable(package="keras_dup")
class Subsampling(keras.layers.Layer):
    """Takes every k-th row and column: `x[:, start::k, start::k]`, the downsample of Eq. 8.

    On the paper's sizes (513 pixels) this is bilinear downsampling with aligned corners. It gives
    ceil(H / k) rows at any size: a position beyond the edge is read from the edge.

    Args:
        stride: k.
        start: the first row and column, 0..k-1; k // 2 samples at the centres of windows.

    Input: (B, H, W, C).  Output: (B, ceil(H/k), ceil(W/k), C).
    """

    def __init__(self, stride: int, start: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stride, self.start = stride, start

    def call(self, x):
        return self.completed(x)[:, self.start :: self.stride, self.start :: self.stride]

    def completed(self, x: Any) -> Any:
        """x with its edge repeated as far as the last position may lie beyond it."""
        for axis in (1, 2):
            size, missing = ops.shape(x)[axis], self.start
            if isinstance(size, int):  # known beforehand
                missing = self.start - (size - 1) % self.stride
            x = with_edge(x, axis, missing)
        return x

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sides = [None if side is None else -(-side // self.stride) for side in (height, width)]
        return (batch, *sides, channels)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride, "start": self.start}


@keras.saving.register_keras_serializable(package="keras_dup")
class EdgePadding(keras.layers.Layer):
    """Repeats the last row and column until height and width are multiples of `multiple`.

    Args:
        multiple: m.

    Input: (B, H, W, C).  Output: (B, ceil(H/m)*m, ceil(W/m)*m, C).
    """

    def __init__(self, multiple: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x):
        for axis in (1, 2):
            size = ops.shape(x)[axis]
            if isinstance(size, int):  # known beforehand
                x = with_edge(x, axis, -size % self.multiple)
                continue
            # ONNX divides integers towards 0: nothing negative here
            padded = (size + self.multiple - 1) // self.multiple * self.multiple
            x = ops.take(x, ops.minimum(ops.arange(padded), size - 1), axis=axis)
        return x

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        sides = [side and -(-side // self.multiple) * self.multiple for side in (height, width)]
        return (batch, *sides, channels)

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable(package="keras_dup")
class BorderPadding(keras.layers.Layer):
    """Repeats the first and the last row and column once.

    Input: (B, h, w, C).  Output: (B, h + 2, w + 2, C).
    """

    def call(self, x):
        return ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="symmetric")

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, *(side and side + 2 for side in (height, width)), channels)


@keras.saving.register_keras_serializable(package="keras_dup")
class Crop(keras.layers.Layer):
    """Crops the first input at the bottom and right to the height and width of the second.

    Input: [(B, H', W', C), (B, H, W, any)] with H' >= H, W' >= W.  Output: (B, H, W, C).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def call(self, inputs):
        x, like = inputs
        return upper_left(x, *ops.shape(like)[1:3])

    def compute_output_spec(self, inputs):
        (batch, _, _, channels), (_, height, width, _) = (x.shape for x in inputs)
        return keras.KerasTensor((batch, height, width, channels), inputs[0].dtype)


@keras.saving.register_keras_serializable(package="keras_dup")
class BroadcastLike(keras.layers.Layer):
    """Repeats one vector per image at every position of the second input.

    Input: [(B, 1, 1, C), (B, h, w, any)].  Output: (B, h, w, C).
    """

    def call(self, inputs):
        x, like = inputs
        return x * ops.ones_like(like[..., :1], dtype=x.dtype)  # XNNPACK adds no zeros of 8 bits

    def compute_output_shape(self, input_shapes):
        (batch, _, _, channels), (_, height, width, _) = input_shapes
        return (batch, height, width, channels)
