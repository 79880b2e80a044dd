"""A run from end to end: its files, its resumption, what it refuses."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from tiny_run import TINY

from keras_dup import data, evaluation, layers, models, projection, training
from keras_dup.projection._label_projection import nearest
from keras_dup.training import (
    _checkpoint,
    _folder,
    _log,
    _projection,
    _run,
    datasets,
    predictor,
)


def weights(output):
    return models.load(output / "model.keras").get_weights()


def test_a_run_leaves_report_logs_and_pictures(finished):
    output, report = finished
    assert json.loads((output / "report.json").read_text()) == report
    assert 0 <= report["miou"] <= 1 and set(report["iou"]) == set(data.Shapes(1).class_names)
    for name in ("model.keras", "best.keras"):  # wherever they are moved to
        assert models.class_names(models.load(output / name)) == list(data.Shapes(1).class_names)
        (output / "classes.txt").rename(output / "moved.txt")
        assert models.class_names(output / name) == list(data.Shapes(1).class_names)
        (output / "moved.txt").rename(output / "classes.txt")
    rows = _log.read_log(output / "log.csv", last_step=4)
    assert [row["step"] for row in rows] == ["2", "4"]
    for name in ("loss", "val_miou", "temperature", "learning_rate", "peak_memory_mib"):
        assert np.isfinite(float(rows[1][name]))
    assert float(rows[1]["images_per_second"]) > 0 and 0 <= float(rows[1]["waiting"]) <= 1
    assert report["best"]["miou"] == max(float(row["val_miou"]) for row in rows)
    for name in ("predictions.png", "curves.png", "projection.npz", "recipe.json", "best.keras"):
        assert (output / name).exists()
    assert list((output / "tensorboard").iterdir())
    assert not list(output.glob(".*")), "something was left half-way"
    (started,) = json.loads((output / "runs.json").read_text())
    assert started["versions"]["keras"] == keras.__version__ and len(started["commit"]) >= 40


def test_the_saved_network_is_the_one_that_was_validated(finished):
    output, report = finished
    model = models.load(output / "model.keras")
    assert isinstance(model.layers[-1], layers.AdaptiveTemperatureSoftmax)
    again = evaluation.evaluate(predictor(model), datasets(TINY)[1])
    assert again["iou"] == report["iou"]


def test_ctrl_c_and_resume_end_in_the_weights_of_an_uninterrupted_run(finished, quick, tmp_path):
    def ctrl_c(self, batch, logs=None):
        if self.model.done == 2:  # before the third, mid-epoch
            os.kill(os.getpid(), signal.SIGINT)

    handler_before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_checkpoint.Checkpoint, "on_train_batch_begin", ctrl_c)
        with pytest.raises(training.Interrupted, match="stopped at step 3") as stopped:
            training.train(TINY, tmp_path)
    assert stopped.value.status == 130
    assert (tmp_path / _folder.CHECKPOINT).exists() and not (tmp_path / "report.json").exists()
    assert signal.getsignal(signal.SIGINT) is handler_before
    report = training.train(TINY, tmp_path)
    assert report["iou"] == finished[1]["iou"]
    for resumed, whole in zip(weights(tmp_path), weights(finished[0]), strict=True):
        np.testing.assert_array_equal(resumed, whole)


def test_pretraining_brings_the_features_to_the_compressed_labels(quick, tmp_path):
    config = dataclasses.replace(TINY, pretraining_steps=4, pretraining_learning_rate=0.001)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run._Run, "train", lambda self: seen.append(self.training.get_weights()))
        patch.setattr(_run._Run, "finish", lambda self, found: found)
        training.train(config, tmp_path)
        training.train(config, tmp_path)  # goes on after the last step
    for one, two in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, two)
    start = training.build_network(TINY, projection.load(tmp_path / "projection.npz"))
    changed = [not np.allclose(a, b) for a, b in zip(start.get_weights(), seen[0], strict=True)]
    assert any(changed) and (tmp_path / _folder.PRETRAINED).exists()


@pytest.mark.parametrize("trained", [False, True])
def test_a_random_w_is_trained_where_the_recipe_says_so(trained, quick, tmp_path):
    config = dataclasses.replace(TINY, projection="random", train_projection=trained)
    training.train(config, tmp_path)
    model = models.load(tmp_path / "model.keras").get_layer("dupsampling")
    found = model.kernel.numpy()[0, 0]
    orthonormal = np.allclose(found @ found.T, np.eye(len(found)), atol=1e-6)
    assert orthonormal == (not trained) and (not model.bias.numpy().any()) == (not trained)
    assert not (tmp_path / "projection.npz").exists()


def test_nearest_neighbour_upsampling_is_trained_by_name(quick, tmp_path):
    config = dataclasses.replace(TINY, projection="nearest", channels=7)
    training.train(config, tmp_path)
    kernel = models.load(tmp_path / "model.keras").get_layer("dupsampling").kernel[0, 0]
    np.testing.assert_array_equal(kernel, nearest(7, 16).matrix)


def test_a_network_whose_multiply_adds_cannot_be_counted_is_not_lost(capsys):
    block = keras.Sequential([keras.layers.Conv2D(2, 1)])

    class Composite(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="composite")
            self.block = block

        def call(self, x):
            return self.block(x)

    image = keras.Input((None, None, 3))
    assert _run._multiply_adds(keras.Model(image, Composite()(image)), (32, 32)) is None
    assert "not counted: flops: composite is a Composite" in capsys.readouterr().out


def test_a_command_ends_with_a_status_that_a_scheduler_understands(quick, tmp_path):
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):

        def stop(self, batch, logs=None, number=number):
            os.kill(os.getpid(), number)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as error:
            patch.setattr(_checkpoint.Checkpoint, "on_train_batch_begin", stop)
            training.train_or_exit(TINY, tmp_path)
        assert error.value.code == status


def test_a_rate_that_is_too_high_is_one_line(quick, tmp_path):
    recipe = dataclasses.replace(TINY, learning_rate=1e30)
    with pytest.raises(SystemExit, match=r"train: loss is NaN at step .*lower") as error:
        training.train_or_exit(recipe, tmp_path)
    assert "\n" not in str(error.value)


def test_a_run_of_a_folder_fits_w_on_all_cores(monkeypatch, tmp_path):
    found = []
    monkeypatch.setattr(_projection, "_MAPS_PER_WORKER", 2)
    monkeypatch.setattr(_projection.os, "cpu_count", lambda: 3)
    monkeypatch.setattr(
        _projection.projection, "fit", lambda *_, workers, **__: found.append(workers)
    )
    for count in (1, 5, 100):
        dataset = data.Folder.__new__(data.Folder)
        dataset.image_files = [None] * count
        with pytest.raises(AttributeError):  # there is no W
            _projection._fit(TINY, dataset, tmp_path / "w.npz")
    assert found == [1, 2, 3]


def test_a_recipe_needs_no_tensorflow():
    code = "import sys; from keras_dup.training import Recipe, load_recipe; "
    code += "from keras_dup.training._recipe_files import override; "
    code += "override(Recipe('a', 2), ['steps=3']); assert 'tensorflow' not in sys.modules"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
