"""A training step on JAX: traced once, its state donated, batch norm in one pass."""

import keras
import numpy as np
import pytest

jax = pytest.importorskip("jax")
from keras_dup import training  # noqa: E402
from keras_dup.training._batch_norm import FusedBatchNormalization  # noqa: E402

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="of the JAX backend")


def training_model():
    """A step of a recipe's network: convolutions, batch norm, DUpsampling, T."""
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Conv2D(4, 4, strides=4, use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling

    x = DUpsampling(3, 4, name="dupsampling")(x)
    network = keras.Model(image, AdaptiveTemperatureSoftmax(name="softmax")(x))
    recipe = training.Recipe("step", 3, crop_size=(8, 8), batch_size=2, steps=9)
    return training.training_copy(network, recipe)


def test_steps_are_traced_once_and_the_state_before_a_step_is_given_up(monkeypatch):
    model, traces = training_model(), []
    loss_of = model.loss_of
    model.loss_of = lambda *arguments: traces.append(1) or loss_of(*arguments)
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    labels = rng.integers(0, 3, (2, 8, 8)).astype("int32")
    old = []
    for step in range(3):
        if step == 2:
            old = [v.value for v in (*model.trainable_variables, *model.optimizer.variables)]
        model.train_on_batch(image + step, labels)
    assert sum(traces) == 1
    given_up = [value.is_deleted() for value in old if value.size > 1]
    assert given_up and all(given_up)


def test_batch_norm_in_one_pass_is_keras_batch_norm():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (4, 7, 6, 5)).astype("float32")
    x[..., 4] = 1000.0  # constant: its variance is 0, never less
    weights = [rng.uniform(0.5, 2, 5).astype("float32") for _ in range(4)]
    found = []
    for kind in (FusedBatchNormalization, keras.layers.BatchNormalization):
        norm = kind(momentum=0.9)
        norm.build(x.shape)
        norm.set_weights(weights)

        @jax.jit
        def run(x, gamma, beta, norm=norm):
            def total(x, gamma, beta):
                trainable, rest = [gamma, beta], [v.value for v in norm.non_trainable_variables]
                y, rest = norm.stateless_call(trainable, rest, x, training=True)
                return (jax.numpy.sin(x[..., :4]) * y[..., :4]).sum(), (y, rest)

            slopes, (y, rest) = jax.grad(total, (0, 1, 2), has_aux=True)(x, gamma, beta)
            return [y, *slopes, *rest]

        found.append(run(x, *weights[:2]))
    for one, other in zip(*found, strict=True):
        assert np.isfinite(one).all()
        one, other = (np.asarray(a)[..., :4] for a in (one, other))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_recipe_s_batch_norms_are_of_one_pass():
    model = training_model()
    kinds = [type(layer) for layer in model.layers]
    assert FusedBatchNormalization in kinds and keras.layers.BatchNormalization not in kinds
