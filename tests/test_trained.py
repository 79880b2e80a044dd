"""Fine-tuning: a network like a trained one, with the weights of it that fit."""

import keras
import numpy as np
import pytest

from keras_dup import data, models, projection
from keras_dup._trained import architecture, is_of_backbone

SMALL = {"backbone": "efficientnet_lite0", "num_classes": 3, "channels": 4}
NETWORKS = {
    "thin": {
        "decoder": "bilinear", "channels": None, "output_stride": 32,
        "low_level_features": ("b2u2c3",),
        "fusion_stride": 8, "fusion_channels": 16, "low_level_channels": 8, "coarse_scores": True,
    },
    "two-step": {
        "low_level_features": ("b2u2c3", "b5u3c3"), "fusion_stride": 8, "ratio": 4,
        "fusion_channels": 16, "context_channels": 8, "downsample": "convolution",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def w():
    """W of other classes, and W of the same classes, at ratio 16."""
    maps = data.Shapes(8, (64, 64)).label_maps()
    return [
        projection.fit([x % k for x in maps], num_classes=k, ratio=16, channels=4) for k in (5, 3)
    ]


@pytest.fixture(scope="module")
def trained(w):
    """A network of three classes with two features; every weight is drawn."""
    model = models.build(**SMALL, low_level_features=("b2u2c3",), projection=w[1])
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if not weight.path.startswith("dupsampling"):
            weight.assign(rng.uniform(0.5, 1, weight.shape))
    return model


def assert_equal(model, source, of=lambda layer: True):
    theirs = {weight.path: weight for weight in source.weights}
    for weight in model.weights:
        if of(weight.path.split("/")[0]):
            np.testing.assert_array_equal(weight, theirs[weight.path], err_msg=weight.path)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_built_like_the_trained_one(name, capsys):
    w4 = np.linalg.qr(np.random.default_rng(0).normal(size=(48, 4)))[0].T.astype("float32")
    w4 = projection.LabelProjection(w4, np.zeros(48, "float32"), np.ones(4), 3, 4)
    given = {**SMALL, **NETWORKS[name]}
    given |= {"projection": w4} if "ratio" in given else {}
    model = models.build(**given)
    again = models.build(weights=model)
    assert [x.path for x in again.weights] == [x.path for x in model.weights]
    assert_equal(again, model)
    assert again.output_shape == model.output_shape and not capsys.readouterr().out
    configs = ([layer.get_config() for layer in x.layers] for x in (again, model))
    assert next(configs) == next(configs)


def test_other_classes_take_all_but_the_layers_around_w(trained, w, capsys):
    model = models.build(weights=trained, projection=w[0])
    assert capsys.readouterr().out == (
        f"weights: {len(model.weights) - 5} of {len(model.weights)} variables; "
        "new: compressed, dupsampling, softmax\n"
    )
    new = ("compressed", "dupsampling", "softmax")
    assert_equal(model, trained, lambda layer: layer not in new)
    np.testing.assert_allclose(np.squeeze(model.get_layer("dupsampling").kernel), w[0].matrix)
    with pytest.raises(ValueError, match=r"W in weights is of another ratio, class count"):
        models.build(weights=trained, num_classes=5)


def test_another_w_of_the_same_shape_stays_and_the_same_w_brings_its_codes(trained, w, capsys):
    turned = w[1].matrix[::-1]  # other codes
    other = projection.LabelProjection(turned, w[1].mean, np.ones(4), 3, 16)
    model = models.build(weights=trained, projection=other)
    np.testing.assert_array_equal(np.squeeze(model.get_layer("dupsampling").kernel), turned)
    assert "new: compressed, dupsampling, softmax" in capsys.readouterr().out
    assert_equal(models.build(weights=trained, projection=w[1]), trained)


def test_another_decoder_keeps_the_encoder(trained, capsys):
    model = models.build(weights=trained, decoder="bilinear", num_classes=7)
    assert model.name == "efficientnet_lite0_bilinear" and model.output_shape[-1] == 7
    assert_equal(model, trained, lambda layer: is_of_backbone(layer) or layer.startswith("aspp"))
    assert "; new: scores" in capsys.readouterr().out


def test_a_backbone_of_ones_own_is_given_again_and_another_one_is_refused(trained):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, 16, padding="same", name="only")(image)
    network = {"backbone": keras.Model(image, x, name="mine"), "projection": "random"}
    model = models.build(**network, num_classes=3, channels=4)
    assert architecture(model)["backbone"] is None
    fresh = keras.models.clone_model(network["backbone"])
    again = models.build(fresh, weights=model)
    assert_equal(again, model)
    said = r"efficientnet_lite0_dupsampling do not fit the backbone of mine_dupsampling: only;"
    with pytest.raises(ValueError, match=said):
        models.build(fresh, weights=trained, low_level_features=(), projection="random")
