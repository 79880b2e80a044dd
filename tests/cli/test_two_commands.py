"""From two folders to a trained and exported network with two commands.

tests/data/test_mask_kinds.py holds that every other kind of masks gives the same data set.
"""

import dataclasses
import json

import mask_kinds
import pytest
from ten_steps import build

from keras_dup import _cli, models


@pytest.mark.slow
def test_two_commands_train_and_export_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "build", build)
    monkeypatch.chdir(tmp_path)
    kind = dataclasses.replace(mask_kinds.KINDS["colours"], mask="{}_mask")
    mask_kinds.write(kind, tmp_path, 8)
    folders = ["--images", "images", "--masks", "masks", *kind.said]
    tiny = ["steps=2", "steps_per_epoch=2", "batch_size=2", "devices=cpu:0", "channels=4"]
    _cli.main(["train", *folders, "-o", "run", *tiny])
    _cli.main(["export", "run/best.keras", "-o", "out", "--formats", "saved_model"])
    assert any((tmp_path / "out").rglob("saved_model.pb"))
    names = (tmp_path / "run/classes.txt").read_text().split()
    assert names == [*mask_kinds.CLASSES]
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert set(report["iou"]) == set(names)
    colours = [mask_kinds.COLOURS[k] for k in range(3)]
    assert [tuple(colour) for colour in models.load("run/best.keras").colours] == colours
    lines = (tmp_path / "colours.txt").read_text().splitlines()
    (tmp_path / "colours.txt").write_text("\n".join(lines[::-1]))  # the names say which is which
    val = json.loads((tmp_path / "run/split.json").read_text())["val"]["files"]
    (tmp_path / "val.txt").write_text("\n".join(val))
    _cli.main(["evaluate", "run/best.keras", *folders, "--names", "val.txt", "-o", "again"])
    again = json.loads((tmp_path / "again/report.json").read_text())
    assert again["iou"] == report["iou"]
