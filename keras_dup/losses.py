"""Losses over the labelled pixels of a whole batch, which Keras does not have."""

import math

import keras
from keras import ops

from keras_dup.projection.compression import LabelCompression

VOID = 255


@keras.saving.register_keras_serializable(package="keras_dup")
class PixelCrossentropy(keras.losses.Loss):
    """The mean cross-entropy of the labelled pixels of the whole batch, over all replicas.

        sum of w[p] * loss[p] / sum of w[p],    p over the pixels of all replicas, w = 0 where void

    Under `tf.distribute` Keras's own losses are means of the replicas' means, in which a pixel
    counts more where its replica has more void. Here all count alike, so that the number of
    replicas changes nothing; a batch without any label gives 0.

    Args:
        ignore_class: the id of void, or None if there is none.
        class_weights: one positive number a class; a pixel of class k then has w = weights[k].
        hard_pixels: a share in (0, 1]: only that share of an image's pixels counts, those with the
            largest loss among the labelled (online hard pixel mining); None and 1: all.
        label_smoothing: e in [0, 1): the target is 1 - e for the class, and e / K for each of
            the K classes in addition.
        from_logits: predictions are logits, as against the probabilities that
            `keras_dup.models.build` gives. On TensorFlow Keras finds the logits of a model that
            ends in softmax; elsewhere probabilities are clipped at `keras.config.epsilon()`.

    Calling it: labels (B, H, W) integers and predictions (B, H, W, K) -> a number.

    Raises:
        ValueError: an argument is out of its range, or sample weights are given.
    """

    def __init__(
        self,
        ignore_class=VOID,
        class_weights=None,
        hard_pixels=None,
        label_smoothing=0.0,
        from_logits=False,
        name="pixel_crossentropy",
        dtype=None,
    ):
        super().__init__(name=name, reduction="sum", dtype=dtype)
        if class_weights is not None and min(class_weights) <= 0:
            raise ValueError(f"class_weights must be positive, one a class: {class_weights}")
        if hard_pixels is not None and not 0 < hard_pixels <= 1:
            raise ValueError(f"hard_pixels is a share in (0, 1], not {hard_pixels}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is in [0, 1), not {label_smoothing}")
        self.ignore_class = ignore_class
        self.class_weights = class_weights
        self.hard_pixels = hard_pixels
        self.label_smoothing = label_smoothing
        self.from_logits = from_logits

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            raise ValueError(
                "PixelCrossentropy takes no sample weights; give class_weights to the loss itself"
            )
        return super().__call__(y_true, y_pred)

    def call(self, y_true, y_pred):
        labels = ops.cast(y_true, "int32")  # (B, H, W)
        if len(labels.shape) == len(y_pred.shape):
            labels = ops.squeeze(labels, -1)
        labels, valid = self.valid(labels)
        losses = self._losses(labels, y_pred)
        weights = self.weights(labels, valid, losses, y_pred.shape[-1])
        total = over_replicas(ops.sum(weights))
        return ops.divide_no_nan(ops.sum(losses * weights), total)

    def valid(self, labels):
        """Labels with 0 in place of void and of negative ones; 1.0 where they were neither."""
        valid = labels >= 0
        if self.ignore_class is not None:
            valid = ops.logical_and(valid, ops.not_equal(labels, self.ignore_class))
        return ops.where(valid, labels, 0), ops.cast(valid, "float32")

    def weights(self, labels, valid, losses, num_classes, pixels=None):
        """w of every pixel.

        Args:
            labels, valid: as `valid` gives them, (B, ...).
            losses: of every pixel, of the same shape; read for hard pixels alone.
            num_classes: K.
            pixels: of an image, where (B, ...) has some that are none; None: all are.
        """
        weights = valid
        if self.mines:
            weights = valid * _hardest(losses * valid, self.hard_pixels, pixels)
        if self.class_weights is not None:
            if len(self.class_weights) != num_classes:
                classes = f"{len(self.class_weights)} class_weights, {num_classes} classes"
                raise ValueError(f"{classes}: one a class is expected")
            table = ops.convert_to_tensor(self.class_weights, "float32")
            weights = weights * ops.take(table, labels, axis=0)
        return weights

    @property
    def mines(self):
        """Whether only hard pixels count."""
        return self.hard_pixels not in (None, 1)

    def _losses(self, labels, y_pred):
        """(B, H, W): of each pixel, void as if it were class 0."""
        losses = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=self.from_logits)
        if not self.label_smoothing:
            return losses
        if self.from_logits:
            every = ops.logsumexp(y_pred, axis=-1) - ops.mean(y_pred, axis=-1)
        else:
            every = -ops.mean(ops.log(ops.maximum(y_pred, keras.config.epsilon())), axis=-1)
        return (1 - self.label_smoothing) * losses + self.label_smoothing * every

    def get_config(self):
        config = {
            "ignore_class": self.ignore_class,
            "class_weights": self.class_weights,
            "hard_pixels": self.hard_pixels,
            "label_smoothing": self.label_smoothing,
            "from_logits": self.from_logits,
        }
        return {"name": self.name, "dtype": self.dtype, **config}


class CompressedLabelsError(keras.losses.Loss):
    """Eq. 4: the squared distance between features and compressed labels, the mean of the windows.

    Windows that are void throughout are left out; in others void is filled in from the nearest
    label. As in `PixelCrossentropy`, the mean is over all replicas.

    Args:
        projection: a `keras_dup.projection.LabelProjection`.

    Calling it: labels (B, H, W), features (B, ceil(H/r), ceil(W/r), C~) -> a number.
    """

    def __init__(self, projection, name="compressed_labels_error"):
        super().__init__(name=name, reduction="sum")
        self.compress = LabelCompression(projection)

    def call(self, y_true, y_pred):
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


def over_replicas(value):
    """The sum of `value` over the replicas of `tf.distribute`; elsewhere `value` itself.

    On JAX a batch over several devices is one array, whose sum is that of all devices already.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            return context.all_reduce(tf.distribute.ReduceOp.SUM, value)
    return value


def _hardest(losses, share, pixels=None):
    """(B, H, W): 1 for the `share` of an image's pixels with the largest losses, else 0."""
    flat = ops.reshape(ops.stop_gradient(losses), (-1, math.prod(losses.shape[1:])))
    largest, _ = ops.top_k(flat, max(1, round(share * (pixels or flat.shape[1]))))
    return ops.cast(losses >= largest[:, -1:, None], losses.dtype)
