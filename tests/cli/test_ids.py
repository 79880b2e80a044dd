"""What the commands say about ids that are no classes, and about lists."""

import functools
import types

import numpy as np
import pytest
from PIL import Image

from keras_dup import _cli, data, presets
from keras_dup._cli import options


def stand_in(monkeypatch, predict, names):
    """`predict` in place of the network of the command line."""
    network = types.SimpleNamespace(layers=[])
    found = functools.partial(lambda network, image: predict(image), network), names
    monkeypatch.setattr(options, "predictor", lambda arguments: found)
    monkeypatch.setattr(presets, "check_model", lambda name: None)


@pytest.fixture
def binary(tmp_path, monkeypatch):
    """masks/ of 0 and 255, images/ beside it, and a "network" that never finds the object."""
    monkeypatch.chdir(tmp_path)
    names = ["background", "object"]
    stand_in(monkeypatch, lambda image: np.zeros(image.shape[:2], np.uint8), names)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        ids = np.zeros((16, 24), np.uint8)
        ids[4:12, 3 + i : 19 + i] = 255
        Image.fromarray(ids).save(f"masks/{i}.png")
        Image.new("RGB", (24, 16)).save(f"images/{i}.png")
    return tmp_path


FOUND = r"in none of 3 masks; ids found: 0 \(67 %\), 255 \(33 %, void\); .*--ids=0:0,255:1"
FIT = ["fit", "masks", "--num-classes", "2", "--ratio", "8", "--channels", "4", "-o", "w.npz"]
EVALUATE = ["evaluate", "model", "--images", "images", "--masks", "masks"]


def test_fit_stops_where_masks_hold_one_class_and_void(binary, capsys):
    with pytest.raises(SystemExit, match=f"class 1 occurs {FOUND}"):
        _cli.main(FIT)
    _cli.main([*FIT, "--ids", "0:0,255:1", "--workers", "1"])
    assert "3 label maps" in capsys.readouterr().out


def test_fit_takes_colours_and_their_names(binary, capsys):
    (binary / "colours.txt").write_text("ground 0 0 0\nthing 255 255 255\n")
    fit = ["fit", "masks", "--ratio", "8", "--channels", "4", "-o", "w.npz", "--workers", "1"]
    with pytest.raises(SystemExit, match="--num-classes is missing"):
        _cli.main(fit)
    _cli.main([*fit, "--colours", "colours.txt"])
    assert "shares of the pixels: ground 66.67%, thing 33.33%" in capsys.readouterr().out


def test_fit_warns_of_a_class_that_occurs_in_no_mask(binary, capsys):
    three = ["3" if text == "2" else text for text in FIT]
    _cli.main([*three, "--ids", "0:0,255:1", "--workers", "1"])
    assert "warning: class 2 occurs in none of 3 masks; ids found: 0 (67 %), 1 (33 %)" in (
        capsys.readouterr().err
    )


def test_evaluate_says_that_a_class_occurs_in_no_mask(binary, capsys):
    _cli.main(EVALUATE)
    warned = " ".join(capsys.readouterr().err.split("\n"))
    assert 'warning: class 1 "object" occurs in none of 3 masks; ids found: 0 (67 %), 255' in warned
    _cli.main([*EVALUATE, "--ids", "0:0,255:1"])
    printed = capsys.readouterr()
    assert "occurs in none" not in printed.err and "object" in printed.out
    assert "0.00 %" in printed.out  # the object is never found
    assert "hardly more than chance" in printed.err


def test_evaluate_doubts_masks_of_another_data_set(binary, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(3):
        ids = rng.integers(0, 12, (16, 24)).astype(np.uint8)
        data.save_label_map(f"masks/{i}.png", np.where(ids == 11, 255, ids))
    names = [f"class {k}" for k in range(21)]
    drawn = functools.partial(rng.integers, 0, 21)
    stand_in(monkeypatch, lambda image: drawn(image.shape[:2]).astype(np.uint8), names)
    _cli.main(EVALUATE)
    warned = capsys.readouterr().err
    assert "kappa" in warned and "do the ids of the masks mean the classes of this model?" in warned
    assert 'classes 11 "class 11", ' in warned and "occur in none of 3 masks" in warned


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_rest_is_fitted_to_where_only_the_others_are_named(binary, capsys, encoding):
    (binary / "val.txt").write_text("1\n", encoding=encoding)
    (binary / "all.txt").write_text("0\n1\n", encoding=encoding)
    fit = [*FIT, "--ids", "0:0,255:1", "--workers", "1", "--val-names", "val.txt"]
    _cli.main(fit)
    printed = capsys.readouterr().out
    assert "w.npz: 2 label maps" in printed and "reconstruction of 1 other label maps" in printed
    with pytest.raises(SystemExit, match="1 in both lists"):
        _cli.main([*fit, "--names", "all.txt"])


@pytest.mark.parametrize("pair", ["0", "a:1", "0:", "0:1.5"])
def test_a_pair_of_ids_that_is_none_is_named(binary, pair):
    with pytest.raises(SystemExit, match=f"ids '{pair}': expected ID:CLASS"):
        _cli.main([*FIT, "--ids", pair])
    with pytest.raises(SystemExit, match="255 becomes class 2, but num_classes is 2"):
        _cli.main([*FIT, "--ids", "0:0,255:2"])
    with pytest.raises(SystemExit, match="0 is given twice"):
        _cli.main([*FIT, "--ids", "0:0,0:1"])


def test_the_masks_of_a_published_data_set_need_no_table(binary):
    with pytest.raises(SystemExit, match="--colours is for folders"):
        _cli.main(["train", "--data-set", "camvid", "--colours", "camvid", "-o", "run"])
    with pytest.raises(SystemExit, match="--ids is for folders"):
        _cli.main([*EVALUATE[:2], "--data-set", "camvid:val", "--ids", "0:0"])


def test_train_takes_the_same_table(binary, monkeypatch):
    from keras_dup import training

    recipes = []
    monkeypatch.setattr(training, "train_or_exit", lambda recipe, output: recipes.append(recipe))
    train = ["train", *EVALUATE[2:], "--num-classes", "2", "-o", "run"]
    _cli.main([*train, "--ids", "0:0,255:1"])
    assert recipes[0].ids == ("0:0", "255:1")
    sides = training.datasets(recipes[0])
    assert all(set(np.unique(label_map)) == {0, 1} for s in sides for label_map in s.label_maps())
