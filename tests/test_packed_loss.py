"""The packed loss against the plain one: the same number, the same gradients."""

import functools

import keras
import numpy as np
import pytest
from gradients import gradients, on_two_replicas
from keras import ops

from keras_dup import _packed_loss, training
from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling
from keras_dup.losses import PixelCrossentropy, RegionLoss
from keras_dup.training._training_copy import TemperedLogits, TrainingModel

RATIO, CLASSES, CHANNELS, SIZE = 4, 5, 6, (13, 18)


def head(trainable):
    keras.utils.set_random_seed(1)
    upsampling = DUpsampling(CLASSES, RATIO, trainable=trainable)
    softmax = AdaptiveTemperatureSoftmax(0.3)
    softmax(upsampling(np.zeros((1, 1, 1, CHANNELS), "float32")))
    upsampling.bias.assign(np.random.default_rng(2).normal(0, 1, upsampling.bias.shape))
    return upsampling, softmax


def batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, (3, *SIZE))
    labels[0, :9] = 255
    labels[2] = 255
    shape = (3, *(-(-side // RATIO) for side in SIZE), CHANNELS)
    return labels, rng.normal(0, 1, shape).astype("float32")


def region_loss(region, label_smoothing=None, **options):
    """A loss of regions, with smoothed cross-entropy if `label_smoothing` is given."""
    loss = RegionLoss(region, from_logits=True, **options)
    if label_smoothing is None:
        return loss
    return PixelCrossentropy(label_smoothing=label_smoothing, from_logits=True) + 0.5 * loss


@pytest.mark.parametrize(
    ("scores", "trainable", "options"),
    [
        (2**20, False, {}),
        (2**20, True, {"class_weights": [1, 2, 0.5, 1, 3], "label_smoothing": 0.1}),
        (700, False, {"class_weights": [1, 2, 0.5, 1, 3], "hard_pixels": 0.3}),
        (700, True, {"label_smoothing": 0.1}),
        (1, True, {"hard_pixels": 0.3}),
        (700, True, {"gamma": 2.0, "hard_pixels": 0.5}),
        (2**20, False, {"region": "dice", "class_weights": [1, 2, 0.5, 0, 3]}),
        (700, True, {"region": "tversky", "label_smoothing": 0.1}),
    ],
)
def test_value_and_gradients_are_those_of_the_plain_loss(trainable, options, scores, monkeypatch):
    monkeypatch.setattr(_packed_loss, "SCORES", scores)
    upsampling, softmax = head(trainable)
    variables = [upsampling.kernel, upsampling.bias] if trainable else []
    variables.append(softmax.log_temperature)
    labels, features = batch()
    loss = (
        region_loss
        if "region" in options
        else functools.partial(PixelCrossentropy, from_logits=True)
    )
    loss = loss(**options)
    assert _packed_loss.packs(loss)

    def plain(features):
        logits = TemperedLogits.call(softmax, upsampling(features))
        return loss(labels, logits[:, : SIZE[0], : SIZE[1]])

    def packed(features):
        return _packed_loss.packed_loss(loss, upsampling, softmax, labels, features)

    def of_variables(function):
        def run(features, *values):
            with keras.StatelessScope(zip(variables, values, strict=True)):
                return function(features)

        return run

    values = [features, *(ops.convert_to_numpy(variable) for variable in variables)]
    found = gradients(of_variables(packed), values)
    expected = gradients(of_variables(plain), values)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_a_batch_of_void_has_no_loss_and_no_gradient():
    upsampling, softmax = head(False)
    labels, features = batch()
    labels[:] = 255

    def packed(features):
        args = (PixelCrossentropy(from_logits=True), upsampling, softmax, labels)
        return _packed_loss.packed_loss(*args, features)

    value, slopes = gradients(packed, [features])
    assert value == 0 and not slopes.any()


@pytest.mark.parametrize(("scale", "region"), [(2.0**15, None), (2.0**16, None), (2.0**15, "dice")])
def test_a_scaled_gradient_in_float16_is_the_float32_one_rounded_once(scale, region):
    upsampling, softmax = head(False)
    softmax.log_temperature.assign(7.0)  # gradients of about 1e-7, far below float16's range
    labels, features = batch()
    loss = PixelCrossentropy(from_logits=True)
    if region:
        loss = loss + RegionLoss(region, from_logits=True)

    def packed(features):
        args = (loss, upsampling, softmax, labels, features)
        return _packed_loss.packed_loss(*args) * scale

    features = features.astype("float16")
    _, slopes = gradients(packed, [features])
    _, expected = gradients(packed, [features.astype("float32")])
    assert slopes.dtype == np.float16 and 0 < np.abs(expected).max() < 6e4
    # scores of float16 on the way: 2^-11 of scores of about 10, divided by T, and the last rounding
    np.testing.assert_allclose(slopes, expected, rtol=2e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="shapes are known on JAX")
def test_the_batch_size_may_be_unknown():
    import tensorflow as tf

    upsampling, softmax = head(False)
    labels, features = batch()
    loss = PixelCrossentropy(from_logits=True)

    def packed(labels, features):
        return _packed_loss.packed_loss(loss, upsampling, softmax, labels, features)

    shapes = [(None, *labels.shape[1:]), (None, *features.shape[1:])]
    specs = [tf.TensorSpec(shapes[0], "int64"), tf.TensorSpec(shapes[1], "float32")]
    unknown = tf.function(packed, input_signature=specs)(labels, features)
    np.testing.assert_allclose(unknown, packed(labels, features), rtol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_two_replicas_add_up_to_the_loss_and_gradient_of_one():
    import tensorflow as tf

    upsampling, softmax = head(True)
    labels, features = (tf.constant(x[:2]) for x in batch())
    loss = PixelCrossentropy(from_logits=True) + RegionLoss("tversky", from_logits=True)
    scale = tf.Variable(1.0)

    def step(labels, features):
        with tf.GradientTape() as tape:
            parts = (loss, upsampling, softmax, labels, features * scale)
            value = _packed_loss.packed_loss(*parts)
        return value, tape.gradient(value, scale)

    np.testing.assert_allclose(
        on_two_replicas(step, labels, features), step(labels, features), rtol=1e-5
    )


def test_steps_are_compiled_on_jax_which_else_runs_them_operation_by_operation():
    image = keras.Input((None, None, 3))
    model = TrainingModel(image, keras.layers.Conv2D(CLASSES, 1)(image))
    recipe = training.Recipe("one_convolution", CLASSES)
    model.compile_for(recipe, PixelCrossentropy(from_logits=True), 1, 0.1)
    assert model.jit_compile == (keras.backend.backend() == "jax")
