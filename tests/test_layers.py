"""Values and properties of the layers; runs on every backend of Keras."""

import keras
import numpy as np
import pytest
import reference

from keras_dup import layers, projection

RATIO, CLASSES, CHANNELS = 4, 3, 5


def features(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.fixture(scope="module")
def fitted():
    label_maps = np.random.default_rng(0).integers(0, CLASSES, (4, 32, 32), dtype=np.uint8)
    return projection.fit(label_maps, CLASSES, RATIO, CHANNELS)


def dupsampling(fitted, **kwargs):
    return layers.DUpsampling(CLASSES, RATIO, fitted, **kwargs)


def test_dupsampling_equals_the_formula(fitted):
    x = features(2, 3, 2, CHANNELS)
    y = keras.ops.convert_to_numpy(dupsampling(fitted)(x))
    expected = reference.dupsampling(x, fitted.matrix, fitted.mean, RATIO, CLASSES)
    # sums of 5 products and a mean, each below 8: float32 rounds to 1e-6 of that
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_dupsampling_of_compressed_labels_is_their_reconstruction(fitted):
    label_map = np.random.default_rng(1).integers(0, CLASSES, (8, 12))
    compressed = fitted.compress(label_map)
    y = keras.ops.convert_to_numpy(dupsampling(fitted)(compressed[None]))[0]
    np.testing.assert_allclose(y, fitted.reconstruct(compressed), atol=1e-5)


def test_dupsampling_is_frozen_unless_asked(fitted):
    frozen, free = dupsampling(fitted), dupsampling(fitted, trainable=True)
    for layer in (frozen, free):
        layer.build((None, None, None, CHANNELS))
    assert len(frozen.trainable_weights) == 0 and len(frozen.non_trainable_weights) == 2
    assert len(free.trainable_weights) == 2


def test_training_leaves_the_frozen_projection_as_it_is(fitted):
    model = keras.Sequential([keras.layers.Conv2D(CHANNELS, 1), dupsampling(fitted)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    label_map = np.zeros((2, 8, 8), "int32")
    model.fit(features(2, 2, 2, 4), label_map, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.layers[1].kernel[0, 0], fitted.matrix)
    np.testing.assert_array_equal(model.layers[1].bias, fitted.mean)


def test_a_saved_model_needs_no_projection(fitted, tmp_path):
    x = features(1, 2, 2, CHANNELS)
    model = keras.Sequential([dupsampling(fitted), layers.AdaptiveTemperatureSoftmax()])
    expected = keras.ops.convert_to_numpy(model(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].projection is None and not loaded.layers[0].trainable
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(loaded(x)), expected)


def test_set_projection_replaces_a_random_one(fitted):
    layer = layers.DUpsampling(CLASSES, RATIO)
    layer.build((None, None, None, CHANNELS))
    rows = np.asarray(layer.kernel[0, 0])
    np.testing.assert_allclose(rows @ rows.T, np.eye(CHANNELS), atol=1e-5)
    layer.set_projection(fitted)
    np.testing.assert_array_equal(layer.kernel[0, 0], fitted.matrix)


def test_a_projection_of_another_ratio_or_class_count_names_both_sides(fitted):
    with pytest.raises(ValueError, match=r"ratio 4 and 3 classes.*ratio 8 and 3 classes"):
        layers.DUpsampling(CLASSES, 8, fitted)
    with pytest.raises(ValueError, match=r"ratio 4 and 3 classes.*ratio 4 and 21 classes"):
        layers.DUpsampling(21, RATIO, fitted)


def test_a_projection_with_other_channels_than_the_features_names_both(fitted):
    with pytest.raises(ValueError, match="projection has 5 channels, the features have 7"):
        dupsampling(fitted)(features(1, 2, 2, 7))


def test_ratio_one_is_refused():
    with pytest.raises(ValueError, match="ratio is 1; it must be at least 2"):
        layers.DUpsampling(CLASSES, 1)


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_the_softmax_divides_by_the_temperature(temperature):
    x = features(2, 3, 4, 5)
    y = layers.AdaptiveTemperatureSoftmax(temperature)(x)
    expected = reference.softmax(x, temperature)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), expected, atol=1e-5)


def test_the_temperature_is_trained_and_stays_positive():
    layer = layers.AdaptiveTemperatureSoftmax()
    model = keras.Sequential([layer])
    # a rate at which a plain T would jump below zero
    model.compile(keras.optimizers.SGD(10.0), "sparse_categorical_crossentropy")
    x = np.eye(3, dtype="float32")[None].repeat(4, 0)
    model.fit(x, np.arange(3)[None].repeat(4, 0), epochs=3, verbose=0)
    temperature = float(np.exp(layer.log_temperature))
    assert 0 < temperature < 0.5


def test_weight_decay_leaves_the_temperature_alone():
    layer = layers.AdaptiveTemperatureSoftmax(0.5)
    layer.build((None, 3))
    sgd = keras.optimizers.SGD(0.1, weight_decay=0.5)
    sgd.exclude_from_weight_decay(var_names=["log_temperature"])
    other = keras.Variable(1.0, name="kernel")
    variables = [*layer.trainable_variables, other]
    sgd.build(variables)
    sgd.apply([keras.ops.zeros(())] * 2, variables)
    assert float(layer.log_temperature) == pytest.approx(np.log(0.5), abs=1e-7)
    assert float(other) == pytest.approx(1 - 0.1 * 0.5)


def test_the_softmax_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    x = features(1, 2, 2, 3) * 10
    y = layers.AdaptiveTemperatureSoftmax()(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), reference.softmax(x, 1.0), atol=1e-6)


def test_temperature_zero_is_refused():
    with pytest.raises(ValueError, match="not > 0"):
        layers.AdaptiveTemperatureSoftmax(0.0)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_bilinear_upsampling_equals_the_formula(ratio, centred):
    x = features(2, 3, 5, 2)
    y = keras.ops.convert_to_numpy(layers.BilinearUpsampling(ratio, centred)(x))
    np.testing.assert_allclose(y, reference.bilinear_upsampling(x, ratio, centred), atol=1e-5)


def test_subsampling_gives_the_size_of_a_strided_feature():
    for side in (1, 15, 16, 17, 33):
        y = layers.Subsampling(8)(features(1, side, side, 1))
        assert y.shape[1] == -(-side // 8)


@pytest.mark.parametrize("side", [1, 7, 8, 9, 12, 13])
def test_subsampling_takes_the_centres_of_windows(side):
    x = np.arange(side, dtype="float32")[None, :, None, None] + np.zeros((1, 1, 3, 1), "float32")
    y = keras.ops.convert_to_numpy(layers.Subsampling(8, start=4)(x))
    expected = np.minimum(np.arange(4, 4 + 8 * -(-side // 8), 8), side - 1)
    np.testing.assert_array_equal(y[0, :, 0, 0], expected)


def test_subsampling_is_bilinear_with_aligned_corners_on_the_paper_s_grid():
    x = features(1, 33, 33, 1)
    y = keras.ops.convert_to_numpy(layers.Subsampling(4)(x))
    np.testing.assert_array_equal(y, x[:, ::4, ::4])


@pytest.mark.parametrize(
    "layer",
    [
        layers.DUpsampling(CLASSES, RATIO),
        layers.AdaptiveTemperatureSoftmax(),
        layers.BilinearUpsampling(2),
        layers.Subsampling(2),
        layers.EdgePadding(4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_shapes_are_known_before_the_layer_runs(layer):
    x = features(2, 5, 6, CHANNELS)
    symbolic = layer(keras.KerasTensor(x.shape))
    assert tuple(layer(x).shape) == tuple(symbolic.shape)
    assert layer(keras.KerasTensor((None, None, None, CHANNELS))).shape[1:3] == (None, None)
