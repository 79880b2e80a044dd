"""Recipes, the training engine, evaluation and the demo."""

import dataclasses
import json
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_dup
from keras_dup import data, layers
from training import demo, recipe, train
from training.evaluate import predictor

TINY = recipe.Recipe(
    name="tiny",
    num_classes=7,
    train_count=8,
    val_count=2,
    channels=8,
    crop_size=(32, 32),
    batch_size=4,
    steps=4,
    steps_per_epoch=2,
    learning_rate=0.01,
)


def small_build(num_classes, output_stride, projection, **_):
    """In place of `models.build`: one convolution and the paper's head, quick to trace."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(image)
    x = keras.layers.Conv2D(8, output_stride, output_stride, padding="same")(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2D(projection.channels, 1, name="compressed")(x)
    x = layers.DUpsampling(num_classes, output_stride, projection, name="dupsampling")(x)
    x = layers.Crop()([x, image])
    return keras.Model(image, layers.AdaptiveTemperatureSoftmax(name="softmax")(x))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(keras_dup.models, "build", small_build)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run of TINY: its folder and its report."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_dup.models, "build", small_build)
        return output, train.train(TINY, output)


def weights(output):
    return keras.models.load_model(output / "model.keras", compile=False).get_weights()


def test_a_run_leaves_report_logs_and_pictures(finished):
    output, report = finished
    assert json.loads((output / "report.json").read_text()) == report
    assert 0 <= report["miou"] <= 1 and set(report["iou"]) == set(data.Shapes(1).class_names)
    rows = (output / "log.csv").read_text().splitlines()
    assert len(rows) == 3 and "val_miou" in rows[0]
    for name in ("predictions.png", "curves.png", "projection.npz", "recipe.json", "tensorboard"):
        assert (output / name).exists()
    assert not list(output.glob("part.*"))


def test_ctrl_c_and_resume_end_in_the_weights_of_an_uninterrupted_run(finished, quick, tmp_path):
    def ctrl_c(self, batch, logs=None):
        if train._number(self.model.optimizer.iterations) == 2:  # before the third, mid-epoch
            os.kill(os.getpid(), signal.SIGINT)

    handler_before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Checkpoint, "on_train_batch_begin", ctrl_c)
        assert train.train(TINY, tmp_path) is None
    assert (tmp_path / train.CHECKPOINT).exists() and not (tmp_path / "report.json").exists()
    assert signal.getsignal(signal.SIGINT) is handler_before
    report = train.train(TINY, tmp_path)
    assert report["iou"] == finished[1]["iou"]
    for resumed, whole in zip(weights(tmp_path), weights(finished[0]), strict=True):
        np.testing.assert_array_equal(resumed, whole)


def test_two_replicas_train_as_one_does(finished, quick):
    # equal up to float32 sums in another order, without void, whose share may differ
    config = dataclasses.replace(TINY, weight_decay=4e-5)
    fitted = keras_dup.projection.load(finished[0] / "projection.npz")
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    label_maps = np.random.default_rng(1).integers(0, 7, (4, 32, 32))
    batches = tf.data.Dataset.from_tensors((images, label_maps)).unbatch().repeat().batch(4)
    results = []
    for devices, count in (("cpu:0",), 1), ((), 2):
        keras.utils.set_random_seed(0)
        strategy = train.strategy(devices)
        assert strategy.num_replicas_in_sync == count
        with strategy.scope():
            model = train.compiled(config, fitted)
            model.fit(batches, steps_per_epoch=3, verbose=0)
        results.append(model.get_weights())
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-6)


def test_the_optimizer_follows_poly_and_decays_kernels_alone():
    sgd = train.optimizer(dataclasses.replace(TINY, steps=100, learning_rate=0.5, power=0.9))
    assert float(sgd.learning_rate) == pytest.approx(0.5)
    sgd.iterations.assign(60)
    assert float(sgd.learning_rate) == pytest.approx(0.5 * 0.4**0.9)
    kernel, gamma = (keras.Variable([2.0], name=name) for name in ("kernel", "gamma"))
    sgd.build([kernel, gamma])
    sgd.apply([tf.zeros(1), tf.zeros(1)], [kernel, gamma])
    rate = 0.5 * 0.4**0.9
    assert float(kernel[0]) == pytest.approx(2 * (1 - rate * TINY.weight_decay / 0.1))
    assert float(gamma[0]) == 2


def test_a_run_of_another_recipe_is_not_continued(tmp_path):
    train._save_recipe(TINY, tmp_path)
    (tmp_path / train.CHECKPOINT).touch()
    train._save_recipe(TINY, tmp_path)
    with pytest.raises(ValueError, match=r"another recipe \(steps: 4 -> 5"):
        train._save_recipe(dataclasses.replace(TINY, steps=5), tmp_path)


def test_a_missing_extra_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(train.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(ImportError, match=r"pip install 'keras-dup\[train\]'"):
        train.train(TINY, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    checkpoint = train.Checkpoint(tmp_path / "c.weights.h5")
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(FloatingPointError, match="loss is NaN at step 1"):
        model.fit(np.ones((4, 1)), np.full((4, 1), np.nan), callbacks=[checkpoint], verbose=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepps=5", "expected key=value with a key of name, num_classes"),
        ("steps", "expected key=value"),
        ("steps=many", "steps is a int"),
    ],
)
def test_bad_overrides_are_named(override, message):
    with pytest.raises(ValueError, match=message):
        recipe.load("training/recipes/shapes.py", [override])


def test_overrides_have_the_types_of_the_recipe():
    given = recipe.load(
        "training/recipes/shapes.py",
        ["steps=7", "learning_rate=1e-2", "crop_size=64,96", "low_level_features=", "decoder=x"],
    )
    assert (given.steps, given.learning_rate, given.crop_size) == (7, 0.01, (64, 96))
    assert (given.low_level_features, given.decoder) == ((), "x")


def test_the_folder_of_a_recipe_is_the_users(tmp_path):
    folders = {}
    for split in ("train", "val"):
        for part in ("images", "masks"):
            folders[f"{split}_{part}"] = f"{split}/{part}"
            (tmp_path / split / part).mkdir(parents=True)
            data.save_label_map(tmp_path / split / part / "a.png", np.zeros((8, 8), np.uint8))
    given = dataclasses.replace(TINY, data_root=str(tmp_path), **folders)
    assert [len(split) for split in recipe.datasets(given)] == [1, 1]


def test_a_predictor_answers_as_the_model_at_every_size():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(7, 1, activation="softmax")(image))
    predict = predictor(model)
    for size in ((32, 40), (37, 33)):
        x = data.Shapes(1, size).image(0)
        expected = model(x[None].astype("float32")).numpy()[0].argmax(-1)
        np.testing.assert_array_equal(predict(x), expected)


@pytest.mark.slow
def test_the_demo_compares_exports_and_draws(tmp_path, capsys):
    overrides = ["steps=2", "steps_per_epoch=1", "batch_size=4", "train_count=8", "val_count=4"]
    demo.main([*overrides, "crop_size=48,48", "channels=8", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "bilinear" in printed and "dupsampling" in printed and "multiply-adds" in printed
    for name in ("saved_model/1/saved_model.pb", "model.tflite", "comparison.png"):
        assert (tmp_path / name).exists()
