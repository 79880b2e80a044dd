"""What `export.fold` leaves out changes nothing, and the model that it was given stays as it is."""

import keras
import numpy as np
import pytest

from keras_dup import layers, models, projection
from keras_dup.export import _label_maps, fold

SIZES = ((33, 50), (16, 16), (1, 40))


def disturbed(model, seed=0):
    """Batch norms and the temperature as training leaves them: nothing is 0 or 1."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.3, weight.shape))
        elif weight.name == "log_temperature":
            weight.assign(-1.5)
    return model


def answer(model, image):
    """What a model predicts. TensorFlow would take longer to trace it than to run it."""
    if keras.backend.backend() == "jax":
        return model.predict_on_batch(image)
    return keras.ops.convert_to_numpy(model(image, training=False))


def network(decoder):
    if decoder == "dupsampling":
        return models.build("mobilenet_v2", 21, projection="voc2012_r16_c32")
    network = {"backbone": small_encoder(), "low_level_features": ("low",), "num_classes": 21}
    if decoder == "bilinear":
        return models.build(**network, decoder=decoder)
    if decoder == "autoencoder":
        return models.build(**network, projection=autoencoder())
    return models.build(**network, projection="voc2012_r16_c32", interpolated_scores=True)


def small_encoder():
    """A feature "low" at stride 4 and the last feature at stride 16."""
    x = image = keras.Input((None, None, 3))
    for name in ("low", "last"):
        x = keras.layers.Conv2D(8, 4, 4, padding="same", name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU(name=name)(x)
    return keras.Model(image, x, name="small")


def autoencoder():
    """16 x 16 windows of 21 classes, 8 channels, 12 hidden units, of random weights."""
    rng, size = np.random.default_rng(0), 16 * 16 * 21
    shapes = [(12, size), (size,), (8, 12), (12,), (size, 12), (12,), (12, 8), (8,)]
    arrays = [rng.normal(0, 0.1, shape).astype("float32") for shape in shapes]
    return projection.LabelAutoencoder(*arrays, num_classes=21, ratio=16)


def nested():
    """An encoder with batch norms that can be folded, and some that cannot."""
    x = image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(x)
    x = keras.layers.BatchNormalization(scale=False)(x)
    x = keras.layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2)(x)
    x = keras.layers.BatchNormalization(center=False)(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(8, 1, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)  # after ReLU
    y = keras.layers.Conv2D(8, 1)(x)
    x = keras.layers.Add()([keras.layers.BatchNormalization()(y), y])  # y has two readers
    twice = keras.layers.Conv2D(8, 1)
    x = twice(keras.layers.BatchNormalization()(twice(x)))
    x = keras.Sequential([keras.layers.Conv2D(8, 1), keras.layers.BatchNormalization()])(x)
    encoder = keras.Model(image, x, name="encoder")
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(3, 1)(keras.ops.relu(encoder(image)))
    return keras.Model(image, keras.layers.Activation("softmax")(x), name="headed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["dupsampling", "interpolated", "bilinear", "autoencoder", "nested"]
)
def test_a_folded_network_answers_as_the_model_does(kind):
    keras.utils.set_random_seed(0)
    model = disturbed(nested() if kind == "nested" else network(kind))
    before = model.get_weights()
    rng = np.random.default_rng(1)
    for output in ("label_map", "probabilities"):
        folded = fold(model, output)
        for size in SIZES:
            image = rng.uniform(0, 255, (2, *size, 3)).astype("float32")
            expected, got = answer(model, image), answer(folded, image)
            if output == "probabilities":
                # float32, some hundred roundings one after another
                np.testing.assert_allclose(got, expected, atol=1e-4)
            else:
                assert got.dtype == np.uint8
                np.testing.assert_array_equal(got, expected.argmax(-1))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("start", [0, 4])
def test_a_convolution_does_the_subsampling_before_it(start):
    image = keras.Input((None, None, 3))
    x = layers.Subsampling(8, start)(image)
    model = keras.Model(image, keras.layers.Conv2D(5, 1)(x))
    folded = fold(model, "probabilities")
    assert not any(type(layer) is layers.Subsampling for layer in folded.layers)
    for side in (1, 5, 7, 8, 9, 12, 13):
        image = np.random.default_rng(side).normal(size=(2, side, side + 8, 3)).astype("float32")
        expected = keras.ops.convert_to_numpy(model(image))
        found = keras.ops.convert_to_numpy(folded(image))
        np.testing.assert_allclose(found, expected, atol=1e-5)
        (symbolic,) = keras.tree.flatten(folded(keras.KerasTensor(image.shape)))
        assert symbolic.shape == found.shape == expected.shape
    if keras.backend.backend() == "tensorflow":  # sizes that are not known beforehand
        import tensorflow as tf

        spec = tf.TensorSpec((None, None, None, 3))
        found = tf.function(folded, autograph=False, input_signature=[spec])(image)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles everything")
def test_the_compiled_search_finds_the_same_classes(tmp_path):
    model = disturbed(network("dupsampling"))
    plain, compiled = fold(model), fold(model, jit_compile=True)
    compiled.save(tmp_path / "compiled.keras")
    loaded = keras.models.load_model(tmp_path / "compiled.keras")
    for size in SIZES:
        image = np.random.default_rng(1).uniform(0, 255, (2, *size, 3)).astype("float32")
        expected = answer(plain, image)
        assert len(np.unique(expected)) > 2
        for one in (compiled, loaded):
            np.testing.assert_array_equal(answer(one, image), expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX compiles everything")
def test_of_equal_scores_the_compiled_search_takes_the_first_class():
    scores = np.array([[0, 0, 0], [1, 2, 2], [2, 1, 2]], "float32")  # (N, K)
    expected = scores.argmax(-1)
    assert expected.tolist() == [0, 1, 0]
    found = _label_maps._compiled_largest()(np.stack([scores, scores], -1))
    np.testing.assert_array_equal(found, np.stack([expected, expected], -1))
    np.testing.assert_array_equal(_label_maps._largest(keras.ops.array(scores)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dupsampling", "bilinear", "nested"])
def test_a_network_folded_to_bfloat16_keeps_its_scores_in_float32(kind):
    keras.utils.set_random_seed(0)
    model = disturbed(nested() if kind == "nested" else network(kind))
    folded = fold(model, "probabilities", dtype="bfloat16")
    if kind != "nested":  # whose Sequential stays as it is
        types = {(w.path.startswith("dupsampling/"), w.dtype) for w in folded.weights}
        assert types - {(True, "float32")} == {(False, "bfloat16")}
    image = np.random.default_rng(1).uniform(0, 255, (2, 33, 50, 3)).astype("float32")
    expected, got = answer(model, image), answer(folded, image)
    assert got.dtype == np.float32
    # a rounding to 8 bits a layer, of values that the next layer adds up: in the mean they cancel
    assert np.abs(got - expected).mean() < 0.01
    ids = fold(model, dtype="bfloat16").predict_on_batch(image)
    given = np.take_along_axis(expected, ids[..., None].astype(int), -1)
    assert (expected.max(-1, keepdims=True) - given).mean() < 0.01


def test_batch_norms_go_where_nothing_else_reads_the_convolution():
    folded = fold(nested())
    norms = [
        layer
        for layer in folded._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    # after ReLU, beside a second reader, of a layer that is called twice, in a Sequential
    assert len(norms) == 4


def test_a_folded_network_can_be_saved_and_read(tmp_path):
    folded = fold(disturbed(network("dupsampling")))
    folded.save(tmp_path / "folded.keras")
    image = np.random.default_rng(0).uniform(0, 255, (1, 20, 30, 3)).astype("float32")
    loaded = keras.models.load_model(tmp_path / "folded.keras")
    np.testing.assert_array_equal(answer(loaded, image), answer(folded, image))


def test_what_cannot_be_folded_is_named():
    with pytest.raises(ValueError, match="output='logits'; it must be one of"):
        fold(nested(), "logits")
    with pytest.raises(ValueError, match="dtype='float16'; it must be one of"):
        fold(nested(), dtype="float16")
    with pytest.raises(ValueError, match="must be a functional Keras model"):
        fold(keras.Sequential([keras.layers.Dense(2)], name="dense"))
