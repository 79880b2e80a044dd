"""Losses that compare whole regions in place of pixels: Dice, Jaccard, Tversky, Lovasz."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dup._label_maps import VOID
from keras_dup._loss_terms import Term, class_table, ids, over_replicas, replicas, valid_labels

__all__ = ["RegionLoss"]

REGIONS = ("dice", "jaccard", "tversky", "lovasz")
_ALPHA_BETA = {"dice": (0.5, 0.5), "jaccard": (1.0, 1.0)}


@keras.saving.register_keras_serializable(package="keras_dup")
class RegionLoss(Term):
    """One minus the overlap of each class's region with its prediction, mean over the classes.

        overlap = TP / (TP + alpha FP + beta FN)
        TP = sum of p[x, k] t[x, k],  FP = sum of p[x, k] (1 - t[x, k]),  FN = sum of (1 - p) t

    x runs over the labelled pixels of the whole batch, over all replicas; p are probabilities, t is
    1 for the class of the label. A class that occurs in no label of the batch is left out of the
    mean; a batch without any label gives 0. Void has no part in any sum, and gets no gradient.

    Add it to a cross-entropy, which tells the network where it is wrong in the first steps:
    `losses.PixelCrossentropy() + losses.RegionLoss("dice")`. Weights go in front: `0.5 * ...`.

    Args:
        region: "dice", alpha = beta = 1/2; "jaccard" (IoU), alpha = beta = 1; "tversky" with the
            numbers that you give; or "lovasz", the Lovasz-Softmax loss (Berman et al. 2018): the
            errors |t - p| of a class from large to small, each times what it adds to 1 - IoU of
            the class when all larger ones are wrong pixels. It sorts the pixels of a replica, so
            under `tf.distribute` it is the mean of the losses of the replicas.
        alpha, beta: of "tversky": how much a false positive and a false negative count (Salehi et
            al. 2017). beta above alpha favours recall. `keras.losses.Tversky` of Keras 3.15 takes
            them the other way round than it says.
        ignore_class: the id of void, or None if there is none.
        class_weights: K numbers, 0 or more: weights of the classes in the mean. 0 leaves a class
            out, the background for instance.
        from_logits: True if predictions are logits. False if they are probabilities, as
            `keras_dup.models.build` gives them.

    Call: labels (B, H, W) integers, predictions (B, H, W, K) -> a scalar, computed in float32.

    Raises:
        ValueError: an argument is out of its range, or sample weights are given.
    """

    def __init__(
        self,
        region: str = "dice",
        alpha: float = 0.3,
        beta: float = 0.7,
        ignore_class: int | None = VOID,
        class_weights: Sequence[float] | None = None,
        from_logits: bool = False,
        name: str = "region_loss",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        if region not in REGIONS:
            raise ValueError(f"region={region!r}; it must be one of {REGIONS}")
        if not (alpha > 0 and beta > 0):
            raise ValueError(f"alpha={alpha}, beta={beta}; positive numbers are expected")
        if class_weights is not None and not (min(class_weights) >= 0 < max(class_weights)):
            raise ValueError(
                f"class_weights={class_weights}; K numbers are expected, none negative, not all 0"
            )
        self.region = region
        self.alpha, self.beta = alpha, beta
        self.ignore_class = ignore_class
        self.class_weights = class_weights
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels, valid = valid_labels(ids(y_true, y_pred), self.ignore_class)
        predicted = ops.cast(y_pred, "float32")
        predicted = ops.softmax(predicted, axis=-1) if self.from_logits else predicted
        num_classes = predicted.shape[-1]
        valid = ops.reshape(valid, (-1,))
        truth = ops.one_hot(ops.reshape(labels, (-1,)), num_classes, dtype="float32")
        truth = truth * valid[:, None]  # (N, K)
        predicted = ops.reshape(predicted, (-1, num_classes)) * valid[:, None]
        if self.region == "lovasz":
            return self._lovasz(truth, predicted, valid) / replicas()
        areas = [ops.sum(x, axis=0) for x in (truth * predicted, predicted, truth)]
        return self.value(over_replicas(ops.stack(areas))) / replicas()

    def value(self, areas: Any) -> Any:
        """The loss of a batch.

        Args: areas, (3, K): the sums of t p, of p and of t of each class over the labelled pixels.
        """
        both, _, true = ops.unstack(areas)
        overlap = ops.divide_no_nan(both, self._union(areas))
        return ops.sum(self.shares(true) * (1 - overlap))

    def slopes(self, areas: Any) -> tuple[Any, Any]:
        """The derivatives of `value`, (K,) each: with respect to the sums of t p and of p."""
        both, _, true = ops.unstack(areas)
        union, shares = self._union(areas), self.shares(true)
        overlap = ops.divide_no_nan(both, union)
        of_both = (1 - self.alpha_beta[0] - self.alpha_beta[1]) * overlap - 1
        return (
            ops.divide_no_nan(shares * of_both, union),
            ops.divide_no_nan(shares * self.alpha_beta[0] * overlap, union),
        )

    @property
    def alpha_beta(self) -> tuple[float, float]:
        """How much false positives and false negatives count."""
        return _ALPHA_BETA.get(self.region, (self.alpha, self.beta))

    def _union(self, areas):
        """TP + alpha FP + beta FN of each class."""
        both, predicted, true = ops.unstack(areas)
        alpha, beta = self.alpha_beta
        return both + alpha * (predicted - both) + beta * (true - both)

    def shares(self, true: Any) -> Any:
        """(K,): how much each class counts in the mean. Those without a label do not."""
        weights = class_table(self.class_weights, true.shape[0]) * ops.cast(true > 0, "float32")
        return ops.divide_no_nan(weights, ops.sum(weights))

    def _lovasz(self, truth, predicted, valid):
        """The Lovasz extension of 1 - IoU at the errors, mean over the classes of these pixels."""
        errors = ops.transpose(ops.abs(truth - predicted))  # (K, N)
        steps = ops.map(
            lambda one: _lovasz_steps(*one, valid),
            (ops.stop_gradient(errors), ops.transpose(truth)),
        )
        of_class = ops.sum(errors * ops.stop_gradient(steps), axis=1)
        return ops.sum(self.shares(ops.sum(truth, axis=0)) * of_class)

    def get_config(self) -> dict[str, Any]:
        names = ("region", "alpha", "beta", "ignore_class", "class_weights", "from_logits")
        config = {name: getattr(self, name) for name in names}
        return {"name": self.name, "dtype": self.dtype, **config}


def _lovasz_steps(errors, truth, valid):
    """(N,): by how much each pixel raises 1 - IoU, if it is wrong and all of larger errors are.

    Without differences of nearly equal numbers: a pixel of the class leaves the intersection, so
    1 / union; another one joins the union, so intersection * (1 / (union - 1) - 1 / union).
    """
    order = ops.argsort(-ops.where(valid > 0, errors, -1.0))  # void is last
    inside = ops.cast(ops.take(truth, order), "int32")
    total = ops.sum(inside)
    both = ops.cast(total - ops.cumsum(inside), "float32")
    union = ops.cast(total + ops.cumsum(1 - inside), "float32")
    outside = both / ops.maximum(union, 1.0) / ops.maximum(union - 1, 1.0)
    steps = ops.where(inside > 0, 1 / ops.maximum(union, 1.0), outside)
    return ops.take(steps, ops.argsort(order))
