"""zeromodels' encoders: docs/networks.md, row by row. Run where `pip install zeromodels` was."""

import pathlib
import re

import keras
import numpy as np
import pytest
from encoder_step import moved_by_a_step

from keras_dup import data, models, projection
from keras_dup._backbones import keras_model

zeromodels = pytest.importorskip("zeromodels", reason="no extra that is tested brings zeromodels")

PAGE = (pathlib.Path(__file__).parents[2] / "docs/networks.md").read_text()
ROWS = [
    (name, *cells)
    for names, *cells in re.findall(r"^\| (`\w+Model`[^|]*)\| ([^|]*)\| ([^|]*)\|$", PAGE, re.M)
    for name in re.findall(r"`(\w+)`", names)
]
MODULES = [module for module in vars(zeromodels.models).values() if hasattr(module, "__path__")]
ARGUMENTS = {
    "VGGModel": {"num_filters": [8, "M"] * 5},
    "MaxViTModel": {"depths": (1, 1, 1, 1)},
    "CaiTModel": {"depth": 2},
}
TINY = {
    "ConvNeXtModel": {"depths": (1, 1, 1, 1), "projection_dim": (8, 8, 8, 8)}
    | {"layer_scale_init": 1.0},
    "MiTModel": {"depths": (1, 1, 1, 1), "embed_dim": (8, 16, 40, 64), "image_size": 64},
    "SwinModel": {"depths": (1, 1, 1, 1), "embed_dim": 24, "image_size": 64, "window_size": 2},
}


def made(name, **arguments):
    (kind,) = {getattr(module, name) for module in MODULES if hasattr(module, name)}
    given = {"as_backbone": True, "image_size": (None, None, 3), **arguments}
    return kind(**given)


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_of_the_table_builds_as_it_says(row):
    name, outputs, image = row
    arguments = ARGUMENTS.get(name, {})
    if "any size" not in image:
        arguments["image_size"] = 224
    backbone = made(name, **arguments)
    if "does not build" in outputs:
        message = "no patches of 8" if "tokens" in outputs else "no stride 2, 4, 8"
        with pytest.raises(ValueError, match=message):
            models.build(backbone, 3, projection="random")
        return
    if "tokens" in outputs:
        for vit in (backbone, made(name, **arguments | {"as_backbone": False})):
            models.build(vit, 3, 16, projection="random")
        return
    strides = [int(stride) for stride in outputs.split(",")]
    _, found = keras_model.encoder(backbone, tuple(backbone.output_names))
    assert list(found.values()) == [*strides, strides[-1]]
    network = {"num_classes": 3, "low_level_features": tuple(backbone.output_names[:1])}
    models.build(backbone, **network, projection="random")
    models.build(backbone, **network, decoder="bilinear")


@pytest.mark.parametrize("name", TINY)
def test_an_encoder_of_zeromodels_trains_and_is_saved(name, tmp_path):
    backbone = made(name, **TINY[name])
    x = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    network = {"num_classes": 3, "low_level_features": tuple(backbone.output_names[:1])}
    network |= {"projection": "random", "preprocessing": keras.layers.Rescaling(1 / 127.5, -1)}
    model = models.build(backbone, fusion_channels=8, **network)
    assert moved_by_a_step(model, backbone, x) > 0.8
    models.save(model, tmp_path / "saved")
    y = keras.ops.convert_to_numpy(model(x, training=False))
    found = models.load(tmp_path / "saved")(x, training=False)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), y, atol=1e-6)


def test_the_call_of_the_page_is_right():
    (code,) = [code for code in re.findall(r"```py\n(.*?)```", PAGE, re.S) if "zeromodels" in code]
    masks = list(data.Shapes(16, size=(64, 64)).label_maps())
    found = {"models": models, "projection": projection, "masks": masks}
    exec(code.replace("ConvNeXtModel(", "ConvNeXtModel((1, 1, 1, 1), (8, 8, 8, 8), "), found)
    assert found["model"](np.zeros((1, 64, 96, 3), "float32")).shape == (1, 64, 96, 7)
