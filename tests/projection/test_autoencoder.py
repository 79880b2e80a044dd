"""W by gradient descent, and the auto-encoder whose decoder is the upsampling of a model."""

import keras
import numpy as np
import pytest
from label_maps import voronoi

from keras_dup import flops, models, projection
from keras_dup.projection import _autoencoder

CLASSES, RATIO, CHANNELS = 4, 8, 6


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    maps = [voronoi(rng, 48, 48, CLASSES) for _ in range(12)]
    return projection.count_windows(maps, CLASSES, RATIO)


def train(counts, method, steps=400):
    return _autoencoder.fit(
        counts, CLASSES, RATIO, CHANNELS, method=method, steps=steps, batch_size=64
    )


@pytest.fixture(scope="module")
def encoded(counts):
    return train(counts, "autoencoder")


def error(fitted, counts):
    """The mean of |v - v~|^2, in float64."""
    one_hot = np.eye(CLASSES)[counts.windows].reshape(len(counts), -1)
    rebuilt = fitted.reconstruct_windows(fitted.compress_windows(counts.windows))
    return np.average(((one_hot - rebuilt) ** 2).sum(1), weights=counts.counts)


def test_a_descent_that_diverges_says_so():
    ids = np.random.default_rng(0).choice(3, (12, 12), p=(0.6, 0.35, 0.05)).astype(np.uint8)
    counts = projection.count_windows([ids.repeat(16, 0).repeat(16, 1)], 3, 16)
    with pytest.raises(ValueError, match="diverged on these label maps"):
        _autoencoder.fit(counts, 3, 16, 2, method="sgd")


def test_gradient_descent_comes_close_to_pca_and_never_below(counts):
    exact = projection.fit_counts(counts, CLASSES, RATIO, CHANNELS)
    found = train(counts, "sgd", steps=1500)
    assert error(exact, counts) <= error(found, counts) < 1.1 * error(exact, counts)
    np.testing.assert_allclose(
        found.explained_variance_ratio.sum(), exact.explained_variance_ratio.sum(), atol=0.02
    )
    rows = found.matrix @ found.matrix.T
    assert np.abs(rows - np.diag(rows.diagonal())).max() > 1e-2  # no constraint held it


def test_the_auto_encoder_beats_one_that_was_not_trained(counts, encoded):
    assert error(encoded, counts) < error(train(counts, "autoencoder", 1), counts) / 2


def test_fit_takes_the_method(counts, monkeypatch):
    monkeypatch.setattr(_autoencoder.fit, "__defaults__", (255, False, "sgd", 2, 8, 0))
    label_map = voronoi(np.random.default_rng(1), 48, 48, CLASSES)
    fitted = projection.fit([label_map], CLASSES, RATIO, CHANNELS, method="autoencoder")
    assert isinstance(fitted, projection.LabelAutoencoder) and fitted.channels == CHANNELS
    fitted = projection.fit([label_map], CLASSES, RATIO, CHANNELS, method="sgd")
    assert fitted.compression.shape == fitted.matrix.shape == (CHANNELS, RATIO**2 * CLASSES)
    with pytest.raises(ValueError, match="method is 'ica'; one of"):
        projection.fit([label_map], CLASSES, RATIO, CHANNELS, method="ica")
    with pytest.raises(ValueError, match=r"channels is 0\.9; a whole number"):
        projection.fit([label_map], CLASSES, RATIO, 0.9, method="sgd")


@pytest.mark.parametrize("method", ["sgd", "autoencoder"])
def test_what_was_trained_survives_saving(counts, method, tmp_path):
    fitted = train(counts, method, steps=2)
    loaded = projection.load(fitted.save(tmp_path / "w"))
    label_map = voronoi(np.random.default_rng(2), 30, 20, CLASSES)
    np.testing.assert_array_equal(loaded.compress(label_map), fitted.compress(label_map))
    rows = fitted.compress(label_map)
    np.testing.assert_array_equal(loaded.reconstruct(rows), fitted.reconstruct(rows))


def test_an_auto_encoder_of_arrays_that_do_not_fit_is_refused(encoded, tmp_path):
    path = encoded.save(tmp_path / "w")
    arrays = dict(np.load(path))
    np.savez(path, **{**arrays, "code_bias": np.zeros(CHANNELS + 1)})
    with pytest.raises(ValueError, match=r"not a projection \(.*code_bias \(7,\)"):
        projection.load(path)


def test_its_decoder_upsamples_as_reconstruct_does(encoded):
    x = np.random.default_rng(3).standard_normal((2, 3, 4, CHANNELS)).astype(np.float32)
    layer = _autoencoder.AutoencoderUpsampling(CLASSES, RATIO, encoded)
    wanted = np.stack([encoded.reconstruct(image) for image in x])
    np.testing.assert_allclose(layer(x), wanted, atol=1e-5)
    untrained = _autoencoder.AutoencoderUpsampling(CLASSES, RATIO, hidden_units=2 * CHANNELS)
    assert np.abs(untrained(x) - wanted).max() > 1e-2
    untrained.set_projection(encoded)
    np.testing.assert_allclose(untrained(x), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="has 6 channels, the features have 5"):
        _autoencoder.AutoencoderUpsampling(CLASSES, RATIO, encoded)(x[..., :5])


@pytest.mark.slow
def test_build_takes_an_auto_encoder_saves_it_and_counts_its_multiply_adds(encoded, tmp_path):
    model = models.build("efficientnet_lite0", CLASSES, RATIO, (), projection=encoded)
    layer = model.get_layer("dupsampling")
    assert isinstance(layer, _autoencoder.AutoencoderUpsampling) and not layer.trainable_weights
    image = np.random.default_rng(4).uniform(0, 255, (1, 40, 48, 3)).astype(np.float32)
    probabilities = model.predict(image, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.predict(image, verbose=0), probabilities, atol=1e-6)
    hidden, windows = _autoencoder.HIDDEN * CHANNELS, 5 * 6
    expected = windows * CHANNELS * hidden + 40 * 48 * CLASSES * (hidden + 1)
    counted = flops.count(model, (40, 48))["decoder"] - 256 * CHANNELS * windows
    assert counted == expected


def test_a_layer_without_a_projection_needs_its_hidden_units():
    with pytest.raises(ValueError, match="hidden_units is None; without a projection"):
        _autoencoder.AutoencoderUpsampling(CLASSES, RATIO)
