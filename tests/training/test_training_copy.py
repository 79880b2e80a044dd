"""The copy of a network that is trained: what it computes, and how it gives its weights back."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from ten_steps import build
from tiny_run import TINY

from keras_dup import data, training
from keras_dup.training import (
    _optimizer,
)
from keras_dup.training._batch_norm import FusedBatchNormalization, GroupedBatchNormalization


def test_the_packed_loss_trains_as_the_plain_one(quick, fitted):
    recipe = dataclasses.replace(TINY, loss="crossentropy+jaccard")
    predicting = training.build_network(recipe, fitted)
    results = []
    for packed in (True, False):
        model = training.training_copy(predicting, recipe, packed=packed)
        batches = data.train_batches(data.Shapes(4, (32, 32)), 4, (30, 27))
        model.batch_shape = (4, 30, 27)
        logs = model.fit(batches, steps_per_epoch=3, verbose=0, shuffle=False).history
        results.append((logs["loss"], model.get_weights()))
    (ours, our_weights), (theirs, their_weights) = results
    assert ours == pytest.approx(theirs, rel=1e-5)
    for one, two in zip(our_weights, their_weights, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_moving_averages_are_what_is_validated(quick, fitted):
    config = dataclasses.replace(TINY, ema=0.5)
    predicting = training.build_network(config, fitted)
    before = predicting.trainable_variables[0].numpy()
    model = training.training_copy(predicting, config)
    batches = data.train_batches(data.Shapes(4, (32, 32)), 4, 32)
    model.fit(batches, steps_per_epoch=3, verbose=0)
    model.update_network()
    average = _optimizer.averages(model.optimizer)[0].numpy()
    np.testing.assert_array_equal(predicting.trainable_variables[0].numpy(), average)
    assert not np.allclose(model.trainable_variables[0].numpy(), average)
    assert not np.allclose(before, average)


def test_moving_averages_find_their_variables_where_others_are_frozen(fitted):
    """Frozen batch norms have variables that the optimizer does not know."""
    recipe = dataclasses.replace(TINY, ema=0.5, train_batch_norm=False)
    predicting = build(7, 16, fitted, 8)
    model = training.training_copy(predicting, recipe)
    for i, variable in enumerate(model.trainable_variables):
        variable.assign(tf.fill(variable.shape, float(i + 1)))
    for _ in range(2):  # the first average is the first value
        model.optimizer.apply([tf.ones(v.shape) for v in model.trainable_variables])
    model.update_network()
    found = {v.path: v for v in predicting.variables}
    averages = _optimizer.averages(model.optimizer)
    assert len(averages) < len(predicting.trainable_variables)
    for variable, average in zip(model.trainable_variables, averages, strict=True):
        np.testing.assert_array_equal(found[variable.path].numpy(), average.numpy())


def test_the_trained_copy_gives_the_logits_of_the_network(quick, fitted):
    predicting = training.build_network(TINY, fitted)
    predicting.get_layer("softmax").log_temperature.assign(-1)
    model = training.training_copy(predicting, TINY, packed=False)
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 48, 3)).astype("float32")
    np.testing.assert_allclose(
        tf.nn.softmax(model(image)).numpy(), predicting(image).numpy(), atol=1e-6
    )


def test_a_frozen_backbone_stays_as_it_is(quick, fitted):
    images = tf.random.stateless_uniform((4, 32, 32, 3), (0, 1), maxval=255)
    for change in ({"freeze_backbone": True}, {"backbone_rate": 0}):
        recipe = dataclasses.replace(TINY, **change)
        predicting = training.build_network(recipe, fitted)
        before = [np.array(weight) for weight in predicting.weights]
        model = training.training_copy(predicting, recipe)
        model.fit(images, tf.zeros((4, 32, 32), tf.int32), batch_size=4, verbose=0)
        model.update_network()
        for old, weight in zip(before, predicting.weights, strict=True):
            new = weight.path.split("/")[0] in ("compressed", "softmax")
            assert np.array_equal(old, weight) != new, weight.path


def test_groups_that_do_not_go_with_the_batch_and_xla_over_replicas_are_named(quick, fitted):
    predicting = training.build_network(TINY, fitted)
    with pytest.raises(ValueError, match="batch_norm_group=3, but a replica has 4 images"):
        training.training_copy(predicting, dataclasses.replace(TINY, batch_norm_group=3))
    with pytest.raises(ValueError, match="cannot compile a step over 2 replicas"):
        training.training_copy(predicting, dataclasses.replace(TINY, jit_compile=True), replicas=2)
    norms = [
        training.training_copy(
            predicting, dataclasses.replace(TINY, batch_norm_group=group)
        ).layers[3]
        for group in (0, 2, 4)
    ]
    kinds = [FusedBatchNormalization, GroupedBatchNormalization]
    assert [type(one) for one in norms] == [kinds[0], kinds[1], kinds[0]]
    compiled = training.training_copy(
        predicting, dataclasses.replace(TINY, jit_compile=True)
    ).layers[3]
    assert type(compiled) is keras.layers.BatchNormalization


def test_the_batch_norms_of_the_backbone_can_stay_as_they_are(fitted):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 16, 16, padding="same")(image)
    x = keras.layers.BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.Conv2D(8, 1)(x)
    x = keras.layers.BatchNormalization(name="aspp_bn")(x)
    predicting = keras.Model(image, keras.layers.Softmax()(x))
    recipe = dataclasses.replace(TINY, train_batch_norm=False)
    model = training.training_copy(predicting, recipe)
    before = {name: model.get_layer(name).get_weights() for name in ("conv1_bn", "aspp_bn")}
    images = np.random.default_rng(0).uniform(0, 1, (4, 32, 32, 3)).astype("float32")
    model.train_on_batch(images, np.zeros((4, 2, 2), "int32"))
    for name, stays in (("conv1_bn", True), ("aspp_bn", False)):
        after = model.get_layer(name).get_weights()
        for one, other in zip(before[name], after, strict=True):
            assert np.array_equal(one, other) == stays
    assert predicting.get_layer("conv1_bn").trainable  # in what is saved
