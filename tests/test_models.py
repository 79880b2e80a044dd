"""Encoders, decoders and `build`; runs on every backend of Keras."""

import dataclasses
import hashlib

import keras
import numpy as np
import pytest

from keras_dup import _network, models, presets, projection

SMALL = {"backbone": "efficientnet_lite0", "num_classes": 3, "low_level_features": ("b2u2c3",)}


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, (1, height, width, 3)).astype("float32")


def run(model, image):
    """Compiled on JAX: in an eager call each operation is a program of its own."""
    call = model.predict_on_batch if keras.backend.backend() == "jax" else model
    return keras.ops.convert_to_numpy(call(image))


def fitted(ratio=16, num_classes=3, channels=8):
    label_maps = np.random.default_rng(0).integers(0, num_classes, (2, 64, 64), dtype=np.uint8)
    return projection.fit(label_maps, num_classes, ratio, channels)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", _network.DECODERS)
@pytest.mark.parametrize("output_stride", _network.OUTPUT_STRIDES)
def test_a_model_gives_probabilities_at_any_size(output_stride, decoder):
    model = models.build("mobilenet_v2", 3, output_stride, decoder=decoder)
    for height, width in ((64, 48), (65, 37), (1, 7)):
        y = run(model, picture(height, width))
        assert y.shape == (1, height, width, 3)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
def test_low_level_features_change_the_output_and_any_number_is_taken():
    x = picture(64, 64)
    names = ("conv1", "b2u2c3", "b5u3c3")
    for decoder in _network.DECODERS:
        for count in range(4):
            config = {**SMALL, "low_level_features": names[:count], "decoder": decoder}
            model = models.build(**config)
            assert sum("projection_conv" in layer.name for layer in model.layers) == count + 1
            assert run(model, x).shape == (1, 64, 64, 3)


@pytest.mark.parametrize("size", [(64, 96), (53, 81)])
@pytest.mark.parametrize("downsample", _network.DOWNSAMPLES)
def test_which_positions_of_a_low_level_feature_are_fused(downsample, size):
    network = {**SMALL, "decoder": "dupsampling", "projection": "random"}
    model = models.build(**network, downsample=downsample, low_level_channels=5)
    brought_down = model.get_layer("fuse_b2u2c3_projection_conv").output
    name = {"subsample": "subsampling", "convolution": "padding"}[downsample]
    feature = model.get_layer(f"fuse_b2u2c3_{name}").input
    part = keras.Model(feature, brought_down)
    height, width = (-(-side // 4) for side in size)  # at stride 4
    x = np.zeros((height * width, height, width, feature.shape[-1]), "float32")
    x.reshape(height * width, height * width, -1)[range(height * width), range(height * width)] = 1
    y = keras.ops.convert_to_numpy(part(x)) - keras.ops.convert_to_numpy(part(np.zeros_like(x[:1])))
    assert y.shape[1:] == (*(-(-side // 16) for side in size), 5)
    reached = np.abs(y).max(-1).reshape(height, width, *y.shape[1:3]) > 0
    rows, columns, *windows = np.indices(reached.shape)
    expected = (rows // 4 == windows[0]) & (columns // 4 == windows[1])
    if downsample == "subsample":  # the position in the middle, at the edge the nearest
        expected &= (rows % 4 == 2) | (rows == height - 1) & (rows % 4 < 2)
        expected &= (columns % 4 == 2) | (columns == width - 1) & (columns % 4 < 2)
    np.testing.assert_array_equal(reached, expected)


def test_the_projection_decides_the_channels_and_sits_in_the_model(tmp_path):
    given = fitted(channels=8)
    path = tmp_path / "projection.npz"
    given.save(path)
    for value in (given, path, str(path)):
        layer = models.build(**SMALL, projection=value).get_layer("dupsampling")
        np.testing.assert_array_equal(layer.kernel[0, 0], given.matrix)
        np.testing.assert_array_equal(layer.bias, given.mean)
        assert not layer.trainable


def test_a_shipped_projection_is_taken_by_name():
    config = {"backbone": "efficientnet_lite0", "low_level_features": ()}
    model = models.build(**config, num_classes=21, projection="voc2012_r16_c64")
    rows = np.asarray(model.get_layer("dupsampling").kernel[0, 0])
    assert rows.shape == (64, 16 * 16 * 21)
    np.testing.assert_allclose(rows @ rows.T, np.eye(64), atol=1e-5)


def test_a_network_without_a_projection_says_what_to_do(tmp_path, recwarn):
    with pytest.warns(UserWarning, match=r"W is random.*projection\.fit.*set_projection"):
        model = models.build(**SMALL, channels=8)
    model.save_weights(tmp_path / "model.weights.h5")
    recwarn.clear()
    models.build(**SMALL, projection="random")
    models.build(**SMALL)
    models.build(**SMALL, decoder="bilinear")
    models.build(**SMALL, projection=fitted())
    models.build(**SMALL, channels=8, weights=tmp_path / "model.weights.h5")  # W is in it
    assert not [w for w in recwarn if "W is random" in str(w.message)]
    with pytest.warns(UserWarning, match="W is random"):
        models.build(**SMALL, decoder="dupsampling", weights="imagenet")
    model.get_layer("dupsampling").set_projection(fitted())


@pytest.mark.usefixtures("without_values")
def test_the_default_decoder_is_thin_and_needs_no_projection(recwarn):
    model = models.build("efficientnet_lite0", 3)
    network = {"decoder": "bilinear", "low_level_features": ("b2u2c3",), **presets.THIN}
    same = models.build("efficientnet_lite0", 3, **network)
    assert [(w.path, w.shape) for w in model.weights] == [(w.path, w.shape) for w in same.weights]
    assert not recwarn
    named = models.build("efficientnet_lite0", 3, decoder="thin", fusion_channels=8)
    assert named.get_layer("fuse_b2u2c3_2_pointwise_conv").filters == 8
    again = models.build(weights=named)
    assert again.get_layer("fuse_b2u2c3_2_pointwise_conv").filters == 8
    assert again.get_layer("scores_coarse") and again.get_layer("bilinear").ratio == 4


@pytest.mark.usefixtures("without_values")
@pytest.mark.filterwarnings("ignore:build. no projection is given")
def test_what_only_dupsampling_takes_asks_for_it():
    for given in (
        {"channels": 8},
        {"ratio": 8},
        {"temperature": 0.1},
        {"projection": "random"},
        {"projection": fitted()},
        {"preset": "voc2012_xception65"},
    ):
        assert models.build(**{**SMALL, **given}).get_layer("dupsampling")
    trained = models.build(**SMALL)
    for given in ({"projection": "random"}, {"channels": 8}, {"temperature": 0.1}):
        assert models.build(weights=trained, **given).get_layer("dupsampling")


@pytest.mark.parametrize(
    "given",
    [
        {"projection": "voc2012_r16_c64"},
        {"temperature": 0.1},
        {"channels": 8},
        {"ratio": 4},
        {"initializer": "nearest"},
        {"interpolated_scores": True},
    ],
    ids=str,
)
def test_what_only_dupsampling_takes_is_refused_beside_another_decoder(given):
    (name,) = given
    for decoder in ("thin", "bilinear"):
        with pytest.raises(ValueError, match=f"{name} is of DUpsampling; decoder='{decoder}' has"):
            models.build(**SMALL, decoder=decoder, **given)
    with pytest.raises(ValueError, match=f"{name} is of DUpsampling; decoder='bilinear' has none"):
        models.build(preset="voc2012_xception65_bilinear", **given)


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize("backbone", sorted({*presets._BACKBONES} - {"vit_base_patch16"}))
def test_the_thin_decoder_fuses_at_stride_4(backbone):
    model = models.build(backbone, 3)
    (feature,) = presets._BACKBONES[backbone]["thin"]
    sizes = keras.Model(model.input, model.get_layer(f"fuse_{feature}_concat").output)
    assert sizes.compute_output_shape((1, 64, 64, 3))[1:3] == (16, 16)
    assert model.get_layer("bilinear").ratio == 4 and model.get_layer("scores_coarse")


@pytest.mark.usefixtures("without_values")
def test_without_a_feature_at_stride_4_the_thin_decoder_interpolates_and_says_so(recwarn):
    vit = {"backbone": "vit_base_patch16"}
    for network in (vit, {**vit, "low_level_features": ()}, {**SMALL, "low_level_features": ()}):
        model = models.build(**network)
        said = [w for w in recwarn if "feature at stride 4 of vit_base_patch16" in str(w.message)]
        assert len(said) == (network is vit) and (not said or said[0].filename == __file__)
        recwarn.clear()
        names = [layer.name for layer in model.layers if layer.name.startswith("scores")]
        assert names == ["scores"] and model.get_layer("bilinear").ratio == 16


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize(
    ("decoder", "expected"),
    [("dupsampling", "b1d15f3b3e528bb7"), ("bilinear", "a11c87629b9eb879")],
)
def test_layers_keep_their_names_order_and_shapes_so_that_old_files_load(decoder, expected):
    model = models.build("efficientnet_lite0", decoder=decoder, projection="random")
    lines = [f"{x.name} {[list(v.shape) for v in x.variables]}" for x in model.layers]
    # of version 0.1.0: a .weights.h5 is read by the order of the layers
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == expected


def test_inference_moves_no_weight():
    model = models.build(**SMALL)
    before = model.get_weights()
    run(model, picture(40, 56))
    model.predict(picture(40, 56), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_saved_model_gives_the_same_output(tmp_path):
    model = models.build(**SMALL, projection=fitted())
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    x = picture(33, 50)
    expected = run(model, x)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(loaded, x), expected)
    rebuilt = models.build(**SMALL, channels=8, weights=tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(run(rebuilt, x), expected)


@pytest.mark.slow
def test_mixed_precision_gives_float32_probabilities():
    expected = run(models.build(**SMALL, weights="imagenet"), picture(64, 64))
    keras.config.set_dtype_policy("mixed_bfloat16")
    for decoder in _network.DECODERS:
        y = run(models.build(**SMALL, decoder=decoder), picture(64, 64))
        assert y.dtype == expected.dtype == np.float32
        np.testing.assert_allclose(y.sum(-1), 1, atol=1e-5)


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_builds_the_network_of_its_row(name):
    row = presets.PRESETS[name]
    model = models.build(preset=name)
    assert model.name == f"{row['backbone']}_{row['decoder']}"
    assert model.output_shape == (None, None, None, row["num_classes"])
    fused = [layer.name for layer in model.layers if layer.name.endswith("_projection_conv")]
    assert fused[1:] == [f"fuse_{n}_projection_conv" for n in row["low_level_features"][::-1]]
    if row["decoder"] == "dupsampling":
        layer = model.get_layer("dupsampling")
        assert layer.ratio == row["output_stride"]
        assert layer.kernel.shape[2] == row["channels"]


@pytest.mark.usefixtures("without_values")
def test_arguments_override_a_preset():
    model = models.build(preset="voc2012_resnet50", num_classes=5, output_stride=32)
    assert model.get_layer("dupsampling").ratio == 32 and model.output_shape[-1] == 5
    # another backbone has other features: its own are taken
    model = models.build(preset="cityscapes_xception71", backbone="mobilenet_v2")
    assert model.output_shape[-1] == 19 and model.get_layer("fuse_b5u3c3_projection_conv")


@pytest.mark.usefixtures("without_values")
def test_the_best_network_of_the_paper_is_a_preset():
    assert models.build().name == "xception65_thin"
    model = models.build(preset="voc2012_xception65", projection="random")
    assert model.name == "xception65_dupsampling"
    assert model.get_layer("dupsampling").kernel.shape == (1, 1, 128, 16 * 16 * 21)


@pytest.mark.parametrize("temperature", [1 / 16, 1.0])
@pytest.mark.parametrize("orthonormal", [True, False])
def test_a_network_starts_as_nearest_neighbour_upsampling(orthonormal, temperature):
    # windows of one class, two of them frequent: W rebuilds them, the mean prefers the two
    ids = np.random.default_rng(0).choice(3, (12, 12), p=(0.6, 0.35, 0.05)).astype(np.uint8)
    projected = projection.fit([ids.repeat(16, 0).repeat(16, 1)], 3, 16, 2)
    if not orthonormal:
        p, w = projected.matrix / 2, projected.matrix * 2
        projected = dataclasses.replace(projected, matrix=w, compression=p)
    network = {**SMALL, "projection": projected, "temperature": temperature}
    model = models.build(**network, initializer="nearest")
    compressed = model.get_layer("compressed")
    head = keras.Model(compressed.input, model.get_layer("dupsampling").output)
    x = np.random.default_rng(1).normal(size=(1, 4, 5, 256)).astype("float32")
    y = run(head, x)[0] / temperature
    windows = y.reshape(4, 16, 5, 16, 3)
    windows -= windows.mean(-1, keepdims=True)  # softmax does not see it
    # float32, of scores of 0.5 / T at most
    assert np.ptp(windows, axis=(1, 3)).max() < 1e-3 < 0.1 < windows.std()
    assert np.ptp(run(head, 0 * x) / temperature, axis=-1).max() < 1e-3  # no class is preferred
    assert not np.any(models.build(**network).get_layer("compressed").bias)


def test_a_network_starts_as_bilinear_upsampling():
    # W of all windows that interpolation makes of nine scores a class
    places = (np.arange(16) + 0.5) / 16 - 0.5
    shares = np.maximum(0, 1 - np.abs(places - np.array([[-1], [0], [1]])))
    windows = np.einsum("yi,xj,kl->yxkijl", shares, shares, np.eye(3)).reshape(27, -1)
    w = np.linalg.qr(windows.T)[0].T.astype("float32")
    mean, variance = np.full(768, 0.5, "float32"), np.ones(27)
    projected = dataclasses.replace(
        fitted(), matrix=w, mean=mean, explained_variance_ratio=variance
    )
    network = {**SMALL, "projection": projected, "temperature": 1 / 16}
    model = models.build(**network, interpolated_scores=True)
    head = keras.Model(model.get_layer("scores").input, model.get_layer("dupsampling").output)
    x = np.random.default_rng(1).normal(size=(1, 4, 5, 256)).astype("float32")
    y = run(head, x)[0] * 16
    y -= y.mean(-1, keepdims=True)  # softmax does not see it
    for lines in (y, y.swapaxes(0, 1)):
        bends = np.abs(np.diff(lines, 2, axis=0)).max((1, 2))
        at_features = np.isin(np.arange(len(bends)) % 16, (6, 7))  # between pixels 7 and 8
        assert bends[~at_features].max() < 1e-4 < 0.01 < bends[at_features].min()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet99"}, "backbone='resnet99'; it must be one of .*resnet50"),
        ({"output_stride": 4}, r"output_stride=4; it must be one of \(8, 16, 32\)"),
        ({"decoder": "fcn"}, "decoder='fcn'; it must be one of"),
        ({"downsample": "max"}, "downsample='max'; it must be one of .*'convolution'"),
        ({"low_level_channels": 0}, "low_level_channels=0; it must be at least 1"),
        ({"initializer": "ones"}, "initializer='ones'; it must be one of .*'nearest'"),
        ({"initializer": "nearest"}, "initializer='nearest' needs a LabelProjection"),
        ({"interpolated_scores": True}, "interpolated_scores=True needs a LabelProjection"),
        (
            {"initializer": "nearest", "interpolated_scores": True},
            "interpolated_scores=True has a start of its own; leave initializer out",
        ),
        ({"num_classes": 1}, "num_classes=1; it must be at least 2"),
        ({"low_level_features": ("b9u9c9",)}, r"no feature \['b9u9c9'\]; its features are conv1,"),
        ({"preset": "voc2099"}, "preset='voc2099'; it must be one of .*voc2012_xception65"),
        ({"projection": "voc2099.npz"}, "voc2099.npz"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        models.build(**{**SMALL, **arguments})


def test_a_projection_that_does_not_fit_names_both_sides():
    with pytest.raises(ValueError, match=r"ratio 16 and 3 classes.*ratio 32 and 3 classes"):
        models.build(**SMALL, output_stride=32, projection=fitted())
    with pytest.raises(ValueError, match=r"ratio 16 and 4 classes.*ratio 16 and 3 classes"):
        models.build(**SMALL, projection=fitted(num_classes=4))
    with pytest.raises(ValueError, match="channels=9, but the projection has 8"):
        models.build(**SMALL, channels=9, projection=fitted())
