"""What happens around the steps: the log and its curves, NaN, which process writes."""

import json
import types

import keras
import numpy as np
import pytest
from tiny_run import TINY

from keras_dup import data
from keras_dup.training import (
    _callbacks,
    _distribution,
    _log,
)


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_pictures():
    dataset = data.Shapes(8, (32, 32))
    guard = _callbacks.NotANumber(TINY, dataset)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.done = 0
    model.compile("sgd", "mse")
    with pytest.raises(FloatingPointError, match="loss is NaN at step 1") as error:
        around = [_callbacks.Count(), guard]
        model.fit(np.ones((4, 1)), np.full((4, 1), np.nan), callbacks=around, verbose=0)
    order = data._pipeline.epoch_order(8, TINY.seed, 0)
    assert ", ".join(f"picture {i}" for i in order[:4]) in str(error.value)


def test_rows_after_the_last_checkpoint_are_forgotten(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n2,1.0\n4,0.5\n")
    assert [row["step"] for row in _log.read_log(tmp_path / "log.csv", 2)] == ["2"]
    assert _log.read_log(tmp_path / "none.csv", 2) == []


def test_curves_are_drawn_of_what_the_log_has(tmp_path):
    rows = [{"step": 2, "loss": 1.0, "val_miou": ""}, {"step": 4, "loss": 0.5, "val_miou": 0.2}]
    _log.draw_curves(rows, tmp_path / "curves.png")
    assert data.read_image(tmp_path / "curves.png").shape[1] == 880


def test_one_process_of_many_writes(monkeypatch):
    assert _distribution.is_chief() and not _distribution.is_multi_worker()
    cluster = {"chief": ["a:1"], "worker": ["b:1"]}
    for task, chief in (
        ({"type": "chief", "index": 0}, True),
        ({"type": "worker", "index": 0}, False),
    ):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        assert _distribution.is_chief() == chief and _distribution.is_multi_worker()


def test_a_worker_that_is_not_the_first_prints_nothing(monkeypatch, capsys):
    for chief in (False, True):
        monkeypatch.setattr(_callbacks, "is_chief", lambda chief=chief: chief)
        progress = _callbacks.Progress("training", 2, 0)
        progress.set_model(types.SimpleNamespace(done=1))
        progress.on_train_batch_begin(0)
        progress.on_train_batch_end(0, {"loss": 0.5})
        logs = {"loss": 0.5, "val_miou": 0.25, "images_per_second": 12.34, "waiting": 0.256}
        progress.on_epoch_end(0, logs)
        lines = capsys.readouterr().out.splitlines()
        expected = "step 1 of 2: loss 0.5000, mIoU 25.00 % (best 25.00 % at step 1)"
        expected += ", 12.3 images/s, 26 % of the time waiting for images"
        assert [line for line in lines if line][-1:] == [expected] * chief
