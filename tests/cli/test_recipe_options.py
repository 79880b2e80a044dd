"""Every field of a recipe is an option of `keras-dup train`, made from the class `Recipe` alone."""

import contextlib
import dataclasses
import io

import pytest

from keras_dup import _cli, training
from keras_dup._cli import recipe as recipe_options
from keras_dup._cli import train

FIELDS = [field.name for field in dataclasses.fields(training.Recipe)]
FOLDERS = ["--images", "images", "--masks", "masks", "--num-classes", "7", "-o", "run"]


def recipe(*arguments):
    return train._recipe_of(_cli.parser().parse_args(["train", *FOLDERS, *arguments]))


def help_of_train():
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        _cli.main(["train", "--help"])
    return " ".join(text.getvalue().split())


def test_every_field_is_an_option_with_its_docstring_and_its_default():
    shown = help_of_train()
    for name in FIELDS:
        assert f"--{name.replace('_', '-')}" in shown, name
        assert len(recipe_options.field_docs()[name]) > 10, name
    assert "T of the DUpsampling decoder before training (default: 1 / ratio" in shown
    assert "--steps N Batches to train on (default: 4000)" in shown, "of the command"
    assert "--power X" in shown and "(default: 0.9)" in shown, "of the recipe"
    for group in ("data:", "network:", "training:"):
        assert f" {group} " in shown


def test_options_and_texts_give_the_same_recipe():
    options = "--steps 8000 --crop-size 257 193 --no-train-batch-norm --ema 0.9 --decoder bilinear"
    texts = "steps=8000 crop_size=257,193 train_batch_norm=false ema=0.9 decoder=bilinear"
    assert recipe(*options.split()) == recipe(*texts.split())
    mixed = recipe("--low-level-features", "b2u2c3", "conv1", "steps=9", "--crop-size", "9,8")
    assert mixed.low_level_features == ("b2u2c3", "conv1")
    assert (mixed.steps, mixed.crop_size) == (9, (9, 8))
    assert recipe("--low-level-features").low_level_features == ()


def test_drawn_images_and_data_sets_of_a_function_need_no_folders():
    arguments = ["train", "--num-classes", "7", "-o", "run", "--train-count", "8", "val_count=2"]
    found = train._recipe_of(_cli.parser().parse_args(arguments))
    assert (found.train_count, found.val_count, found.train_images) == (8, 2, "")
    with pytest.raises(ValueError, match="--images, --masks and --num-classes, or else"):
        recipe("--datasets", "mine:datasets")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--steps 9 steps=8", "--steps and steps=8: give one of them"),
        ("--steps 0", "steps=0; more than 0"),
        ("--class-weights 1 2", "2 class_weights, but num_classes=7"),
        ("--class-weights 1 x", "class_weights is a float, not 'x'"),
        ("backbone=resnet5", "backbone='resnet5'; one of .*did you mean 'resnet50'"),
        ("ratio=5", "ratio=5; one of"),
        (
            "dtype_policy=mixed_float",
            "dtype_policy='mixed_float'; one of .*did you mean 'mixed_float16'",
        ),
    ],
)
def test_what_cannot_be_is_told_before_keras_is_loaded(arguments, told, monkeypatch):
    monkeypatch.setattr(_cli, "load_keras", lambda: pytest.fail("too late"))
    with pytest.raises(SystemExit, match=told):
        _cli.main(["train", *FOLDERS, *arguments.split()])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--low-level-features b2u2", "no feature .*did you mean 'b2u2c3'"),
        ("--weights imagnet", "weights=imagnet: no such file; did you mean 'imagenet'"),
        ("--weights run/best.keras", "weights=.run/best.keras.*no such file"),
        ("--backbone efficientnet_lite1 --weights imagenet", "not for efficientnet_lite1; there"),
        ("--teacher big.keras", "teacher=big.keras: no such file"),
        ("--teacher voc_animal", "teacher=voc_animal: no such file.*did you mean 'voc_animals'"),
        ("--projection w.npz", "w.npz"),
        (
            "--ratio 2 --fusion-stride 2 --channels 64",
            "channels is 64, but ratio 2 and 7 classes give at most 24",
        ),
        ("--ratio 16 --fusion-stride 8", "ratio=16, fusion_stride=8"),
    ],
)
def test_a_network_that_cannot_be_is_told_before_files_are_read(arguments, told, monkeypatch):
    monkeypatch.setattr(training, "datasets", lambda *more: pytest.fail("too late"), raising=False)
    with pytest.raises(SystemExit, match=told):
        _cli.main(["train", *FOLDERS, *arguments.split()])
