"""Batch norms to train with: in TensorFlow's one kernel, and over groups of images."""

import keras
from keras import ops

from keras_dup._trained import is_of_backbone
from keras_dup.training._recipe import Recipe


@keras.saving.register_keras_serializable(package="keras_dup")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch norm that TensorFlow trains in one kernel, forward and backward, not op by op.

    For the TensorFlow backend without XLA and without synchronized statistics, channels last, with
    scale and offset. It has the weights of `keras.layers.BatchNormalization`, and its results up
    to rounding; in inference it is the same.

    Input and output: (B, H, W, C).
    """

    def call(self, inputs, training=None, mask=None):
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            ops.cast(inputs, "float32"), self.gamma, self.beta, epsilon=self.epsilon
        )
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        variance *= (count - 1) / count  # the kernel's is over count - 1, Keras's over count
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1 - self.momentum))
        return ops.cast(y, self.compute_dtype)


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
    """Does TensorFlow's one kernel do what this batch norm does?"""
    here = keras.backend.backend() == "tensorflow" and not recipe.jit_compile
    plain = config["scale"] and config["center"] and config["axis"] in (-1, 3, [3])
    return here and plain and not (config["synchronized"] or config["renorm"])
