"""Schedule, decay, rates and clipping."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_run import TINY

from keras_dup import layers, training
from keras_dup.training import (
    _optimizer,
)


def test_the_optimizer_follows_poly_and_decays_kernels_alone():
    sgd = _optimizer.SGD(_optimizer.poly(0.5, 100, 0.9), 0.9, l2=0.01)
    assert float(sgd.learning_rate) == pytest.approx(0.5)
    sgd.iterations.assign(60)
    assert float(sgd.learning_rate) == pytest.approx(0.5 * 0.4**0.9)
    kernel, gamma = (keras.Variable([2.0], name=name) for name in ("kernel", "gamma"))
    sgd.build([kernel, gamma])
    sgd.apply([tf.zeros(1), tf.zeros(1)], [kernel, gamma])
    rate = 0.5 * 0.4**0.9
    assert float(kernel[0]) == pytest.approx(2 * (1 - rate * 0.01))
    assert float(gamma[0]) == 2


def test_the_decay_is_an_l2_loss_that_passes_through_the_momentum():
    kernel, other = (keras.Variable([2.0], name="kernel") for _ in range(2))
    ours, keras_s = _optimizer.SGD(0.1, 0.9, l2=0.5), keras.optimizers.SGD(0.1, 0.9)
    ours.build([kernel])
    keras_s.build([other])
    for _ in range(3):
        ours.apply([tf.constant([1.0])], [kernel])
        keras_s.apply([1.0 + 0.5 * other.value], [other])
    assert float(kernel[0]) == pytest.approx(float(other[0]), rel=1e-6)


def test_the_backbone_learns_at_its_own_rate():
    recipe = dataclasses.replace(
        TINY, backbone="efficientnet_lite0", backbone_rate=0.1, weight_decay=0.0, momentum=0.0
    )
    model = training.training_copy(training.build_network(recipe), recipe)
    before = model.get_weights()
    model.optimizer.apply([tf.ones(v.shape) for v in model.trainable_variables])
    moved = {v.path: float(w.ravel()[0]) for v, w in zip(model.weights, before, strict=True)}
    moved = {v.path: moved[v.path] - float(v.numpy().ravel()[0]) for v in model.trainable_variables}
    rate = recipe.learning_rate
    for layer, share in (("conv1_conv", 0.1), ("conv1_bn", 0.1), ("aspp0_conv", 1)):
        for path in [path for path in moved if path.startswith(f"{layer}/")]:
            assert moved[path] == pytest.approx(share * rate, rel=1e-3)
    again = _optimizer.SGD.from_config(model.optimizer.get_config())
    assert again.rates == model.optimizer.rates and again.momentum == 0


def test_the_gradient_is_clipped_as_a_whole():
    variables = [keras.Variable([0.0]), keras.Variable([0.0])]
    sgd = _optimizer.SGD(1.0, clip=1.0)
    sgd.build(variables)
    sgd.apply([tf.constant([3.0]), tf.constant([4.0])], variables)
    np.testing.assert_allclose([float(v[0]) for v in variables], [-0.6, -0.8], rtol=1e-6)
    sgd.apply([tf.constant([0.3]), tf.constant([0.4])], variables)
    np.testing.assert_allclose([float(v[0]) for v in variables], [-0.9, -1.2], rtol=1e-6)


@pytest.mark.parametrize("name", _optimizer.UNDECAYED)
def test_neither_t_nor_biases_nor_batch_norms_are_decayed(name):
    assert set(_optimizer.UNDECAYED) >= {"log_temperature", "bias", "gamma", "beta"}
    sgd, variable = _optimizer.SGD(0.1, l2=0.5), keras.Variable([2.0], name=name)
    sgd.build([variable])
    sgd.apply([tf.zeros(1)], [variable])
    assert float(variable[0]) == 2


@pytest.mark.parametrize("decayed", [True, False])
def test_without_gradients_kernels_shrink_and_nothing_else_does(decayed, quick, fitted):
    recipe = dataclasses.replace(TINY, weight_decay=0.5, decay_depthwise=decayed)
    image = keras.Input((None, None, 3))
    x = keras.layers.DepthwiseConv2D(16, 16, name="depthwise")(image)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 1, name="compressed")(x))
    x = layers.DUpsampling(7, 16, fitted, name="dupsampling")(x)
    network = keras.Model(image, layers.AdaptiveTemperatureSoftmax(2.0, name="softmax")(x))
    model = training.training_copy(network, recipe)
    for variable in model.trainable_variables:
        variable.assign(tf.ones(variable.shape))
    model.optimizer.apply([tf.zeros(v.shape) for v in model.trainable_variables])
    rest = {v.path for v in model.trainable_variables if np.all(v.numpy() == 1)}
    moved = {v.path for v in model.trainable_variables} - rest
    assert moved == {"compressed/kernel"} | ({"depthwise/kernel"} if decayed else set())
    assert {path.split("/")[-1] for path in rest} >= {"bias", "gamma", "beta", "log_temperature"}


def test_the_moving_average_has_the_momentum_of_the_recipe(quick, fitted):
    recipe = dataclasses.replace(TINY, ema=0.75, momentum=0.0, weight_decay=0.0)
    model = training.training_copy(training.build_network(recipe, fitted), recipe)
    variable = model.trainable_variables[0]
    before = variable.numpy()
    model.optimizer.apply([tf.ones(v.shape) for v in model.trainable_variables])
    (average, *_) = _optimizer.averages(model.optimizer)
    first = average.numpy()  # Keras starts the average at the first values
    values = variable.numpy()
    model.optimizer.apply([tf.ones(v.shape) for v in model.trainable_variables])
    assert not np.allclose(values, variable.numpy()) and not np.allclose(before, values)
    expected = 0.75 * first + 0.25 * variable.numpy()
    np.testing.assert_allclose(average.numpy(), expected, rtol=1e-6)
