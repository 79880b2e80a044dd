"""What the losses of labelled pixels have in common: void, replicas, and sums of losses."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

__all__ = ["LossSum", "Term", "over_replicas", "replicas", "valid_labels"]


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


def replicas() -> Any:
    """The number of replicas; 1 on JAX, where a batch over several devices is one array."""
    return over_replicas(ops.ones(()))


def valid_labels(labels: Any, ignore_class: int | None) -> tuple[Any, Any]:
    """Labels with 0 in place of void and negative ids, and a mask: 1.0 if labelled, else 0."""
    valid = labels >= 0
    if ignore_class is not None:
        valid = ops.logical_and(valid, ops.not_equal(labels, ignore_class))
    return ops.where(valid, labels, 0), ops.cast(valid, "float32")


class Term(keras.losses.Loss):
    """A loss over all labelled pixels of a batch, which can be weighted and added to others.

        losses.PixelCrossentropy() + 0.5 * losses.RegionLoss("dice")

    Its value is this replica's part: the values of all replicas add up to the loss.
    """

    def __init__(self, name: str, dtype: str | None = None) -> None:
        super().__init__(name=name, reduction="sum", dtype=dtype)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} takes no sample weights; give class_weights to the loss "
                "instead"
            )
        return super().__call__(y_true, y_pred)

    def __add__(self, other: "Term") -> "LossSum":
        if not isinstance(other, Term):
            return NotImplemented
        return LossSum([*weighted(self), *weighted(other)])

    def __rmul__(self, weight: float) -> "LossSum":
        return LossSum([(weight * own, term) for own, term in weighted(self)])


def weighted(loss: Term) -> list[tuple[float, Term]]:
    """[(weight, loss)] of what a loss is the sum of; of no sum the loss itself."""
    return list(loss.terms) if isinstance(loss, LossSum) else [(1.0, loss)]


def ids(y_true: Any, y_pred: Any) -> Any:
    """The labels as int32 (B, H, W), from (B, H, W) or (B, H, W, 1)."""
    labels = ops.cast(y_true, "int32")
    return ops.squeeze(labels, -1) if len(labels.shape) == len(y_pred.shape) else labels


def class_table(class_weights: Sequence[float] | None, num_classes: int) -> Any:
    """The weights of the classes as a tensor (K,), 1 each by default; ValueError if not K."""
    if class_weights is None:
        return ops.ones((num_classes,), "float32")
    if len(class_weights) != num_classes:
        classes = f"{len(class_weights)} class_weights, {num_classes} classes"
        raise ValueError(f"{classes}: one weight per class is expected")
    return ops.convert_to_tensor(class_weights, "float32")


@keras.saving.register_keras_serializable(package="keras_dup")
class LossSum(Term):
    """A weighted sum of losses: what `+` and `*` of losses return.

    Args: terms, [(weight, loss)].
    """

    def __init__(
        self, terms: Sequence[tuple[float, Term]], name: str = "sum", dtype: str | None = None
    ) -> None:
        super().__init__(name, dtype)
        for weight, _ in terms:
            if not weight > 0:
                raise ValueError(f"the weight of a loss is {weight}; a positive number is expected")
        self.terms = [(float(weight), term) for weight, term in terms]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return sum(weight * term.call(y_true, y_pred) for weight, term in self.terms)

    def get_config(self) -> dict[str, Any]:
        terms = [[weight, keras.losses.serialize(term)] for weight, term in self.terms]
        return {"name": self.name, "dtype": self.dtype, "terms": terms}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LossSum":
        terms = [(weight, keras.losses.deserialize(term)) for weight, term in config["terms"]]
        return cls(**{**config, "terms": terms})
