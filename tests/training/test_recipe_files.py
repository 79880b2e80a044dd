"""Recipes: overrides, ranges, contradictions."""

import dataclasses

import pytest
from tiny_run import TINY

from keras_dup import training


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepps=5", "expected key=value; did you mean 'steps'"),
        ("qqqq=5", "expected key=value with a key of name, num_classes"),
        ("steps", "expected key=value"),
        ("steps=many", "steps is a int"),
        ("jit_compile=perhaps", "jit_compile is a bool, not 'perhaps'"),
        ("crop_size=64,wide", "crop_size is a int, not 'wide'"),
        ("crop_size=64", "height and width"),
        ("steps=0", "steps=0; more than 0"),
        ("ema=1", "ema=1.0; 0 to under 1"),
        ("class_names=a,b", "2 class_names, but num_classes=7"),
        ("class_weights=1,2", "2 class_weights, but num_classes=7"),
        ("class_balance=0.9", "class_balance=0.9; 0 to 0.5"),
        ("downsample=conv", r"downsample='conv'; one of \('subsample', 'convolution'\)"),
        ("initializer=ones", "initializer='ones'; one of .*'nearest'"),
    ],
)
def test_bad_overrides_are_named(override, message):
    with pytest.raises(ValueError, match=message):
        training.load_recipe("training/recipes/shapes.py", [override])


def test_overrides_have_the_types_of_the_recipe():
    given = training.load_recipe(
        "training/recipes/shapes.py",
        [
            *("steps=7", "learning_rate=1e-2", "crop_size=64,96", "low_level_features="),
            *("decoder=bilinear", "class_weights=1,2,1,1,1,1,1", "jit_compile=true"),
        ],
    )
    assert (given.steps, given.learning_rate, given.crop_size) == (7, 0.01, (64, 96))
    assert (given.low_level_features, given.decoder, given.jit_compile) == ((), "bilinear", True)
    assert given.class_weights == (1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    of_the_decoder = training.load_recipe("training/recipes/shapes.py", ["low_level_features=none"])
    assert of_the_decoder.low_level_features is None


def test_a_decoder_without_w_does_not_leave_a_projection_or_a_network_unused():
    with pytest.raises(ValueError, match=r"projection=w\.npz is for decoder=dupsampling"):
        dataclasses.replace(TINY, decoder="thin", projection="w.npz")
    with pytest.raises(ValueError, match="is not thin; decoder=dupsampling fits a W"):
        dataclasses.replace(TINY, decoder="thin", network="my:network")


def test_pretraining_without_a_fitted_w_is_refused():
    for change in ({"projection": "random"}, {"decoder": "bilinear"}):
        with pytest.raises(ValueError, match="pretraining_steps=2 compares with labels"):
            dataclasses.replace(TINY, pretraining_steps=2, **change)


def test_a_start_that_would_be_drawn_over_is_refused():
    with pytest.raises(ValueError, match=r"new_layers_variance=0\.01 draws the weights"):
        dataclasses.replace(TINY, initializer="nearest", new_layers_variance=0.01)


def test_the_recipe_of_the_animals_allows_the_classes_that_its_photographs_lack():
    """Without that it stops before the first step: seen with the real masks."""
    recipe = training.load_recipe("training/recipes/voc_animals_efficientnet_lite0.py")
    assert recipe.allow_absent_classes
