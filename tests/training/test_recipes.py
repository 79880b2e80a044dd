"""The files of training/recipes/, their documented commands, and the paper's numbers in them."""

import ast
import dataclasses
import pathlib
import re
import shlex

import pytest

from keras_dup import training
from keras_dup.presets import PRESETS

RECIPES = pathlib.Path(__file__).parents[2] / "training" / "recipes"
FILES = sorted(path.name for path in RECIPES.glob("*.py"))
START = "python -m training.train training/recipes/"

# Sec. 4: iterations, initial rate, weight decay, batch, images of batch norm's statistics, C~;
# None where the paper does not say
COLUMNS = ("steps", "learning_rate", "weight_decay", "batch_size", "batch_norm_group", "channels")
PAPER = {
    "voc2012_resnet50": (30_000, 0.007, 1e-4, 48, 12, 64),
    "voc2012_xception65": (30_000, 0.007, 4e-5, 32, 16, 128),
    "voc2012_upper_bound": (100_000, 0.07, 1e-4, 48, 12, 64),
    "cityscapes_xception71": (90_000, 0.01, 4e-5, 32, 16, 256),
    "pascal_context_xception65": (None, None, 4e-5, 32, 16, 128),
    "voc2012_test": (500_000, 0.007, 4e-5, 32, 16, 128),
}
# its network sees label maps and has no weights to load
ENCODER = {"network": "research.upper_bound:network", "weights": ""}
ROUNDS = {"coco": (500_000, 0.007), "sbd": (30_000, 0.001), "trainval": (30_000, 0.0001)}


def commands(name):
    """[(comment above it, recipe it trains, name of its folder)] of a recipe's docstring."""
    text = ast.get_docstring(ast.parse((RECIPES / name).read_text()))
    found, comment = [], ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith(START):
            path, *words = shlex.split(line.removeprefix(START))
            output = words[words.index("--output") + 1] if "--output" in words else ""
            given = [word for word in words if "=" in word]
            assert path == name and words[: len(given)] == given
            found.append(
                (comment, training.load_recipe(RECIPES / path, given), pathlib.Path(output).name)
            )
        comment = line if line.startswith("#") else ""
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_has_the_name_of_its_file_and_commands_that_parse(name):
    assert training.load_recipe(RECIPES / name).name == name.removesuffix(".py")
    assert commands(name)


@pytest.mark.parametrize("name", PAPER)
def test_a_recipe_of_the_paper_has_its_numbers(name):
    recipe = training.load_recipe(RECIPES / f"{name}.py")
    for column, value in zip(COLUMNS, PAPER[name], strict=True):
        assert value in (None, getattr(recipe, column)), column
    assert recipe.temperature == 1 and recipe.power == 0.9 and recipe.momentum == 0.9
    assert recipe.scale_range == (0.5, 2) and recipe.steps % recipe.steps_per_epoch == 0
    assert recipe.weights == ("" if recipe.network else "imagenet")
    assert recipe.new_layers_variance == 0.01
    if not recipe.network:  # DeepLab's own values, for what the paper does not say
        assert recipe.batch_norm_momentum == 0.9997 and not recipe.decay_depthwise
        of_resnet = recipe.backbone.startswith("resnet")
        assert recipe.backbone_batch_norm_momentum == (0.95 if of_resnet else 0)


OF_PAPER = {name: row for name, row in PRESETS.items() if row["source"] != "not in the paper"}


def test_every_preset_has_a_command_that_trains_it_with_the_papers_figure_above():
    runs = {
        folder: (comment, recipe)
        for name in PAPER
        for comment, recipe, folder in commands(f"{name}.py")
    }
    assert set(OF_PAPER) <= set(runs)
    for name, preset in OF_PAPER.items():
        comment, recipe = runs[name]
        for key in ("backbone", "num_classes", "output_stride", "low_level_features", "decoder"):
            assert getattr(recipe, key) == preset[key], (name, key)
        assert preset["channels"] in (None, recipe.channels), name
        figures = [float(figure) for figure in re.findall(r"([\d.]+) %", comment)]
        assert figures == ([preset["miou"]] if preset["miou"] else []), name


def test_the_upper_bounds_are_the_four_of_table_1():
    paper = {(32, "bilinear"): 94.80, (32, "dupsampling"): 99.90}
    paper |= {(16, "bilinear"): 98.40, (16, "dupsampling"): 99.95}
    found = {
        (recipe.output_stride, recipe.decoder): float(comment.split()[1])
        for comment, recipe, _ in commands("voc2012_upper_bound.py")
        if not recipe.train_masks
    }
    assert found == paper


def test_the_rounds_on_the_way_to_the_test_set_follow_each_other():
    rounds = {folder: recipe for _, recipe, folder in commands("voc2012_test.py")}
    before = "imagenet"
    for name, (steps, rate) in ROUNDS.items():
        recipe = rounds[f"voc2012_test_{name}"]
        assert (recipe.steps, recipe.learning_rate) == (steps, rate)
        assert recipe.weights == before
        assert recipe.steps % recipe.steps_per_epoch == 0
        before = f"training/runs/voc2012_test_{name}/model.keras"


def test_vanilla_softmax_keeps_its_temperature():
    (recipe,) = [r for _, r, _ in commands("voc2012_resnet50.py") if not r.train_temperature]
    assert (recipe.temperature, recipe.low_level_features, recipe.decoder) == (1, (), "dupsampling")
    predicting = training.build_network(dataclasses.replace(recipe, **ENCODER))
    model = training.training_copy(predicting, recipe)
    for softmax in (predicting.get_layer("softmax"), model.head[-1]):
        assert softmax.weights and not softmax.trainable_variables


@pytest.mark.slow
def test_the_network_of_a_recipe_is_that_of_its_preset():
    recipe = training.load_recipe(RECIPES / "voc2012_resnet50.py", ["weights="])
    model = training.build_network(recipe)
    assert model.name == "resnet50_dupsampling" and model.output_shape[-1] == 21
    dupsampling = model.get_layer("dupsampling")
    assert (dupsampling.ratio, dupsampling.kernel.shape[2]) == (16, 64)
    fused = {layer.name for layer in model.layers if layer.name.endswith("_concat")}
    assert fused == {"aspp_concat", "fuse_conv1_3_concat", "fuse_b3u6c3_concat"}
    assert training.training_copy(model, recipe).count_params() == model.count_params()
