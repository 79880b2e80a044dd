"""The auxiliary head and the teacher: losses, replicas, precisions, resumption."""

import dataclasses
import os
import signal

import keras
import numpy as np
import pytest
from ten_steps import build
from tiny_run import TINY

from keras_dup import _keras_private, data, models, training
from keras_dup._labelled import labelled
from keras_dup.training import _checkpoint, _distribution, _objective


def with_aspp(**options):
    """The quick network, with a layer of the name of ASPP's output before the codes."""
    model = build(**options)
    codes = model.get_layer("compressed")
    features = keras.layers.Activation("linear", name="aspp_projection_relu")(codes.input)
    x = codes(features)
    for name in ("dupsampling", "crop", "softmax"):
        layer = next(layer for layer in model.layers if layer.name.startswith(name))
        x = layer([x, model.input]) if name == "crop" else layer(x)
    return keras.Model(model.input, x)


@pytest.fixture
def helped(tmp_path, fitted, monkeypatch):
    """TINY with both helps."""
    monkeypatch.setattr(models, "build", with_aspp)
    keras.utils.set_random_seed(1)
    model = build(7, 16, fitted, 8)
    model.get_layer("softmax").log_temperature.assign(-2.0)  # it knows what it wants
    model.save(tmp_path / "teacher.keras")
    teacher = str(tmp_path / "teacher.keras")
    return dataclasses.replace(TINY, auxiliary_weight=0.4, teacher=teacher, teacher_weight=0.3)


def test_distillation_is_the_divergence_over_labelled_pixels():
    rng = np.random.default_rng(0)
    logits, theirs = rng.normal(0, 2, (2, 2, 4, 5, 7))
    q = np.exp(theirs) / np.exp(theirs).sum(-1, keepdims=True)
    s = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    labels = rng.integers(0, 7, (2, 4, 5))
    labels[0, :2] = 255
    valid = labels != 255
    expected = (q * np.log(q / s)).sum(-1)[valid].mean()
    found = _objective.distillation(labels, q.astype("float32"), logits.astype("float32"))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    logits[~valid] = 50
    again = _objective.distillation(labels, q.astype("float32"), logits.astype("float32"))
    assert float(again) == pytest.approx(expected, rel=1e-5)
    same = _objective.distillation(labels, q.astype("float32"), np.log(q).astype("float32"))
    assert float(same) == pytest.approx(0, abs=1e-6)


W = {"decoder": "dupsampling", "projection": "random"}


@pytest.mark.parametrize(
    ("backbone", "options", "corner"),
    [
        ("efficientnet_lite0", W, 8),  # the centre of a window of W
        ("efficientnet_lite0", {"decoder": "bilinear"}, 0),  # its first pixel
        ("efficientnet_lite0", {"decoder": "thin"}, 0),
        ("efficientnet_lite0", {**W, "ratio": 8, "low_level_features": ("b3u2c3",)}, 0),
        ("vit_base_patch16", {"decoder": "bilinear"}, 8),
    ],
)
def test_auxiliary_scores_sit_where_the_decoder_has_its_features(backbone, options, corner):
    with _keras_private.without_values():
        model = models.build(backbone, num_classes=7, **options)
    scores = _objective.auxiliary_scores(model, TINY)
    upsampling = scores._keras_history.operation
    values = np.random.default_rng(0).normal(size=(1, 2, 3, 7)).astype("float32")
    found = keras.ops.convert_to_numpy(upsampling(values))
    assert found.shape == (1, 32, 48, 7)
    value = found[0, 7:9, 7:9].mean((0, 1)) if corner else found[0, 0, 0]
    np.testing.assert_allclose(value, values[0, 0, 0], atol=0.15 if corner else 1e-6)


def test_all_parts_add_up_and_the_head_does_not_reach_the_network(helped, fitted):
    predicting = training.build_network(helped, fitted)
    model = training.training_copy(predicting, helped)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    labels = np.stack([data.Shapes(2, (32, 32)).label_map(i) for i in range(2)]).astype("int32")
    logits, scores = model(images)
    loss = _objective.recipe_loss(helped)
    q = model.teacher(images)
    parts = [
        0.7 * loss(labels, logits),
        0.3 * _objective.distillation(labels, q, logits),
        0.4 * loss(labels, scores),
    ]
    assert float(model.loss_of(images, labels, [logits, scores])) == pytest.approx(
        float(sum(parts)), rel=1e-6
    )
    before = model.teacher.get_weights(), model.get_layer("auxiliary_scores").get_weights()
    model.fit(images, labels, batch_size=2, epochs=2, verbose=0)
    for one, two in zip(before[0], model.teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.allclose(before[1][0], model.get_layer("auxiliary_scores").get_weights()[0])
    model.update_network()
    assert all(not layer.name.startswith("auxiliary") for layer in predicting.layers)
    np.testing.assert_allclose(
        keras.ops.softmax(model(images)[0]), predicting(images), atol=1e-6, rtol=0
    )


def test_a_student_comes_nearer_to_its_teacher(helped, fitted):
    recipe = dataclasses.replace(helped, auxiliary_weight=0.0, teacher_weight=1.0)
    recipe = dataclasses.replace(recipe, learning_rate=0.05)
    model = training.training_copy(training.build_network(recipe, fitted), recipe)
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    labels = np.zeros((4, 32, 32), "int32")
    losses = model.fit(images, labels, batch_size=4, epochs=40, verbose=0, shuffle=False)
    assert losses.history["loss"][-1] < 0.7 * losses.history["loss"][0]


def test_helps_that_cannot_be_are_named(helped, fitted, quick):
    plain = training.build_network(TINY, fitted)
    with pytest.raises(ValueError, match=r"auxiliary_weight=0\.4 needs the ASPP"):
        training.training_copy(plain, dataclasses.replace(TINY, auxiliary_weight=0.4))
    other = dataclasses.replace(TINY, teacher=helped.teacher, num_classes=3, decoder="bilinear")
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Softmax()(image))
    with pytest.raises(ValueError, match=r"gives \(None, None, None, 7\), but num_classes=3"):
        training.training_copy(model, other)
    with pytest.raises(ValueError, match=r"teacher_weight=2; 0 to 1"):
        dataclasses.replace(TINY, teacher_weight=2)


def test_a_teacher_of_other_classes_sizes_or_outputs_is_named(tmp_path, recwarn):
    image = keras.Input((None, None, 3))
    fixed = keras.Input((64, 64, 3))
    scores = keras.layers.Softmax()
    for name, model in {
        "teacher": labelled(keras.Model(image, scores(image)), ["sky", "road", "tree"]),
        "fixed": keras.Model(fixed, scores(fixed)),
        "flat": keras.Model(image, keras.ops.argmax(image, axis=-1)),
    }.items():
        model.save(tmp_path / f"{name}.keras")
    (tmp_path / "damaged.keras").write_text("no model")
    recipe = dataclasses.replace(TINY, num_classes=3, teacher=str(tmp_path / "teacher.keras"))
    assert _objective.read_teacher(recipe, ["sky", "road", "tree"]).trainable is False
    assert _objective.read_teacher(recipe, ["0", "1", "2"]) and not len(recwarn)
    with pytest.raises(ValueError, match=r"another order; 2 of 3 .*class 0 is 'sky' there, 'road'"):
        _objective.read_teacher(recipe, ["road", "sky", "tree"])
    with pytest.warns(UserWarning, match="1 of 3 classes .*class 2 is 'tree' there, 'bush' here"):
        _objective.read_teacher(recipe, ["sky", "road", "bush"])
    for name, told in {
        "fixed": r"takes images of \(64, 64\), but crop_size=\(32, 32\)",
        "flat": r"gives \(None, None, None\), but num_classes=3; \(B, H, W, 3\) is needed",
        "none": r"none\.keras: no such file",
        "damaged": r"damaged\.keras: cannot be loaded",
    }.items():
        with pytest.raises(ValueError, match=told):
            one = dataclasses.replace(recipe, teacher=str(tmp_path / f"{name}.keras"))
            _objective.read_teacher(one, None)


def test_two_replicas_learn_from_a_teacher_as_one_does(helped, fitted):
    found = []
    for devices in (("cpu:0",), ("cpu:0", "cpu:1")):
        keras.utils.set_random_seed(0)
        strategy = _distribution.strategy(devices)
        predicting = training.build_network(helped, fitted)
        with strategy.scope():
            model = training.training_copy(predicting, helped, strategy.num_replicas_in_sync)
        stream = {"crop_size": (32, 32), "scale_range": (1.0, 1.0)}
        batches = _distribution.train_batches(strategy, data.Shapes(8, (32, 32)), 4, **stream)
        model.fit(batches, steps_per_epoch=3, verbose=0, shuffle=False)
        model.update_network()
        found.append(predicting.get_weights())
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_helped_run_resumes_to_the_weights_of_an_uninterrupted_one(policy, helped, tmp_path):
    recipe = dataclasses.replace(helped, dtype_policy=policy, ema=0.5, augmentation=("rotation",))
    training.train(recipe, tmp_path / "whole")

    def ctrl_c(self, batch, logs=None):
        if self.model.done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_checkpoint.Checkpoint, "on_train_batch_begin", ctrl_c)
        with pytest.raises(training.Interrupted):
            training.train(recipe, tmp_path / "run")
    training.train(recipe, tmp_path / "run")
    whole, resumed = (models.load(tmp_path / name / "model.keras") for name in ("whole", "run"))
    for one, two in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, two)


def test_a_recipe_names_its_loss_in_words(quick, fitted):
    recipe = dataclasses.replace(
        TINY, loss="focal+tversky", loss_weights=(1, 0.5), tversky=(0.2, 0.8), focal_gamma=3
    )
    recipe = dataclasses.replace(recipe, class_weights=(1, 2, 1, 1, 1, 1, 1))
    (one, focal), (half, tversky) = _objective.recipe_loss(recipe).terms
    assert (one, half, focal.gamma, tversky.alpha_beta) == (1, 0.5, 3, (0.2, 0.8))
    assert focal.from_logits and tversky.from_logits and tversky.class_weights[1] == 2
    predicting = training.build_network(TINY, fitted)
    labels = np.stack([data.Shapes(4, (32, 32)).label_map(i) for i in range(4)]).astype("int32")
    images = np.stack([data.Shapes(4, (32, 32)).image(i) for i in range(4)]).astype("float32")
    assert training.training_copy(predicting, recipe).head
    recipe = dataclasses.replace(recipe, loss="crossentropy+lovasz")
    model = training.training_copy(predicting, recipe)
    assert not model.head  # the scores of all pixels are sorted
    losses = model.fit(images, labels, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "crossentropy+dise"}, "loss='crossentropy\\+dise'; one of .* mean 'dice'"),
        ({"loss": "dice", "loss_weights": (1, 2)}, "2 loss_weights, but loss='dice'"),
        ({"tversky": (0, 1)}, r"tversky=\(0, 1\); more than 0"),
        ({"loss": "focal", "label_smoothing": 0.1}, "label_smoothing=0.1 .* loss='focal'"),
        ({"loss": "dice", "hard_pixels": 0.5}, "hard_pixels=0.5 .* loss='dice'"),
    ],
)
def test_a_loss_that_cannot_be_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **fields)
