"""Training in plain JAX: what it computes is what Keras and the first pipeline compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dup import projection
from keras_dup.data import augment
from keras_dup.training import Recipe, network
from research import decoder_trials, on_device, on_device_data, on_device_train

jax = pytest.importorskip("jax")
CLASSES, CROP, SEED = 4, (33, 49), 3
EVERY_LAYER = ("two_fused", "thin64_residual", "today_bilinear", "stride8", "per_window")


@pytest.fixture(scope="module")
def recipe():
    return Recipe(
        "tiny",
        CLASSES,
        backbone="efficientnet_lite0",
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


def group_of(names, recipe, projections):
    """Networks of trials as Keras models, as a group in float32, and its state, all alike."""
    models, plans, arrays = {}, {}, {}
    for name in names:
        keras.utils.set_random_seed(1)
        model, _ = decoder_trials.network(name, recipe, projections)
        _shake(model)
        layers, values = on_device.plan(model, drawn=())
        models[name], arrays[name] = model, values
        plans[name] = layers, decoder_trials.TRIALS[name][1]
    settings = on_device_train.Settings.of(recipe)
    group = on_device_train.Group(plans, settings, seeds=(SEED,), dtype=np.dtype("float32"))
    inner = {layer["name"] for layer in group.trunk}
    shared = {k: v for k, v in arrays[names[0]].items() if k.split("/")[0] in inner}
    for model in models.values():  # one trunk for all
        for layer in model.layers:
            for variable in layer.variables:
                if (path := f"{layer.name}/{variable.name}") in shared:
                    variable.assign(shared[path])
    state = group.start(shared, {name: [arrays[name]] for name in names})
    return models, group, state


def _shake(model):
    """Batch norms that do something."""
    rng = np.random.default_rng(5)
    for variable in model.variables:
        if variable.name in ("gamma", "beta", "moving_mean", "moving_variance"):
            variable.assign(variable + rng.uniform(0, 0.3, variable.shape))


@pytest.fixture(scope="module")
def trained(recipe, projections):
    return group_of(EVERY_LAYER, recipe, projections)


def test_predictions_of_padded_images_are_those_of_keras_at_their_true_size(trained):
    models, group, state = trained
    rng = np.random.default_rng(1)
    size, full = (37, 45), (48, 48)
    image = rng.uniform(0, 255, (1, *size, 3)).astype("float32")
    padded = np.full((1, 1, *full, 3), 77, "float32")
    padded[0, :, : size[0], : size[1]] = image
    scores, _ = group.scores(state["trained"], state["kept"], padded, sizes=np.array([size]))
    for name, model in models.items():
        logits = np.asarray(scores[name])[0, :, : size[0], : size[1]]
        expected = model.predict_on_batch(image)
        np.testing.assert_allclose(jax.nn.softmax(logits), expected, atol=2e-4, err_msg=name)


def test_a_step_is_that_of_the_keras_recipe(trained, recipe):
    models, group, state = trained
    rng = np.random.default_rng(2)
    image = rng.uniform(0, 255, (2, *CROP, 3)).astype("float32")
    labels = rng.integers(0, CLASSES, (2, *CROP)).astype("int32")
    labels[:, :5] = 255
    after, losses = group.step(state, image[None], labels[None], recipe.learning_rate)
    for i, (name, model) in enumerate(models.items()):
        if name in ("per_window", "stride8"):
            continue  # their layers stand in the other test
        training = network.trained(model, recipe)
        loss = training.train_on_batch(image, labels, return_dict=True)["loss"]
        np.testing.assert_allclose(losses[i, 0], loss, rtol=1e-4)
        _compare_updates(training, group, state, after, name, i)


def _compare_updates(training, group, before, after, name, i):
    for layer in training.layers:
        for variable in layer.variables:
            path = f"{layer.name}/{variable.name}"
            for kind in ("trained", "kept"):
                heads = path in before[kind]["heads"][name]
                if not heads and path not in before[kind]["trunk"]:
                    continue
                place = ("heads", 0) if heads else ("trunk", i)
                old, new = (_values(state[kind], place, name, path) for state in (before, after))
                expected, found = variable.numpy() - old, new - old
                # float32 sums in another order; where no gradient comes to, nothing is left of it
                error = np.abs(found - expected).max()
                assert error <= 3e-2 * np.abs(expected).max() + 1e-6, (path, error)


def _values(values, place, name, path):
    part, i = place
    return np.asarray((values[part][name] if part == "heads" else values[part])[path][i])


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
    from keras_dup.data.pipeline import epoch_order

    order = on_device_data.epoch_order(5, 2, 7, SEED).reshape(-1)
    expected = np.concatenate([epoch_order(5, SEED, epoch) for epoch in range(3)])
    np.testing.assert_array_equal(order, expected[:14])


def test_w_with_constant_windows_holds_them_and_has_orthonormal_rows(projections):
    fitted = decoder_trials.with_constant_windows(projections["long"], 12)
    assert isinstance(fitted, projection.LabelProjection)
    np.testing.assert_allclose(fitted.matrix @ fitted.matrix.T, np.eye(12), atol=1e-5)
    window = np.zeros(16 * 16 * CLASSES)
    window[2::CLASSES] = 1
    np.testing.assert_allclose(window @ fitted.matrix.T @ fitted.matrix, window, atol=1e-5)
