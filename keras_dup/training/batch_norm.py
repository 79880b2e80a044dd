"""Batch norm whose statistics are those of groups of images, as on several small devices."""

import keras
from keras import ops


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
