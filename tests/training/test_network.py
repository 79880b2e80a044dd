"""The network of a recipe."""

import dataclasses
import sys
import types
import warnings

import deeplab
import keras
import numpy as np
import pytest
import tensorflow as tf
from ten_steps import build
from tiny_run import TINY

from keras_dup import data, models, projection, training
from keras_dup.training import _network


def test_a_recipe_may_name_a_function_that_gives_the_network(fitted, monkeypatch):
    def mine(recipe, projection):
        return build(recipe.num_classes, recipe.output_stride, projection, recipe.channels)

    monkeypatch.setitem(sys.modules, "mine", types.SimpleNamespace(mine=mine))
    recipe = dataclasses.replace(TINY, network="mine:mine")
    assert (
        training.build_network(recipe, fitted).count_params() == mine(TINY, fitted).count_params()
    )
    for text, said in (("nobodys:mine", "No module named 'nobodys'"), ("mine:x", "no attribute")):
        with pytest.raises(ValueError, match=f"'{text}' is not MODULE:FUNCTION.*{said}"):
            training.build_network(dataclasses.replace(TINY, network=text), fitted)
    with pytest.raises(ValueError, match=r"backbone_rate=0\.1, .*for what `build` gives"):
        dataclasses.replace(recipe, backbone_rate=0.1)


def test_strides_and_widths_of_a_recipe_reach_its_network_and_its_training():
    maps = data.Shapes(8, (32, 32)).label_maps()
    w = projection.fit(maps, num_classes=7, ratio=4, channels=8)
    widths = {"fusion_channels": 16, "low_level_channels": 8, "context_channels": 8}
    recipe = dataclasses.replace(
        TINY, backbone="efficientnet_lite0", low_level_features=("b2u2c3",), fusion_stride=4,
        coarse_scores=True, **widths,
    )  # fmt: skip
    assert recipe.window_ratio == 4
    predicting = training.build_network(recipe, w)
    assert predicting.get_layer("dupsampling").ratio == 4
    names = {"fuse_b2u2c3_1_pointwise_conv": 16, "fuse_b2u2c3_projection_conv": 8}
    names |= {"fuse_b2u2c3_context_conv": 8, "scores_coarse": 7}
    for name, filters in names.items():
        assert predicting.get_layer(name).filters == filters
    model = training.training_copy(predicting, recipe)
    image = tf.random.uniform((4, 30, 30, 3), maxval=255)
    history = model.fit(image, tf.zeros((4, 30, 30), tf.int32), batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    predicting.set_weights(model.get_weights())
    assert predicting(image).shape == (4, 30, 30, 7)


def test_a_recipe_is_like_the_trained_model_that_it_starts_from(capsys):
    recipe = dataclasses.replace(TINY, weights="voc_animals")
    found = _network.architecture_of_weights(recipe, {"channels"})
    assert found["backbone"] == "efficientnet_lite0" and found["output_stride"] == 16
    assert (found["decoder"], found["fusion_stride"]) == ("bilinear", 4) and found["coarse_scores"]
    assert found["low_level_features"] == ("b2u2c3",) and "num_classes" not in found
    trained = models.load("voc_animals")
    model = training.build_network(dataclasses.replace(recipe, **found))
    said = "weights: 315 of 319 variables; new: scores_coarse, scores\n"
    assert capsys.readouterr().out == said
    kernels = [x.get_layer("fuse_b2u2c3_2_pointwise_conv").kernel for x in (trained, model)]
    np.testing.assert_array_equal(*kernels)
    other = _network.architecture_of_weights(
        dataclasses.replace(recipe, decoder="dupsampling"), {"decoder"}
    )
    assert set(other) == {"backbone", "output_stride", "low_level_features"}
    with pytest.raises(
        ValueError, match=r"voc_animals are of the backbone efficientnet_lite0, not"
    ):
        _network.architecture_of_weights(
            dataclasses.replace(recipe, backbone="resnet50"), {"backbone"}
        )
    assert (
        _network.architecture_of_weights(dataclasses.replace(recipe, weights="imagenet"), ()) == {}
    )


def test_what_only_dupsampling_has_is_named_where_the_decoder_is_thin():
    recipe = dataclasses.replace(
        TINY, backbone="efficientnet_lite0", decoder="thin", low_level_features=None
    )
    fields = {field.name: field.default for field in dataclasses.fields(recipe)}
    of_w = {name: fields[name] for name in _network._OF_W}
    changes = {"channels": 128, "initializer": "nearest", "train_temperature": False}
    recipe = dataclasses.replace(recipe, **of_w)
    with pytest.warns(UserWarning, match="channels, initializer, train_temperature without effect"):
        training.build_network(dataclasses.replace(recipe, **changes))
    with warnings.catch_warnings(action="error"):
        training.build_network(recipe)
        for decoder in ("bilinear", "dupsampling"):
            training.build_network(dataclasses.replace(recipe, decoder=decoder, channels=128))


def test_new_layers_are_drawn_with_the_variance_of_the_recipe():
    config = dataclasses.replace(
        TINY, backbone="efficientnet_lite0", new_layers_variance=0.01, decoder="bilinear"
    )
    model = training.build_network(config)
    assert model.get_layer("aspp0_conv").kernel.numpy().std() == pytest.approx(0.1, rel=0.02)
    assert model.get_layer("aspp1_depthwise").kernel.numpy().std() == pytest.approx(0.1, rel=0.1)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert abs(first.kernel.numpy().std() - 0.1) > 0.01


def test_what_a_checkpoint_filled_is_not_drawn_again(tmp_path):
    shapes = deeplab.variables("resnet_v1_50", num_classes=7, low_level_channels=256)
    values = deeplab.write(tmp_path / "model.ckpt", shapes)
    config = dataclasses.replace(
        TINY,
        backbone="resnet50",
        low_level_features=("b1u2c3",),
        weights=str(tmp_path / "model.ckpt"),
        new_layers_variance=0.01,
    )
    for decoder in ("bilinear", "dupsampling"):
        model = training.build_network(dataclasses.replace(config, decoder=decoder))
        aspp = model.get_layer("aspp0_conv").kernel
        np.testing.assert_array_equal(aspp, values["aspp0/weights"])
        fused = model.get_layer("fuse_b1u2c3_projection_conv").kernel
        expected = values["decoder/feature_projection0/weights"]
        assert np.array_equal(fused, expected) == (decoder == "bilinear")
    # the DUpsampling decoder has no counterpart in the checkpoint: it is drawn
    assert np.std(model.get_layer("compressed").kernel) == pytest.approx(0.1, rel=0.05)
