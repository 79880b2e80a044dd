"""keras-hub's backbones as encoders, and W on its segmenters: docs/networks.md, row by row.

All that imports keras-hub is here, since the import takes seconds.
"""

import dataclasses
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from encoder_step import moved_by_a_step
from tiny_run import TINY

from keras_dup import _pretrained, data, flops, inference, models, projection, training
from keras_dup._backbones import keras_model, vision_transformer
from keras_dup.projection._label_projection import nearest
from research import vision_transformer as ends_of_research

keras_hub = pytest.importorskip("keras_hub", reason="the extra hub brings keras-hub")
import encoders  # noqa: E402

PAGE = (pathlib.Path(__file__).parents[2] / "docs/networks.md").read_text()
ROWS = re.findall(r"^\| `(\w+)Backbone`[^|]*\| ([^|]*)\| ([^|]*)\| ([^|]*)\|$", PAGE, re.M)
NAMES = "compressed", "dupsampling"
MADE = {
    name.replace("_", ""): make
    for name, make in vars(encoders).items()
    if getattr(make, "__module__", "") == "encoders"
}
MADE["swintransformer"] = MADE.pop("swin")


def picture(*shape):
    return np.random.default_rng(0).uniform(0, 255, (1, *shape, 3)).astype("float32")


def test_every_backbone_that_is_made_here_has_a_row():
    assert sorted(MADE) == sorted(name.lower() for name, *_ in ROWS)


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_of_the_table_builds_as_it_says(row):
    name, features, last, image = row
    backbone = MADE[name.lower()]()
    if "does not build" in last:
        with pytest.raises(ValueError, match="no patches of 8 or 16 or 32 pixels"):
            models.build(backbone, 3, projection="random")
        return
    strides = {key: int(stride) for key, stride in re.findall(r"`(\w+)` (\d+)", features)}
    stride = int(re.match(r"\d+", last)[0])
    assert ("tokens" in last) == (
        not isinstance(backbone.output, dict) and len(backbone.output.shape) == 3
    )
    assert ("any size" in image) == (backbone.inputs[0].shape[1] is None)
    _, found = keras_model.encoder(backbone, tuple(strides))
    assert found == {**strides, "last": stride}
    network = {"num_classes": 3, "low_level_features": tuple(strides)[:1], "projection": "random"}
    model = models.build(backbone, **network)
    assert model.get_layer("dupsampling").ratio == stride
    if strides:
        models.build(backbone, decoder="bilinear", **network)


@pytest.mark.parametrize("make", [encoders.resnet, encoders.mit, encoders.vit])
def test_an_encoder_of_keras_hub_trains_and_is_saved(make, tmp_path):
    backbone, x = make(), picture(64, 64)
    names = {"resnet": ("P2", "stack2_block0_out"), "mit": ("P1", "P3")}
    network = {"num_classes": 3, "low_level_features": names.get(make.__name__, ())}
    network |= {"projection": "random", "preprocessing": keras.layers.Rescaling(1 / 127.5, -1)}
    model = models.build(backbone, fusion_channels=8, **network)
    assert moved_by_a_step(model, backbone, x) > 0.8
    weights = model.get_weights()
    y = model(x)
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    if make is encoders.mit:  # whose layers keras-hub 0.32 cannot read back
        with pytest.raises(ValueError, match=r"nobody could load this model .*save_weights"):
            models.save(model, tmp_path / "saved")
        assert not any(tmp_path.iterdir())
        with pytest.raises(ValueError, match="patch_and_embed_0 is a Overlapping"):
            flops.count(model, (64, 64))  # layers made of layers cannot be counted
        return
    models.save(model, tmp_path / "saved")
    np.testing.assert_array_equal(models.load(tmp_path / "saved")(x), y)


@pytest.fixture(scope="module")
def masks():
    return list(data.Shapes(4, size=(64, 64)).label_maps())


def snippets(*words):
    """The Python of the page, not run there, that has one of the words."""
    blocks = re.findall(r"```py\n(.*?)```", PAGE, re.S)
    return [code for code in blocks if any(word in code for word in words)]


def test_the_call_for_a_vision_transformer_is_right(masks, monkeypatch):
    vit = encoders.vit()
    monkeypatch.setattr(keras_hub.models.ViTBackbone, "from_preset", lambda name: vit)
    (code,) = snippets("ViTBackbone")
    found = {"keras": keras, "models": models, "projection": projection, "masks": masks}
    exec(code, found)
    model, w = found["model"], found["w16"]
    np.testing.assert_array_equal(model.get_layer("dupsampling").kernel[0, 0], w.matrix)
    assert model(picture(64, 64)).shape == (1, 64, 64, 7)


@pytest.mark.parametrize(("make", "others"), [(encoders.vit, 1), (encoders.dinov3, 5)])
def test_tokens_become_a_map_where_their_patches_are(make, others):
    vit, image = make(), picture(64, 64)
    encoder, strides = keras_model.encoder(vit)
    tokens = vit({"pixel_values": image} if make is encoders.dinov3 else image)
    assert strides == {"last": 16} and tokens.shape == (1, others + 16, 8)
    np.testing.assert_array_equal(encoder(image)["last"][0, 2, 3], tokens[0, others + 2 * 4 + 3])
    assert models.build(vit, 3, decoder="bilinear").get_layer("bilinear").centred


def test_the_comparison_of_research_differs_in_the_end_alone(masks):
    w16 = projection.fit(masks, num_classes=7, ratio=16, channels=8)
    ends = {}
    for end, network in ends_of_research.ENDS.items():
        given = {"projection": w16} if end == "dupsampling" else {}
        model = models.build(ends_of_research.vit((32, 48)), 7, decoder=end, **network, **given)
        names = [layer.name for layer in model.layers]
        ends[end] = names[: names.index("aspp_projection_relu") + 1]
        assert model.input_shape == (None, 32, 48, 3)
    assert ends["bilinear"] == ends["dupsampling"]


def test_the_vision_transformer_of_the_package_takes_keras_hubs_weights(tmp_path, monkeypatch):
    sizes = {"blocks": 2, "heads": 2, "channels": 16, "grid": 4}
    monkeypatch.setattr(vision_transformer, "VIT_BASE", sizes)
    shape = {"image_shape": (64, 64, 3), "patch_size": 16, "num_layers": 2, "num_heads": 2}
    vit = keras_hub.models.ViTBackbone(**shape, hidden_dim=16, mlp_dim=64)
    for weight in vit.weights:
        weight.assign(np.random.default_rng(0).normal(0, 0.3, weight.shape))
    name = "vit_base_patch16"
    network = {"backbone": name, "num_classes": 3, "projection": "random", "weights": "imagenet"}
    monkeypatch.setitem(_pretrained._KERAS_HUB, name, str(tmp_path / "none"))
    with pytest.raises(OSError, match=r"keras-hub's .*none could not be fetched"):
        models.build(**network)
    vit.save_to_preset(tmp_path / "preset")
    monkeypatch.setitem(_pretrained._KERAS_HUB, name, str(tmp_path / "preset"))
    model, image = models.build(**network), picture(64, 64)
    found = keras.Model(model.input, model.get_layer("last_map").output)(image)
    expected = vit(image / 127.5 - 1)[:, 1:]
    np.testing.assert_allclose(found, np.reshape(expected, (1, 4, 4, 16)), atol=1e-5)


def deeplab():
    backbone = keras_hub.models.DeepLabV3Backbone(
        image_encoder=encoders.resnet(),
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[1, 2],
        low_level_feature_key="P2",
        projection_filters=8,
    )
    return keras_hub.models.DeepLabV3ImageSegmenter(backbone, num_classes=7)


def segformer():
    backbone = keras_hub.models.SegFormerBackbone(encoders.mit(), projection_filters=8)
    return keras_hub.models.SegFormerImageSegmenter(backbone, num_classes=7)


@pytest.fixture(scope="module")
def swapped(masks):
    """{name: (segmenter, its network with W in place of the upsampling)}, as on the page."""
    segmenters = {"segformer": segformer(), "deeplab": deeplab()}
    w4 = projection.fit(masks, num_classes=7, ratio=4, channels=10)
    found = {"keras": keras, "keras_hub": keras_hub, "w4": w4}
    with pytest.MonkeyPatch.context() as patch:
        for name, kind in (("segformer", "SegFormer"), ("deeplab", "DeepLabV3")):
            kind = getattr(keras_hub.models, f"{kind}ImageSegmenter")
            patch.setattr(kind, "from_preset", lambda _, made=segmenters[name]: made)
        define, use = snippets("with_w")
        exec(define, found)
        first, second = use.split("\n\n")
        networks = {}
        for name, code in (("segformer", first), ("deeplab", second)):
            exec(code, found)
            networks[name] = segmenters[name], found["model"], found["with_w"]
    return networks


@pytest.mark.parametrize("name", ["segformer", "deeplab"])
def test_w_takes_the_place_of_the_last_upsampling(swapped, name):
    segmenter, model, with_w = swapped[name]
    assert model(picture(64, 64), training=False).shape == (1, 64, 64, 7)
    assert any(v is w for v in model.weights for w in segmenter.backbone.weights)
    # W of constant windows, with the segmenter's own scores as codes: its labels, each 4 x 4 times
    plain = with_w(model.input, model.get_layer("compressed").input, nearest(7, 4))
    head = next(x for x in reversed(segmenter.layers) if isinstance(x, keras.layers.Conv2D))
    kernel = keras.ops.convert_to_numpy(head.kernel)
    bias = np.zeros(7) if head.bias is None else keras.ops.convert_to_numpy(head.bias)
    plain.get_layer("compressed").set_weights([kernel, bias])
    features = keras.Model(model.input, model.get_layer("compressed").input)
    scores = features(picture(64, 64), training=False) @ kernel[0, 0] + bias
    expected = np.argmax(scores[0], -1).repeat(4, 0).repeat(4, 1)
    weights = model.get_weights()
    np.testing.assert_array_equal(inference.predict(plain, picture(64, 64)[0]), expected)
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # SegFormer's Resizing trains no batch norm here


def test_a_segmenter_with_w_trains(swapped):
    _, model, _ = swapped["deeplab"]
    training.compile(model, 1, learning_rate=0.01)
    model.run_eagerly = True
    before = {name: keras.ops.convert_to_numpy(model.get_layer(name).kernel) + 0 for name in NAMES}
    loss = model.train_on_batch(picture(64, 64), np.zeros((1, 64, 64), "int32"))
    assert np.isfinite(loss).all()
    after = {name: keras.ops.convert_to_numpy(model.get_layer(name).kernel) for name in NAMES}
    moved = [bool(np.any(before[name] != after[name])) for name in NAMES]
    assert moved == [True, False]  # codes are learned, W stays


@pytest.mark.parametrize(("peer", "stride"), [("keras_hub", 16), ("keras_cv", 32)])
def test_the_decoder_of_a_peer_trains_by_the_same_recipe(peer, stride):
    pytest.importorskip(peer)
    changes = {"network": f"research.peers.decoders:{peer}", "decoder": "bilinear"}
    changes |= {"backbone": "efficientnet_lite0", "low_level_features": ("b2u2c3",)}
    recipe = dataclasses.replace(TINY, output_stride=stride, **changes)
    predicting = training.build_network(recipe)
    model = training.training_copy(predicting, recipe)
    image = tf.random.uniform((4, 32, 32, 3), maxval=255)
    model.fit(image, tf.zeros((4, 32, 32), tf.int32), batch_size=4, verbose=0)
    predicting.set_weights(model.get_weights())
    probabilities = predicting(image[:1, :30, :21])
    assert probabilities.shape == (1, 30, 21, 7)
    np.testing.assert_allclose(tf.reduce_sum(probabilities, -1), 1, rtol=1e-5)
    if peer == "keras_cv":
        with pytest.raises(ValueError, match="output_stride=8; keras-cv's"):
            training.build_network(dataclasses.replace(recipe, output_stride=8))
