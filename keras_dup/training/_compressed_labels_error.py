"""What features are trained to meet before the loss of pixels: the compressed labels (Eq. 4)."""

from typing import Any

import keras
from keras import ops

from keras_dup._loss_terms import over_replicas
from keras_dup.projection import LabelProjection
from keras_dup.projection._compression import LabelCompression


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
