"""Decoders whose fusion and windows have strides of their own; runs on every backend."""

import keras
import numpy as np
import pytest
import reference

from keras_dup import _decoders, flops, models, projection
from keras_dup.export import fold
from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling

CLASSES, CHANNELS = 3, 8
WIDTHS = {"fusion_channels": 6, "low_level_channels": 4, "context_channels": 5}
NETWORKS = {
    "scores added, stride 4": {"decoder": "bilinear", "fusion_stride": 4, "coarse_scores": True},
    "windows of 4, stride 4": {"fusion_stride": 4, "coarse_scores": True},
    "windows of 8, stride 8": {"fusion_stride": 8, "downsample": "convolution"},
    "windows of 4, stride 16": {"ratio": 4},
}


@pytest.fixture(scope="module")
def encoder():
    """A small encoder: "low" at stride 4, the last feature at stride 16."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((None, None, 3))
    for name, stride in (("low", 4), ("last", 4)):
        x = keras.layers.Conv2D(7, stride, stride, padding="same", name=name)(x)
    return keras.Model(image, x, name="small")


@pytest.fixture(scope="module")
def fitted():
    """A projection of each ratio."""
    label_maps = np.random.default_rng(0).integers(0, CLASSES, (3, 96, 96), dtype=np.uint8)
    return {ratio: projection.fit(label_maps, CLASSES, ratio, CHANNELS) for ratio in (4, 8)}


def network(kind, encoder, fitted):
    arguments = {**WIDTHS, **NETWORKS[kind]}
    if arguments.get("decoder") != "bilinear":
        ratio = arguments.get("ratio", arguments.get("fusion_stride"))
        arguments["projection"] = fitted[ratio]
    model = models.build(encoder, CLASSES, low_level_features=("low",), **arguments)
    return disturbed(model)


def disturbed(model):
    """Batch norms, biases and T as training leaves them."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.3, weight.shape))
        elif weight.name == "log_temperature":
            weight.assign(-1.5)
    return model


def values(model):
    """Weights under the names of `reference.convolved`."""
    found = {}
    for layer in model.layers:
        scope = layer.name.removesuffix("_conv").removesuffix("_bn")
        for weight in layer.weights:
            name = "weights" if weight.name == "kernel" else weight.name
            if isinstance(layer, keras.layers.BatchNormalization):
                name = f"BatchNorm/{name}"
            elif isinstance(layer, keras.layers.DepthwiseConv2D):
                name = "depthwise_weights"
            found[f"{scope}/{name}"] = keras.ops.convert_to_numpy(weight)
    return found


def drawn(*shape):
    return np.random.default_rng(2).normal(size=shape).astype("float32")


@pytest.mark.parametrize("decoder", ["bilinear", "dupsampling"])
def test_a_thin_fusion_at_stride_4_with_coarse_scores_equals_the_formula(decoder):
    x, low = drawn(1, 2, 3, 9), drawn(1, 7, 10, 5)  # of an image of 28 x 40
    inputs = [keras.Input((None, None, 9)), keras.Input((None, None, 5))]
    fusion = _decoders.Fusion(4, filters=6, low_level_channels=4, context_channels=5)
    features = [("low", inputs[1], 4)]
    if decoder == "bilinear":
        y = _decoders.bilinear_decoder(inputs[0], features, 16, CLASSES, fusion, True)
    else:
        upsampling = DUpsampling(CLASSES, 4, name="dupsampling")
        y = _decoders.dupsampling_decoder(
            inputs[0], features, 16, upsampling, CHANNELS, fusion, coarse_scores=True
        )
    model = disturbed(keras.Model(inputs, y))
    found, of = keras.ops.convert_to_numpy(model([x, low]))[0], values(model)
    fused = reference.fused(x[0], low[0], of, "low", 4)
    coarse = reference.convolution(x[0], of["scores_coarse/weights"]) + of["scores_coarse/bias"]
    coarse = reference.bilinear_upsampling(coarse[None], 4)[0][:7, :10]
    if decoder == "bilinear":
        scores = reference.convolution(fused, of["scores/weights"]) + of["scores/bias"] + coarse
        expected = reference.bilinear_upsampling(scores[None], 4)[0]
    else:
        both = np.concatenate([fused, coarse], -1)
        codes = reference.convolution(both, of["compressed/weights"]) + of["compressed/bias"]
        kernel, mean = of["dupsampling/weights"][0, 0], of["dupsampling/bias"]
        expected = reference.dupsampling(codes[None], kernel, mean, 4, CLASSES)[0]
    # float32 against float64: some ten sums of fewer than 100 products of about one
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_windows_of_8_from_all_values_of_a_finer_feature_equal_the_formula():
    x, low = drawn(1, 2, 3, 9), drawn(1, 7, 9, 5)  # of an image of 27 x 34
    inputs = [keras.Input((None, None, 9)), keras.Input((None, None, 5))]
    fusion = _decoders.Fusion(8, 6, 4, 5, downsample="convolution")
    upsampling = DUpsampling(CLASSES, 8, name="dupsampling")
    y = _decoders.dupsampling_decoder(
        inputs[0], [("low", inputs[1], 4)], 16, upsampling, CHANNELS, fusion
    )
    model = disturbed(keras.Model(inputs, y))
    found, of = keras.ops.convert_to_numpy(model([x, low]))[0], values(model)
    fused = reference.fused(x[0], low[0], of, "low", 2)
    assert fused.shape[:2] == (4, 5)
    codes = reference.convolution(fused, of["compressed/weights"]) + of["compressed/bias"]
    kernel, mean = of["dupsampling/weights"][0, 0], of["dupsampling/bias"]
    expected = reference.dupsampling(codes[None], kernel, mean, 8, CLASSES)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_codes_of_a_larger_stride_are_interpolated_to_the_ratio_of_w():
    x = drawn(1, 2, 3, 9)
    inputs = keras.Input((None, None, 9))
    upsampling = DUpsampling(CLASSES, 4, name="dupsampling")
    y = _decoders.dupsampling_decoder(inputs, [], 16, upsampling, CHANNELS)
    model = disturbed(keras.Model(inputs, y))
    found, of = keras.ops.convert_to_numpy(model(x))[0], values(model)
    codes = reference.convolution(x[0], of["compressed/weights"]) + of["compressed/bias"]
    codes = reference.bilinear_upsampling(codes[None], 4)
    kernel, mean = of["dupsampling/weights"][0, 0], of["dupsampling/bias"]
    expected = reference.dupsampling(codes, kernel, mean, 4, CLASSES)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_answers_at_any_size_and_folded_as_it_is(kind, encoder, fitted, tmp_path):
    model = network(kind, encoder, fitted)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    folded, probabilities = fold(model), fold(model, "probabilities")
    for size in ((64, 48), (53, 81), (1, 7)):
        image = np.random.default_rng(0).uniform(0, 255, (2, *size, 3)).astype("float32")
        expected = keras.ops.convert_to_numpy(model(image))
        assert expected.shape == (2, *size, CLASSES)
        of_file, of_folded, ids = (
            keras.ops.convert_to_numpy(one(image)) for one in (loaded, probabilities, folded)
        )
        np.testing.assert_array_equal(of_file, expected)
        np.testing.assert_allclose(of_folded, expected, atol=1e-4)
        np.testing.assert_array_equal(ids, expected.argmax(-1))


@pytest.mark.parametrize("kind", ["windows of 4, stride 4"])
def test_probabilities_are_float32_under_mixed_precision(kind, encoder, fitted):
    expected = network(kind, encoder, fitted)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = network(kind, encoder, fitted)
    model.set_weights(expected.get_weights())
    image = np.random.default_rng(0).uniform(0, 1, (1, 33, 50, 3)).astype("float32")
    y = keras.ops.convert_to_numpy(model(image))
    assert y.dtype == np.float32
    # 8 bits a rounding; the encoder is float32
    assert np.abs(y - keras.ops.convert_to_numpy(expected(image))).mean() < 0.02


@pytest.mark.parametrize("size", [(48, 64), (41, 53)])
@pytest.mark.parametrize("kind", ["windows of 4, stride 4", "windows of 4, stride 16"])
def test_the_packed_loss_is_the_plain_one(kind, size, encoder, fitted):
    from keras_dup._packed_loss import packed_loss
    from keras_dup.losses import PixelCrossentropy

    model = network(kind, encoder, fitted)
    upsampling = model.get_layer("dupsampling")
    codes = keras.Model(model.input, upsampling.input)
    image = np.random.default_rng(0).uniform(0, 1, (2, *size, 3)).astype("float32")
    labels = np.random.default_rng(1).integers(0, CLASSES, (2, *size))
    loss = PixelCrossentropy(from_logits=True)
    found = packed_loss(loss, upsampling, model.layers[-1], labels, codes(image))
    logits = keras.ops.log(model(image))
    assert float(found) == pytest.approx(float(loss(labels, logits)), rel=1e-5)


@pytest.mark.parametrize("ratio", [4, 8])
def test_a_network_of_small_windows_starts_as_nearest_neighbour_upsampling(ratio, encoder):
    ids = np.random.default_rng(0).choice(3, (24, 24), p=(0.6, 0.35, 0.05)).astype(np.uint8)
    w = projection.fit([ids.repeat(16, 0).repeat(16, 1)], 3, ratio, 2)
    given = {"projection": w, "fusion_stride": ratio, "temperature": 1 / ratio}
    model = models.build(encoder, 3, low_level_features=("low",), initializer="nearest", **given)
    layer = model.get_layer("compressed")
    head = keras.Model(layer.input, model.get_layer("dupsampling").output)
    y = keras.ops.convert_to_numpy(head(drawn(1, 4, 5, 256)))[0] * ratio
    windows = y.reshape(4, ratio, 5, ratio, 3)
    windows -= windows.mean(-1, keepdims=True)
    assert np.ptp(windows, axis=(1, 3)).max() < 1e-3 < 0.1 < windows.std()


def started(encoder, w, **start):
    """A function of class scores (1, h, w, K) at the features, and T times what it should give."""
    k = w.num_classes
    model = models.build(encoder, k, projection=w, temperature=1 / w.ratio, **start)
    layer = model.get_layer("scores" if "interpolated_scores" in start else "compressed")
    kernel = np.zeros(layer.kernel.shape, "float32")
    if layer.name == "scores":
        kernel[0, 0, :k] = np.eye(k)
    else:  # its first rows are the constant windows: T P v of class k is a unit of code k
        kernel[0, 0, :k, :k] = np.eye(k)
    layer.kernel.assign(kernel)
    head = keras.Model(layer.input, model.get_layer("dupsampling").output)

    def run(scores):
        x = np.zeros((*scores.shape[:3], 256), "float32")
        x[..., :k] = scores
        return keras.ops.convert_to_numpy(head(x))[0] * w.ratio

    return run


def centred(scores):
    """Without what the softmax does not see."""
    return scores - scores.mean(-1, keepdims=True)


def test_a_start_as_nearest_is_exact_where_w_spans_the_constant_windows(encoder):
    w = projection.load("voc2012_r16_c128")
    w = w.with_constant_windows(64)
    scores = drawn(1, 5, 6, 21)
    y = started(encoder, w, initializer="nearest")(scores)
    expected = scores[0].repeat(16, 0).repeat(16, 1)
    # float32: scores of about 4, and a mean of at most 1 / T on the way
    np.testing.assert_allclose(centred(y), centred(expected), atol=2e-5)


@pytest.mark.parametrize(("constant", "same", "error"), [(False, 0.73, 0.15), (True, 0.71, 0.16)])
def test_a_start_as_bilinear_is_as_near_as_the_documentation_says(encoder, constant, same, error):
    w = projection.load("voc2012_r16_c128" if constant else "voc2012_r16_c64")
    w = w.with_constant_windows(64) if constant else w
    scores = drawn(1, 24, 24, 21)
    y = centred(started(encoder, w, interpolated_scores=True)(scores))
    # between scores at the centres of windows, edges repeated
    places = np.clip((np.arange(24 * 16) + 0.5) / 16 - 0.5, 0, 23)
    shares = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(24)))
    expected = centred(np.einsum("ih,jw,hwk->ijk", shares, shares, scores[0]))
    assert np.mean(y.argmax(-1) == expected.argmax(-1)) == pytest.approx(same, abs=0.02)
    assert np.abs(y - expected).mean() == pytest.approx(error, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fusion_stride": 32}, "ratio=32, fusion_stride=32 and output_stride=16; none may"),
        ({"fusion_stride": 4, "ratio": 8}, "ratio=8, fusion_stride=4 and output_stride=16"),
        ({"ratio": 3}, r"ratio=3; it must be one of \(2, 4, 8, 16, 32\)"),
        ({"fusion_stride": 1}, r"fusion_stride=1; it must be one of"),
        ({"fusion_channels": 0}, "fusion_channels=0; it must be at least 1"),
        ({"decoder": "bilinear", "ratio": 4}, "ratio is of DUpsampling; decoder='bilinear' has"),
    ],
)
def test_strides_and_widths_that_do_not_fit_are_named(arguments, message, encoder):
    with pytest.raises(ValueError, match=message):
        models.build(encoder, CLASSES, projection="random", **arguments)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="layers are counted alike")
def test_multiply_adds_are_those_counted_by_hand():
    """Decoders at 513 x 513, 21 classes, EfficientNet-Lite0, one feature of 24 channels."""

    def separable(channels, filters):
        return channels * 9 + channels * filters

    coarse, fine, middle = 33**2, 129**2, 65**2
    thin = fine * (24 * 32 + separable(64, 64) + separable(64, 64))
    scores = coarse * 256 * 21
    added = {"decoder": "bilinear", "fusion_stride": 4, "fusion_channels": 64}
    added |= {"low_level_channels": 32, "context_channels": 32, "coarse_scores": True}
    codes = {**added, "decoder": "dupsampling", "channels": 24}
    eight = {"fusion_stride": 8, "fusion_channels": 128, "context_channels": 128, "channels": 32}
    eight |= {"decoder": "dupsampling", "downsample": "convolution"}
    windows_of_4, windows_of_8 = 516**2 * 21, 520**2 * 21  # scores of 129 and of 65 windows
    expected = [
        (added, coarse * 256 * 32 + scores + thin + fine * 64 * 21, "0.21"),
        (codes, coarse * 256 * 32 + scores + thin + fine * 85 * 24 + windows_of_4 * 25, "0.35"),
        (
            eight,
            coarse * 256 * 128
            + middle * (4 * 24 * 48 + separable(176, 128) + separable(128, 128) + 128 * 32)
            + windows_of_8 * 33,
            "0.43",
        ),
    ]
    for arguments, by_hand, billions in expected:
        model = models.build(
            "efficientnet_lite0",
            low_level_features=("b2u2c3",),
            projection="random",
            **arguments,
        )
        counted = flops.count(model)["decoder"]
        assert counted == by_hand
        if arguments["decoder"] == "dupsampling":  # the mean and T are no convolution
            counted -= windows_of_8 if arguments["fusion_stride"] == 8 else windows_of_4
        assert f"{counted / 1e9:.2f}" == billions
        assert sum(v for _, v in flops.table(model).values()) == model.count_params()
        assert set(flops.table(model)) == {"backbone", "ASPP", "fusion of b2u2c3", "head"}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports are TensorFlow's")
@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("scores added, stride 4", (None, (65, 81))),
        ("windows of 4, stride 4", (None, (65, 81))),
        ("windows of 8, stride 8", ((65, 81),)),
        ("windows of 4, stride 16", (None,)),
    ],
)
def test_a_network_is_exported_with_built_in_operations(kind, sizes, encoder, fitted, tmp_path):
    from keras_dup import export

    model = network(kind, encoder, fitted)
    assert isinstance(model.layers[-1], (AdaptiveTemperatureSoftmax, keras.layers.Softmax))
    images = [
        np.random.default_rng(0).uniform(0, 255, (*size, 3)).astype("float32")
        for size in ((48, 80), (65, 33))
    ]
    for size in sizes:
        report = export.litert(
            model, tmp_path / "m.tflite", None, size, images=images, verbose=False
        )
        assert report["equal_pixels"] > 0.999
    if kind == "windows of 4, stride 4":
        report = export.saved_model(model, tmp_path / "served", images=images, verbose=False)
        assert report["equal_pixels"] > 0.999
