"""Batch norms to train with: in fewer passes over the features, and over groups of images."""

import keras
from keras import ops

from keras_dup._trained import is_of_backbone
from keras_dup.training._recipe import Recipe


@keras.saving.register_keras_serializable(package="keras_dup")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch norm that reads its input fewer times in training.

    On TensorFlow it is one kernel, forward and backward, not op by op. On JAX mean and variance
    come from one pass: the variance from squares of the distance to the moving mean, which is near
    the mean, so that little cancels out.

    For channels last, with scale and offset, without synchronized statistics; on TensorFlow without
    XLA. It has the weights of `keras.layers.BatchNormalization`, and its results up to rounding; in
    inference it is the same.

    Input and output: (B, H, W, C).
    """

    def call(self, inputs, training=None, mask=None):
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        in_tensorflow = keras.backend.backend() == "tensorflow"
        normalized = self._in_one_kernel if in_tensorflow else self._after_one_pass
        y, mean, variance = normalized(ops.cast(inputs, "float32"))
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1 - self.momentum))
        return ops.cast(y, self.compute_dtype)

    def _in_one_kernel(self, x):
        import tensorflow as tf

        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, self.gamma, self.beta, epsilon=self.epsilon
        )
        count = tf.cast(tf.size(x) // tf.shape(x)[-1], tf.float32)
        return y, mean, variance * (count - 1) / count  # the kernel's is over count - 1

    def _after_one_pass(self, x):
        near = ops.convert_to_tensor(self.moving_mean)
        distance = x - near
        mean, square = (ops.mean(d, axis=(0, 1, 2)) for d in (distance, ops.square(distance)))
        variance = ops.maximum(square - ops.square(mean), 0)
        mean = mean + near
        weights = {"offset": self.beta, "scale": self.gamma, "epsilon": self.epsilon}
        return ops.batch_normalization(x, mean, variance, -1, **weights), mean, variance


@keras.saving.register_keras_serializable(package="keras_dup")
class GroupedBatchNormalization(keras.layers.BatchNormalization):
    """Batch norm that normalizes every `group_size` images of a batch by themselves.

    The paper trains batches of 48 whose statistics are of 12 images (Sec. 4), the share of one of
    its GPUs; "ghost batch norm" (Hoffer et al. 2017). The moving averages take the mean over the
    groups. In inference it is batch norm, and has its weights.

    Args:
        group_size: images a group; a training batch (of one replica) is a multiple of it.

    Input and output: (B, H, W, C).
    """

    def __init__(self, group_size, **kwargs):
        super().__init__(**kwargs)
        self.group_size = group_size

    def call(self, inputs, training=None, mask=None):
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        x = ops.cast(inputs, "float32")
        groups = ops.reshape(x, (-1, self.group_size, *ops.shape(x)[1:]))  # (G, g, H, W, C)
        mean, variance = ops.moments(groups, axes=(1, 2, 3), keepdims=True)
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            value = ops.mean(value, axis=(0, 1, 2, 3))
            average.assign(average * self.momentum + value * (1 - self.momentum))
        scale = ops.rsqrt(variance + self.epsilon)
        scale = scale * self.gamma if self.scale else scale
        y = groups * scale + ((self.beta if self.center else 0) - mean * scale)
        return ops.cast(ops.reshape(y, ops.shape(x)), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "group_size": self.group_size}


def batch_norm(config: dict, recipe: Recipe, replicas: int) -> keras.layers.Layer:
    """Batch norm over the whole batch, over that of a replica, or over parts of it."""
    of_backbone = is_of_backbone(config["name"])
    backbone_momentum = recipe.backbone_batch_norm_momentum or recipe.batch_norm_momentum
    momentum = backbone_momentum if of_backbone else recipe.batch_norm_momentum
    config = {**config, "momentum": momentum}
    if of_backbone and not recipe.train_batch_norm:
        return keras.layers.BatchNormalization.from_config({**config, "trainable": False})
    group, share = recipe.batch_norm_group or recipe.batch_size, recipe.batch_size // replicas
    if group not in (share, recipe.batch_size):
        return GroupedBatchNormalization(group, **config)
    config["synchronized"] = group != share
    kind = FusedBatchNormalization if _fuses(config, recipe) else keras.layers.BatchNormalization
    return kind.from_config(config)


def _fuses(config, recipe):
    """Is there a `FusedBatchNormalization` for this batch norm?"""
    backend = keras.backend.backend()
    here = backend == "jax" or (backend == "tensorflow" and not recipe.jit_compile)
    plain = config["scale"] and config["center"] and config["axis"] in (-1, 3, [3])
    return here and plain and not (config["synchronized"] or config["renorm"])
