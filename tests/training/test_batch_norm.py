"""Batch norms to train with."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dup.training._batch_norm import FusedBatchNormalization, GroupedBatchNormalization


@pytest.mark.parametrize("group", [2, 4, 8])
def test_groups_of_batch_norm_are_batches_by_themselves(group):
    x = np.random.default_rng(0).normal(3, 2, (8, 5, 5, 3)).astype("float32")
    ours = GroupedBatchNormalization(group, momentum=0.9)
    theirs = keras.layers.BatchNormalization(momentum=0.9)
    y = ours(x, training=True).numpy()
    for start in range(0, 8, group):
        part = slice(start, start + group)
        np.testing.assert_allclose(y[part], theirs(x[part], training=True).numpy(), atol=1e-5)
    mean = x.reshape(-1, group * 25, 3).mean(1).mean(0)
    np.testing.assert_allclose(ours.moving_mean.numpy(), 0.1 * mean, rtol=1e-4)
    variance = x.reshape(-1, group * 25, 3).var(1).mean(0)
    np.testing.assert_allclose(ours.moving_variance.numpy(), 0.9 + 0.1 * variance, rtol=1e-4)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(x).numpy(), theirs(x).numpy(), atol=1e-6)


def test_batch_norm_in_one_kernel_is_keras_batch_norm():
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(3, 2, (4, 7, 6, 5)), tf.float32)
    weights = [rng.uniform(0.5, 2, 5) for _ in range(4)]
    ours, theirs = (
        kind(momentum=0.9) for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)
    )
    found = []
    for norm in (ours, theirs):
        norm.build(x.shape)
        norm.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = norm(x, training=True)
            loss = tf.reduce_sum(tf.sin(x) * y)
        gradients = tape.gradient(loss, [x, norm.gamma.value, norm.beta.value])
        found.append([y, *gradients, *norm.get_weights(), norm(x)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    ours.trainable = False  # frozen: the moving averages, as in Keras
    np.testing.assert_array_equal(ours(x, training=True), ours(x))
