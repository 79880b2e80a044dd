"""The data sets of a recipe: folders, lists, splits, places."""

import dataclasses

import numpy as np
import pytest
from tiny_run import TINY

from keras_dup import data
from keras_dup.training import datasets


def folders(tmp_path, count):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir(parents=True)
        for i in range(count):
            data.save_label_map(tmp_path / part / f"{i:02}.png", np.zeros((8, 8), np.uint8))
    return {"train_images": str(tmp_path / "images"), "train_masks": str(tmp_path / "masks")}


def test_weights_may_lie_where_the_data_lie(tmp_path, monkeypatch):
    for name in ("some.h5", "model.ckpt.index"):
        (tmp_path / name).touch()
    recipe = dataclasses.replace(TINY, data_root=str(tmp_path))
    for name, found in (
        ("some.h5", str(tmp_path / "some.h5")),
        ("model.ckpt", str(tmp_path / "model.ckpt")),
        ("imagenet", "imagenet"),
        ("other.h5", "other.h5"),
    ):
        assert recipe.file_or_name(name) == found
    monkeypatch.delenv("KERAS_DUP_DATA", raising=False)
    assert TINY.file_or_name("some.h5") == "some.h5"  # the root is where one stands


def test_data_that_are_not_there_are_named_with_the_place(tmp_path, monkeypatch):
    recipe = dataclasses.replace(TINY, train_images="mine/images", train_masks="mine/masks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KERAS_DUP_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"^mine/images: not there.*neither is set"):
        datasets(recipe)
    monkeypatch.setenv("KERAS_DUP_DATA", "/nowhere")
    said = "^/nowhere/mine/images: not there; mine/images of recipe .* in [$]KERAS_DUP_DATA"
    with pytest.raises(FileNotFoundError, match=said):
        datasets(recipe)
    with pytest.raises(FileNotFoundError, match=r"other/mine/images: .* in data_root"):
        datasets(dataclasses.replace(recipe, data_root="other"))


def test_the_folders_of_a_recipe_are_the_users(tmp_path):
    train, val = folders(tmp_path / "train", 3), folders(tmp_path / "val", 1)
    val = {key.replace("train", "val"): path for key, path in val.items()}
    given = dataclasses.replace(TINY, **train, **val)
    assert [len(split) for split in datasets(given)] == [3, 1]


def test_without_other_folders_every_so_many_pictures_validate(tmp_path):
    given = dataclasses.replace(TINY, **folders(tmp_path, 12), val_share=0.25)
    train, val = datasets(given)
    assert [file.stem for file in val.image_files] == ["00", "04", "08"]
    assert len(train) == 9 and not set(train.image_files) & set(val.image_files)
    with pytest.raises(ValueError, match="none to train or to validate on"):
        datasets(dataclasses.replace(given, val_share=0.0))


def test_a_share_of_the_folders_trains_at_equal_distances(tmp_path):
    given = dataclasses.replace(TINY, **folders(tmp_path, 12), val_share=0.25, train_share=0.4)
    train, val = datasets(given)
    assert [file.stem for file in train.image_files] == ["01", "03", "06", "09"] and len(val) == 3
    with pytest.raises(ValueError, match="train_share=0; over 0 to 1"):
        dataclasses.replace(given, train_share=0)
    with pytest.raises(ValueError, match="train_split"):
        dataclasses.replace(TINY, train_share=0.5)


def test_a_list_to_validate_on_leaves_the_rest_to_train_on(tmp_path):
    names = tmp_path / "val.txt"
    names.write_text("01\n03\n")
    recipe = dataclasses.replace(TINY, **folders(tmp_path / "data", 6), val_names=str(names))
    train, val = datasets(recipe)
    assert [file.stem for file in train.image_files] == ["00", "02", "04", "05"]
    assert [file.stem for file in val.image_files] == ["01", "03"]
    names.write_text("".join(f"{i:02}\n" for i in range(6)))
    with pytest.raises(ValueError, match="none is left to train on"):
        datasets(recipe)


def test_what_is_trained_on_is_never_validated_on(tmp_path):
    given, val = folders(tmp_path / "data", 6), tmp_path / "val.txt"
    val.write_text("01\n03\n")
    (tmp_path / "train.txt").write_text("00\n01\n")
    recipe = dataclasses.replace(TINY, **given, val_names=str(val))
    said = "1 files are to be trained on and to be validated on, such as .*01.png"
    with pytest.raises(ValueError, match=said):
        datasets(dataclasses.replace(recipe, train_names=str(tmp_path / "train.txt")))
    link = tmp_path / "link"
    link.symlink_to(given["train_images"])
    with pytest.raises(ValueError, match="6 files are to be trained on"):
        datasets(dataclasses.replace(TINY, **given, val_images=str(link)))
    with pytest.raises(ValueError, match="train_split and val_split are both 'val'"):
        datasets(dataclasses.replace(TINY, data_set="camvid", train_split="val"))


def test_pairs_of_ids_are_integers(tmp_path):
    recipe = dataclasses.replace(TINY, **folders(tmp_path, 12), ids=("0:0", "255:one"))
    with pytest.raises(ValueError, match=r"ids '255:one': expected ID:CLASS"):
        datasets(recipe)
