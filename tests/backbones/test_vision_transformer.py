"""ViT-B/16 of the package, small here, at any size. Its weights: test_keras_hub.py."""

import keras
import numpy as np
import pytest
from small_backbones import few_units

from keras_dup import _pretrained, flops, models, presets
from keras_dup._backbones.vision_transformer import PatchMap, PatchTokens

SMALL = {"backbone": "vit_base_patch16", "num_classes": 3, "projection": "random"}


@pytest.fixture
def small(monkeypatch):
    few_units(monkeypatch)


def picture(height, width):
    return np.random.default_rng(0).uniform(0, 255, (1, height, width, 3)).astype("float32")


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.usefixtures("without_values")
def test_it_costs_what_others_count():
    """17.56 G multiply-adds of torchvision's vit_b_16 and its head, 86,090,496 parameters of
    keras-hub's vit_base_patch16_384_imagenet."""
    table = flops.table(
        models.build(preset="voc2012_vit_base_patch16", projection="random"), (224, 224)
    )
    multiply_adds, parameters = table["backbone"]
    assert parameters == 86_090_496
    assert (multiply_adds + 768 * 1000) / 1e9 == pytest.approx(17.56, abs=0.005)


def test_embeddings_are_interpolated_to_the_patches():
    layer = PatchTokens(3)
    x = np.zeros((2, 3, 3, 4), "float32")
    y = numpy(layer(x))
    first, *places = numpy(layer.position_embedding)
    np.testing.assert_allclose(y[1, 1:], places, atol=1e-6)  # at their own size: as they are
    np.testing.assert_allclose(y[1, 0], first + numpy(layer.class_token)[0, 0], atol=1e-6)
    ramp = np.stack(np.meshgrid([0, 1, 2], [0, 1, 2]), -1).reshape(9, 2)  # column and row
    layer.position_embedding.assign(np.pad(ramp, ((1, 0), (0, 2))))
    found = numpy(layer(np.zeros((1, 6, 1, 4), "float32")))[0, 1:]
    np.testing.assert_allclose(found[:, 1], [0, 0.25, 0.75, 1.25, 1.75, 2], atol=1e-6)
    np.testing.assert_allclose(found[:, 0], 1, atol=1e-6)  # one patch: the middle of three


def test_tokens_are_where_their_patches_are():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype("float32")
    tokens = PatchTokens(2)
    y = numpy(PatchMap()([tokens(x), x]))
    tokens.position_embedding.assign(np.zeros((5, 4)))
    np.testing.assert_array_equal(numpy(PatchMap()([tokens(x), x])), x)
    assert y.shape == x.shape
    for layer, inputs in ((tokens, x), (PatchMap(), [tokens(x), x])):
        shapes = keras.tree.map_structure(lambda a: keras.KerasTensor(a.shape), inputs)
        assert tuple(layer(shapes).shape) == tuple(layer(inputs).shape)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("decoder", ["dupsampling", "bilinear"])
def test_an_image_has_any_size_and_is_continued_by_its_edge(decoder):
    model = models.build(**SMALL, decoder=decoder)
    x = picture(50, 70)
    padded = np.pad(x, ((0, 0), (0, 14), (0, 10), (0, 0)), mode="edge")
    found, expected = numpy(model(x)), numpy(model(padded))[:, :50, :70]
    assert found.shape == (1, 50, 70, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.usefixtures("small", "without_values")
def test_scores_and_codes_are_interpolated_from_the_centres_of_patches():
    bilinear = models.build(**SMALL, decoder="bilinear")
    assert bilinear.get_layer("bilinear").centred
    small_windows = models.build(**SMALL, ratio=4)
    assert small_windows.get_layer("compressed_upsampling").centred
    convolutional = models.build("mobilenet_v2", 3, 16, (), decoder="bilinear")
    assert not convolutional.get_layer("bilinear").centred


@pytest.mark.usefixtures("small", "without_values")
def test_its_blocks_are_features_of_one_stride():
    model = models.build(**SMALL, low_level_features=("b1",))
    assert model.get_layer("fuse_b1_projection_conv").input.shape[-1] == 16
    with pytest.raises(ValueError, match=r"output_stride=8; a vision transformer has .* 16"):
        models.build(**SMALL, output_stride=8)
    with pytest.raises(ValueError, match=r"no feature \['b2u2c3'\]; its features are b1, last"):
        models.build(**SMALL, low_level_features=("b2u2c3",))


@pytest.mark.usefixtures("small")
def test_weights_need_keras_hub(monkeypatch):
    monkeypatch.setattr(_pretrained, "is_installed", lambda package: package != "keras_hub")
    with pytest.raises(ImportError, match=r"weights need keras-hub: pip install .*\[hub\]"):
        models.build(**SMALL, weights="imagenet")


@pytest.mark.usefixtures("without_values")
def test_the_preset_is_the_network_of_the_page():
    row = presets.PRESETS["voc2012_vit_base_patch16"]
    assert row["source"] == "not in the paper" and row["miou"] is None
    model = models.build(preset="voc2012_vit_base_patch16", projection="random")
    assert model.name == "vit_base_patch16_dupsampling"
    assert model.get_layer("dupsampling").ratio == 16
