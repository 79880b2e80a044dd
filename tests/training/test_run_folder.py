"""What a run keeps in its folder, and what it was made of."""

import dataclasses
import json
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_run import TINY

from keras_dup import data, projection, training
from keras_dup.training import _checkpoint, _distribution, _folder, _log, _run
from keras_dup.training._errors import WorkerLost


def test_a_run_of_another_recipe_is_not_continued(tmp_path):
    _folder.keep_recipe(TINY, tmp_path)
    (tmp_path / _folder.CHECKPOINT).touch()
    _folder.keep_recipe(TINY, tmp_path)
    assert len(json.loads((tmp_path / "runs.json").read_text())) == 2
    with pytest.raises(ValueError, match=r"another recipe \(momentum: 0.9 -> 0.5"):
        _folder.keep_recipe(dataclasses.replace(TINY, momentum=0.5), tmp_path)
    with pytest.raises(ValueError, match="steps: 4 -> 3"):
        _folder.keep_recipe(dataclasses.replace(TINY, steps=3), tmp_path)
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


@pytest.fixture
def in_folders(tmp_path):
    """A recipe of two folders of drawn images, and where they are."""
    shapes = data.Shapes(8, (32, 32))
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for i in range(8):
        Image.fromarray(shapes.image(i)).save(tmp_path / "images" / f"{i:02}.png")
        data.save_label_map(tmp_path / "masks" / f"{i:02}.png", shapes.label_map(i))
    folders = {"train_images": str(tmp_path / "images"), "train_masks": str(tmp_path / "masks")}
    changes = {"val_share": 0.25, "allow_absent_classes": True, "train_count": 0, "val_count": 0}
    return dataclasses.replace(TINY, **folders, **changes), tmp_path


def test_w_is_fitted_anew_to_masks_that_were_corrected_before_training_began(
    in_folders, quick, monkeypatch
):
    recipe, path = in_folders
    output = path / "run"

    def stop(*_):
        raise KeyError("stopped after W was fitted")

    def fitted_w():
        with monkeypatch.context() as patch, pytest.raises(KeyError, match="stopped after"):
            patch.setattr(_run, "build_network", stop)
            training.train(recipe, output)
        return projection.load(output / "projection.npz").matrix

    first, written = fitted_w(), (output / "projection.npz").stat().st_mtime_ns
    np.testing.assert_array_equal(first, fitted_w())
    assert (output / "projection.npz").stat().st_mtime_ns == written, "nothing had changed"
    for mask in (path / "masks").iterdir():
        data.save_label_map(mask, data.Shapes(8, (32, 32), seed=9).label_map(int(mask.stem)))
    assert not np.allclose(np.abs(first), np.abs(fitted_w()), atol=1e-3)
    for change in ({"class_balance": 0.5}, {"ids": tuple(f"{k}:{k}" for k in (*range(7), 255))}):
        written = (output / "projection.npz").stat().st_mtime_ns
        recipe = dataclasses.replace(recipe, **change)
        fitted_w()
        assert (output / "projection.npz").stat().st_mtime_ns > written


def test_no_image_changes_sides_when_one_is_added_to_a_run(in_folders, quick):
    recipe, path = in_folders
    output = path / "run"
    training.train(dataclasses.replace(recipe, steps=2), output)
    before = json.loads((output / "split.json").read_text())
    assert sorted(before["val"]["files"]) == ["00", "04"] and len(before["train"]["files"]) == 6
    for part in ("images", "masks"):
        (path / part / "000.png").write_bytes((path / part / "03.png").read_bytes())
    assert [file.stem for file in training.datasets(recipe)[1].image_files] != ["00", "04"]
    training.train(dataclasses.replace(recipe, steps=2), output)
    assert json.loads((output / "split.json").read_text()) == before
    sides = training.datasets(recipe, output)
    assert [sorted(before[k]["files"]) for k in ("train", "val")] == [
        sorted(file.stem for file in side.image_files) for side in sides
    ]
    mask = path / "masks" / "03.png"
    data.save_label_map(mask, np.zeros((32, 32), np.uint8))
    with pytest.raises(ValueError, match=r"data of this run have changed .*1 files, 03"):
        training.train(dataclasses.replace(recipe, steps=2), output)


def test_a_finished_run_goes_on_longer_elsewhere(in_folders, quick, monkeypatch, capsys):
    recipe, path = in_folders
    recipe = dataclasses.replace(recipe, steps=2)
    with monkeypatch.context() as patch:  # without the extra `train`
        patch.setattr(_log, "installed", lambda _: None)
        training.train(recipe, path / "run")
    printed = capsys.readouterr().out
    assert "no curves.png and TensorBoard's files: these need the extra, pip install" in printed
    assert "training: compiling, which the first step waits for" in printed
    assert re.search(
        r"step 2 of 2: loss \d\.\d+, mIoU [\d.]+ % \(best [\d.]+ % at step 2\)", printed
    )
    assert not (path / "run" / "curves.png").exists()
    samples = np.asarray(Image.open(path / "run" / "samples.png"))
    assert samples.shape[1] > 4 * 240 and (samples == 255).all(-1).any()
    moved = path / "moved" / "renamed"
    moved.parent.mkdir()
    (path / "run").rename(moved)
    for part in ("images", "masks"):
        (path / part).rename(path / f"my_{part}")
    there = {f"train_{part}": str(path / f"my_{part}") for part in ("images", "masks")}
    longer = dataclasses.replace(recipe, name="renamed", steps=4, **there)
    training.train(longer, moved)
    printed = capsys.readouterr().out
    rate = 0.01 * 0.5**0.9
    said = re.search("step 2 of 4: learning rate .*", printed)[0]
    assert said == f"step 2 of 4: learning rate {rate:.2g}, which falls to 0"
    assert "step 4 of 4: loss" in printed and "curves.png" not in printed
    assert [row["step"] for row in _log.read_log(moved / "log.csv")] == ["2", "4"]
    names = sorted(picture.name for picture in (moved / "predictions").iterdir())
    assert names == ["step_000002.png", "step_000004.png"] and (moved / "curves.png").exists()
    with pytest.raises(ValueError, match=r"another recipe \(steps: 4 -> 3\)"):
        training.train(dataclasses.replace(longer, steps=3), moved)


def test_a_class_that_occurs_in_no_mask_stops_a_training(in_folders, quick):
    recipe, path = in_folders
    for mask in (path / "masks").iterdir():
        pixels = np.zeros((32, 32), np.uint8)
        pixels[:8] = 255
        data.save_label_map(mask, pixels)
    recipe = dataclasses.replace(recipe, num_classes=2, allow_absent_classes=False)
    said = r"class 1 occurs in none of 6 masks; ids found: 0 \(75 %\), 255 \(25 %, void\).*--ids"
    with pytest.raises(ValueError, match=said):
        training.train(recipe, path / "run")
    mapped = dataclasses.replace(recipe, ids=("0:0", "255:1"), steps=2, channels=1)
    assert training.train(mapped, path / "run")["iou"].keys() == {"0", "1"}
    allowed = dataclasses.replace(recipe, allow_absent_classes=True, decoder="bilinear", steps=2)
    assert training.train(allowed, path / "other")["steps"] == 2


def test_a_second_run_in_a_folder_is_refused_and_half_files_of_a_killed_one_are_removed(tmp_path):
    half = tmp_path / ".18415.checkpoint.weights.h5"
    picture = tmp_path / "predictions" / ".18415.step_000002.png"
    picture.parent.mkdir()
    for path in (half, picture):
        path.touch()
    (tmp_path / ".hidden").touch()
    with _folder.locked(tmp_path):
        assert not half.exists() and not picture.exists() and (tmp_path / ".hidden").exists()
        with (
            pytest.raises(ValueError, match="another run is at work in this folder; wait"),
            _folder.locked(tmp_path),
        ):
            pass
    with _folder.locked(tmp_path):
        pass


@pytest.mark.parametrize("name", ["recipe.json", "runs.json", "log.csv", "split.json"])
def test_a_file_of_a_run_that_was_cut_short_is_named(name, finished, quick, tmp_path):
    output = shutil.copytree(finished[0], tmp_path / "run")
    content = (output / name).read_bytes()
    (output / name).write_bytes(content[: len(content) - 30])
    with pytest.raises(ValueError, match=rf"{name}: .*damaged or cut short .*delete it"):
        training.train(TINY, output)


def test_a_worker_that_leaves_first_at_the_end_is_not_lost(tmp_path, monkeypatch):
    def gone(strategy):
        raise WorkerLost("another worker of this run has ended")

    monkeypatch.setattr(_distribution, "barrier", gone)
    report = training.train(TINY, tmp_path)
    assert report["steps"] == TINY.steps
    # more steps: the report of the shorter run is no sign that this one is finished
    monkeypatch.setattr(_run._Run, "finish", lambda run, validation: {})
    with pytest.raises(WorkerLost):
        training.train(dataclasses.replace(TINY, steps=TINY.steps + 1), tmp_path)
