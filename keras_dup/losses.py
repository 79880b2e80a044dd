"""Losses over the labelled pixels of a whole batch, which Keras does not have."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dup._label_maps import VOID
from keras_dup._loss_terms import Term, class_table, ids, over_replicas, valid_labels
from keras_dup._region_loss import RegionLoss

__all__ = ["PixelCrossentropy", "RegionLoss"]

_LEAST = 1e-30  # of 1 - p: its powers have a slope


@keras.saving.register_keras_serializable(package="keras_dup")
class PixelCrossentropy(Term):
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
        gamma: 0 or more. The loss of a pixel is multiplied by (1 - p) ** gamma, p the probability
            of its class: the focal loss (Lin et al. 2017; there 2), which looks away from pixels
            that are right. It excludes `label_smoothing`. Alpha of that paper is class_weights.
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
        gamma: float = 0.0,
        name: str = "pixel_crossentropy",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        if class_weights is not None and min(class_weights) <= 0:
            raise ValueError(f"class_weights={class_weights}; K positive numbers are expected")
        if hard_pixels is not None and not 0 < hard_pixels <= 1:
            raise ValueError(f"hard_pixels={hard_pixels}; a share in (0, 1] is expected")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing}; a number in [0, 1) is expected")
        if gamma < 0 or (gamma and label_smoothing):
            raise ValueError(
                f"gamma={gamma}, label_smoothing={label_smoothing}; gamma is 0 or more, and not "
                "together with label_smoothing"
            )
        self.ignore_class = ignore_class
        self.class_weights = class_weights
        self.hard_pixels = hard_pixels
        self.label_smoothing = label_smoothing
        self.from_logits = from_logits
        self.gamma = gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels, valid = valid_labels(ids(y_true, y_pred), self.ignore_class)
        losses = self._losses(labels, y_pred)
        weights = self.weights(labels, valid, losses, y_pred.shape[-1])
        total = over_replicas(ops.sum(weights))
        return ops.divide_no_nan(ops.sum(losses * weights), total)

    def weights(
        self, labels: Any, valid: Any, losses: Any, num_classes: int, pixels: int | None = None
    ) -> Any:
        """w of every pixel.

        Args:
            labels, valid: what `valid_labels` returns, (B, ...).
            losses: of every pixel, same shape; used for hard pixels only.
            num_classes: K.
            pixels: the number of pixels per image if some entries of (B, ...) are padding; None
                if there is no padding.
        """
        weights = valid
        if self.mines:
            weights = valid * _hardest(losses, valid, self.hard_pixels, pixels)
        if self.class_weights is not None:
            table = class_table(self.class_weights, num_classes)
            weights = weights * ops.take(table, labels, axis=0)
        return weights

    @property
    def mines(self) -> bool:
        """True if only hard pixels count."""
        return self.hard_pixels not in (None, 1)

    def _losses(self, labels, y_pred):
        """(B, H, W): the loss of each pixel; void is treated as class 0."""
        if keras.backend.backend() != "torch":
            return self._each(labels, y_pred)
        # there the gradient of Keras's cross-entropy fails on images
        pixels = self._each(ops.reshape(labels, (-1,)), ops.reshape(y_pred, (-1, y_pred.shape[-1])))
        return ops.reshape(pixels, labels.shape)

    def _each(self, labels, y_pred):
        """(...): the loss of labels (...), predictions (..., K)."""
        losses = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=self.from_logits)
        if self.gamma:
            return losses * focal_factor(losses, self.gamma)
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
            "gamma": self.gamma,
        }
        return {"name": self.name, "dtype": self.dtype, **config}


def focal_factor(losses: Any, gamma: float) -> Any:
    """(1 - p) ** gamma of pixels with the cross-entropy -log p."""
    return ops.power(ops.maximum(-ops.expm1(-losses), _LEAST), gamma)


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
