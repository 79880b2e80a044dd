"""Losses over the labelled pixels of a whole batch, which Keras does not have."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dup._label_maps import VOID
from keras_dup.projection import LabelProjection
from keras_dup.projection._compression import LabelCompression

__all__ = ["CompressedLabelsError", "PixelCrossentropy"]


@keras.saving.register_keras_serializable(package="keras_dup")
class PixelCrossentropy(keras.losses.Loss):
    """The mean cross-entropy of the labelled pixels of the whole batch, over all replicas.

        sum of w[p] * loss[p] / sum of w[p],    p over the pixels of all replicas, w = 0 where void

    Under `tf.distribute` the losses of Keras are means of the means of the replicas. A pixel then
    counts more if its replica has more void. Here all pixels count the same, so the number of
    replicas changes nothing. A batch without any label gives 0.

    Args:
        ignore_class: the id of void, or None if there is none.
        class_weights: K positive numbers; a pixel of class k has w = class_weights[k].
        hard_pixels: a share in (0, 1]. Only this share of the pixels of each image counts: the
            labelled pixels with the largest losses (online hard pixel mining). Of pixels with the
            same loss that do not all fit in, each counts in part. None and 1 count all pixels.
        label_smoothing: e in [0, 1). The target is 1 - e for the class of the label, plus e / K
            for each of the K classes.
        from_logits: True if predictions are logits. False if they are probabilities, as
            `keras_dup.models.build` gives them. On TensorFlow Keras finds the logits of a model
            that ends in softmax. Elsewhere it clips probabilities at `keras.config.epsilon()`.

    Call: labels (B, H, W) integers, predictions (B, H, W, K) -> a scalar.

    Raises:
        ValueError: an argument is out of its range, or sample weights are given.
    """

    def __init__(
        self,
        ignore_class: int | None = VOID,
        class_weights: Sequence[float] | None = None,
        hard_pixels: float | None = None,
        label_smoothing: float = 0.0,
        from_logits: bool = False,
        name: str = "pixel_crossentropy",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, reduction="sum", dtype=dtype)
        if class_weights is not None and min(class_weights) <= 0:
            raise ValueError(f"class_weights={class_weights}; K positive numbers are expected")
        if hard_pixels is not None and not 0 < hard_pixels <= 1:
            raise ValueError(f"hard_pixels={hard_pixels}; a share in (0, 1] is expected")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing}; a number in [0, 1) is expected")
        self.ignore_class = ignore_class
        self.class_weights = class_weights
        self.hard_pixels = hard_pixels
        self.label_smoothing = label_smoothing
        self.from_logits = from_logits

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is not None:
            raise ValueError(
                "PixelCrossentropy takes no sample weights; give class_weights to the loss instead"
            )
        return super().__call__(y_true, y_pred)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.cast(y_true, "int32")  # (B, H, W)
        if len(labels.shape) == len(y_pred.shape):
            labels = ops.squeeze(labels, -1)
        labels, valid = self.valid(labels)
        losses = self._losses(labels, y_pred)
        weights = self.weights(labels, valid, losses, y_pred.shape[-1])
        total = over_replicas(ops.sum(weights))
        return ops.divide_no_nan(ops.sum(losses * weights), total)

    def valid(self, labels: Any) -> tuple[Any, Any]:
        """Labels with 0 in place of void and negative ids, and a mask: 1.0 if labelled, else 0."""
        valid = labels >= 0
        if self.ignore_class is not None:
            valid = ops.logical_and(valid, ops.not_equal(labels, self.ignore_class))
        return ops.where(valid, labels, 0), ops.cast(valid, "float32")

    def weights(
        self, labels: Any, valid: Any, losses: Any, num_classes: int, pixels: int | None = None
    ) -> Any:
        """w of every pixel.

        Args:
            labels, valid: what `valid` returns, (B, ...).
            losses: of every pixel, same shape; used for hard pixels only.
            num_classes: K.
            pixels: the number of pixels per image if some entries of (B, ...) are padding; None
                if there is no padding.
        """
        weights = valid
        if self.mines:
            weights = valid * _hardest(losses, valid, self.hard_pixels, pixels)
        if self.class_weights is not None:
            if len(self.class_weights) != num_classes:
                classes = f"{len(self.class_weights)} class_weights, {num_classes} classes"
                raise ValueError(f"{classes}: one weight per class is expected")
            table = ops.convert_to_tensor(self.class_weights, "float32")
            weights = weights * ops.take(table, labels, axis=0)
        return weights

    @property
    def mines(self) -> bool:
        """True if only hard pixels count."""
        return self.hard_pixels not in (None, 1)

    def _losses(self, labels, y_pred):
        """(B, H, W): the loss of each pixel; void is treated as class 0."""
        losses = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=self.from_logits)
        if not self.label_smoothing:
            return losses
        # through Keras, which finds the logits of probabilities for both terms or for none
        uniform = ops.ones_like(y_pred) / y_pred.shape[-1]
        every = ops.categorical_crossentropy(uniform, y_pred, from_logits=self.from_logits)
        return (1 - self.label_smoothing) * losses + self.label_smoothing * every

    def get_config(self) -> dict[str, Any]:
        config = {
            "ignore_class": self.ignore_class,
            "class_weights": self.class_weights,
            "hard_pixels": self.hard_pixels,
            "label_smoothing": self.label_smoothing,
            "from_logits": self.from_logits,
        }
        return {"name": self.name, "dtype": self.dtype, **config}


class CompressedLabelsError(keras.losses.Loss):
    """The squared distance between features and compressed labels, mean over windows (Eq. 4).

    Windows without any label are left out. In the other windows void takes the nearest label. As
    in `PixelCrossentropy`, the mean is over all replicas.

    Args:
        projection: a `keras_dup.projection.LabelProjection`.

    Call: labels (B, H, W), features (B, ceil(H/r), ceil(W/r), C~) -> a scalar.
    """

    def __init__(self, projection: LabelProjection, name: str = "compressed_labels_error") -> None:
        super().__init__(name=name, reduction="sum")
        self.compress = LabelCompression(projection)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        squares = ops.square(ops.cast(y_pred, "float32") - self.compress(y_true))
        windows = self._labelled(ops.cast(y_true, "int32"))
        total = over_replicas(ops.sum(windows))
        return ops.divide_no_nan(ops.sum(ops.sum(squares, axis=-1) * windows), total)

    def _labelled(self, labels):
        """(B, H, W) -> (B, h, w): 1 where a window has a label, else 0."""
        ratio, void = self.compress.projection.ratio, self.compress.projection.ignore_class
        if void is None:
            return ops.ones_like(labels[:, ::ratio, ::ratio], dtype="float32")
        valid = ops.cast(ops.not_equal(labels, void), "float32")[..., None]
        missing = [(0, -side % ratio) for side in labels.shape[1:]]
        valid = ops.pad(valid, ((0, 0), *missing, (0, 0)))
        return ops.max_pool(valid, ratio, ratio)[..., 0]


def over_replicas(value: Any) -> Any:
    """The sum of `value` over the replicas of `tf.distribute`; without replicas `value` itself.

    On JAX a batch over several devices is one array, so a sum is over all devices already.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
    return value


def _hardest(losses, valid, share, pixels=None):
    """(B, ...): weights in 0..1 of the `share` of an image's pixels with the largest losses.

    The weights of an image add up to `share` of its pixels, or to its valid pixels if these are
    fewer. Pixels of one loss, of which only some fit in, share what is left.
    """
    losses = ops.where(valid > 0, ops.stop_gradient(losses), -math.inf)
    flat = ops.reshape(losses, (-1, math.prod(losses.shape[1:])))
    count = max(1, round(share * (pixels or flat.shape[1])))
    largest, _ = ops.top_k(flat, count)
    least = largest[:, -1:]
    above, tied = (ops.cast(x, "float32") for x in (flat > least, flat == least))
    left = count - ops.sum(above, axis=1, keepdims=True)
    tied = tied * left / ops.sum(tied, axis=1, keepdims=True)
    return ops.reshape(above + tied, ops.shape(losses))
