"""From two folders to a trained and exported network with two commands.

tests/data/test_mask_kinds.py holds that every kind of masks gives the same data set; with
`--full-size` every kind is trained and exported too.
"""

import dataclasses
import json

import mask_kinds
import pytest
from ten_steps import build

from keras_dup import _cli, models

TINY = ["steps=2", "steps_per_epoch=2", "batch_size=2", "devices=cpu:0"]
ABSENT = "allow_absent_classes=true"  # three classes are drawn, some tables name more


@pytest.mark.slow
@pytest.mark.parametrize("name", mask_kinds.KINDS)
def test_every_kind_of_masks_gets_to_an_exported_network(name, request, tmp_path, monkeypatch):
    if not request.config.getoption("full_size"):
        pytest.skip("one kind stands for the others, to save time; see --full-size")
    monkeypatch.setattr(models, "build", build)
    monkeypatch.chdir(tmp_path)
    kind = mask_kinds.KINDS[name]
    mask_kinds.write(kind, tmp_path, 8)
    said = [*kind.said, "--num-classes", str(kind.num_classes)]
    said += ["--decoder", "bilinear"]  # W of so few windows would need fewer channels
    folders = ["--images", "images", "--masks", "masks"]
    _cli.main(["train", *folders, *said, "-o", "run", *TINY, ABSENT])
    _cli.main(["export", "run/best.keras", "-o", "out", "--formats", "litert"])
    assert (tmp_path / "out/litert.tflite").exists()


@pytest.mark.slow
def test_two_commands_train_and_export_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "build", build)
    monkeypatch.chdir(tmp_path)
    kind = dataclasses.replace(mask_kinds.KINDS["colours"], mask="{}_mask")
    mask_kinds.write(kind, tmp_path, 8)
    folders = ["--images", "images", "--masks", "masks", *kind.said]
    _cli.main(["train", *folders, "-o", "run", *TINY, "channels=4"])
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
