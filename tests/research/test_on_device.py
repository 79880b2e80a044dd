"""Training in plain JAX: what it computes is what Keras and the first pipeline compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dup.data._augment import augment
from keras_dup.layers import Crop
from keras_dup.training import Recipe, training_copy
from research import decoder_trials, on_device, on_device_data, on_device_train

jax = pytest.importorskip("jax")
CLASSES, CROP, SEED = 4, (33, 49), 3
# most of the time is the compiling
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
HEADS = ("two_fused", "per_window", "thin64_residual", "stride8")


@pytest.fixture(scope="module")
def recipe():
    return Recipe(
        "tiny",
        CLASSES,
        backbone="efficientnet_lite0",
        low_level_features=(),
        decoder="dupsampling",
        crop_size=CROP,
        batch_size=2,
        learning_rate=0.02,
        backbone_rate=0.2,
        weight_decay=0.01,
        steps=5,
    )


@pytest.fixture(scope="module")
def projections():
    rng = np.random.default_rng(0)
    maps = [np.kron(rng.integers(0, CLASSES, (9, 9)), np.ones((5, 5), int)) for _ in range(40)]
    return decoder_trials.fit_projections([m.astype("uint8") for m in maps], CLASSES)


@pytest.fixture(scope="module")
def tiny(recipe, projections):
    """A Keras model of a trial, its group of one network in float32, and its state."""
    model, _ = decoder_trials.network("two_fused", recipe, projections)
    _shake(model)
    layers, arrays = on_device.plan(model, drawn=())
    settings = on_device_train.Settings.of(recipe)
    plans = {"two_fused": (layers, True)}
    group = on_device_train.Group(plans, settings, seeds=(SEED,), dtype=np.dtype("float32"))
    return model, group, group.start(arrays, {"two_fused": [arrays]})


def _shake(model):
    """Batch norms and decoders that do something."""
    rng = np.random.default_rng(5)
    for variable in model.variables:
        if variable.name in ("gamma", "beta", "moving_mean", "moving_variance"):
            variable.assign(variable + rng.uniform(0, 0.3, variable.shape))
        elif not np.any(variable.numpy()):
            variable.assign(rng.normal(0, 0.1, variable.shape))


@pytest.mark.parametrize("name", HEADS)
def test_a_decoder_of_padded_features_is_that_of_keras_at_their_true_size(name, projections):
    image = keras.Input((None, None, 3), name="image")
    x, low = keras.Input((None, None, 256), name="x"), keras.Input((None, None, 24), name="low")
    head = decoder_trials.TRIALS[name][0]
    found = head(decoder_trials.Tensors(x, low, CLASSES, projections))
    scores = Crop(name="crop")([found.scores, image])
    model = keras.Model([image, x, low], scores)
    if found.start:
        found.start(model)
    _shake(model)
    layers, values = on_device.plan(model, drawn=())
    size, full, rng = (37, 45), (48, 64), np.random.default_rng(1)
    true, padded = [], {}
    for key, stride, channels in (("image", 1, 3), ("x", 16, 256), ("low", 4, 24)):
        shape = [-(-side // stride) for side in size]
        true.append(rng.normal(size=(1, *shape, channels)).astype("float32"))
        padded[key] = np.full((1, *(side // stride for side in full), channels), 77, "float32")
        padded[key][:, : shape[0], : shape[1]] = true[-1]
    features, _ = on_device.forward(
        layers, values, padded, np.dtype("float32"), sizes=np.array([size])
    )
    found = np.asarray(features["crop"])[:, : size[0], : size[1]]
    expected = model.predict_on_batch(true)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.ptp(expected))


@pytest.mark.slow
def test_predictions_of_padded_images_are_those_of_keras_at_their_true_size(tiny):
    model, group, state = tiny
    rng = np.random.default_rng(1)
    size, full = (37, 45), (48, 48)
    image = rng.uniform(0, 255, (1, *size, 3)).astype("float32")
    padded = np.full((1, 1, *full, 3), 77, "float32")
    padded[0, :, : size[0], : size[1]] = image
    predict = jax.jit(group.scores, compiler_options=QUICK)
    scores, _ = predict(state["trained"], state["kept"], padded, sizes=np.array([size]))
    logits = np.asarray(scores["two_fused"])[0, :, : size[0], : size[1]]
    expected = model.predict_on_batch(image)
    np.testing.assert_allclose(jax.nn.softmax(logits), expected, atol=2e-4)


@pytest.mark.slow
def test_a_step_is_that_of_the_keras_recipe(tiny, recipe, pytestconfig):
    if not pytestconfig.getoption("--full-size"):
        pytest.skip("gradients of so small images depend on the order of sums: see --full-size")
    model, group, before = tiny
    rng = np.random.default_rng(2)
    # batch norm of the image pooling sees one value per image: these differ
    brightest = np.linspace(50, 255, 6)[:, None, None, None]
    image = rng.uniform(0, brightest, (6, *CROP, 3)).astype("float32")
    labels = rng.integers(0, CLASSES, (6, *CROP)).astype("int32")
    labels[:, :5] = 255
    step = jax.jit(group.step, compiler_options=QUICK)
    after, losses = step(before, image[None], labels[None], recipe.learning_rate)
    training = training_copy(model, recipe)
    loss = training.train_on_batch(image, labels, return_dict=True)["loss"]
    np.testing.assert_allclose(losses[0, 0], loss, rtol=1e-4)
    compared = 0
    for layer in training.layers:
        for variable in layer.variables:
            path = f"{layer.name}/{variable.name}"
            old, new = (_values(state).get(path) for state in (before, after))
            if old is None:
                continue
            expected, found = variable.numpy() - old, new - old
            # float32 sums in another order; where no gradient comes to, nothing is left of it
            error, scale = (float(np.linalg.norm(x)) for x in (found - expected, expected))
            assert error <= 0.02 * scale + 1e-6 * expected.size**0.5, (path, error, scale)
            compared += 1
    assert compared > 200


def _values(state):
    kinds = (state[kind] for kind in ("trained", "kept"))
    parts = (part for kind in kinds for part in (kind["trunk"], kind["heads"]["two_fused"]))
    return {path: np.asarray(value[0]) for part in parts for path, value in part.items()}


@pytest.mark.parametrize("flipped", [0, 1])
@pytest.mark.parametrize("scale", [0.1, 0.4, 0.9])
def test_crops_are_those_of_the_pipeline(scale, flipped):
    rng = np.random.default_rng(4)
    size, crop = (41, 53), (32, 40)
    image = rng.integers(0, 256, (1, 60, 60, 3), dtype=np.uint8)
    labels = rng.integers(0, 20, (1, 60, 60), dtype=np.uint8)
    draws = np.array([scale, 0.3, 0.8, 0.2 if flipped else 0.7], "float32")
    window = on_device_data.draw_window(draws, np.array(size), crop, (0.5, 2.0))
    found = on_device_data.scaled_crop(jax.numpy.array(image), labels, 0, window, crop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.random, "stateless_uniform", lambda *a, **k: tf.constant(draws))
        pair = image[0, : size[0], : size[1]], labels[0, : size[0], : size[1]]
        expected = augment(*pair, crop, (0, 0))
    np.testing.assert_allclose(found[0], expected[0], atol=2e-2)
    np.testing.assert_array_equal(found[1], expected[1])


def test_order_is_that_of_the_pipeline():
    from keras_dup.data._pipeline import epoch_order

    order = on_device_data.epoch_order(5, 2, 7, SEED).reshape(-1)
    expected = np.concatenate([epoch_order(5, SEED, epoch) for epoch in range(3)])
    np.testing.assert_array_equal(order, expected[:14])
