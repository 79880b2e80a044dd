"""What a run keeps in its folder, and what it was made of."""

import dataclasses
import json

import keras
import pytest
from tiny_run import TINY

from keras_dup import training
from keras_dup.training import (
    _checkpoint,
    _folder,
)


def test_a_run_of_another_recipe_is_not_continued(tmp_path):
    _folder.keep_recipe(TINY, tmp_path)
    (tmp_path / _folder.CHECKPOINT).touch()
    _folder.keep_recipe(TINY, tmp_path)
    assert len(json.loads((tmp_path / "runs.json").read_text())) == 2
    with pytest.raises(ValueError, match=r"another recipe \(steps: 4 -> 5"):
        _folder.keep_recipe(dataclasses.replace(TINY, steps=5), tmp_path)
    saved = json.loads((tmp_path / "recipe.json").read_text())
    del saved["train_batch_norm"]  # as a version without this field wrote it
    (tmp_path / "recipe.json").write_text(json.dumps(saved))
    _folder.keep_recipe(TINY, tmp_path)


def test_a_run_of_another_backend_is_not_continued(tmp_path):
    _folder.keep_recipe(TINY, tmp_path)
    other = "tensorflow" if keras.backend.backend() == "jax" else "jax"
    starts = [{**json.loads((tmp_path / "runs.json").read_text())[0], "backend": other}]
    (tmp_path / "runs.json").write_text(json.dumps(starts))
    (tmp_path / _folder.CHECKPOINT).touch()
    with pytest.raises(ValueError, match=f"go on with KERAS_BACKEND={other}"):
        _folder.keep_recipe(TINY, tmp_path)
    assert json.loads((tmp_path / "runs.json").read_text()) == starts


def test_a_damaged_checkpoint_is_left_for_the_one_before(quick, tmp_path, fitted, capsys):
    model = training.training_copy(training.build_network(TINY, fitted), TINY)
    keeper = _checkpoint.Checkpoint(tmp_path / "c.weights.h5")
    keeper.set_model(model)
    for model.done in (1, 2):
        keeper.save()
    keeper.path.write_bytes(keeper.path.read_bytes()[:1000])
    model.done = 0
    _checkpoint.restore(model, keeper.path)
    assert model.done == 1 and "trying the one before" in capsys.readouterr().out
