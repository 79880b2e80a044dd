"""`training.compile`: one line between `build` and `fit`."""

import keras
import numpy as np
import pytest

from keras_dup import data, models, projection, training
from keras_dup._trained import is_of_backbone

SHAPES = data.Shapes(8, (32, 32))


@pytest.fixture(scope="module")
def network():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 16, 16, padding="same", use_bias=False)(image)
    backbone = keras.Model(image, keras.layers.BatchNormalization()(x), name="tiny")
    w = projection.fit(SHAPES.label_maps(), num_classes=7, ratio=16, channels=8)
    return models.build(backbone, 7, projection=w)


def values(model, of_backbone):
    kept = [w for w in model.weights if is_of_backbone(w.path.split("/")[0]) == of_backbone]
    return [keras.ops.convert_to_numpy(w).copy() for w in kept]


def test_a_compiled_network_fits_and_a_frozen_backbone_stays(network, tmp_path):
    x = np.stack([SHAPES.image(i) for i in range(8)]).astype("float32")
    y = np.stack([SHAPES.label_map(i) for i in range(8)])
    assert (y == 255).any()
    before, decoder = values(network, True), values(network, False)
    model = training.compile(network, steps=2, backbone_rate=0)
    history = model.fit(x, y, 4, validation_data=(x, y), verbose=0).history
    assert all(np.isfinite(history[name]).all() for name in ("loss", "val_loss"))
    assert all(0 <= value <= 1 for value in history["val_miou"])
    assert model.optimizer.learning_rate == 0
    for one, other in zip(before, values(network, True), strict=True):
        np.testing.assert_array_equal(one, other)
    after = values(network, False)
    assert any(not np.array_equal(*pair) for pair in zip(decoder, after, strict=True))
    decayed = {v.name for v in network.trainable_variables if model.optimizer._is_decayed(v)}
    assert decayed == {"kernel"}
    network.save(tmp_path / "compiled.keras")
    again = keras.models.load_model(tmp_path / "compiled.keras")
    assert again.optimizer.l2 == model.optimizer.l2
    rates = training.compile(network, learning_rate=0.1).optimizer.rates  # trained again
    assert rates and set(rates.values()) == {0.2} and network.optimizer.learning_rate == 0.1


def test_what_is_frozen_by_hand_stays_frozen(network):
    encoder = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    norm = next(x for x in encoder.layers if isinstance(x, keras.layers.BatchNormalization))
    norm.trainable = False
    training.compile(network)
    assert not norm.trainable and encoder.trainable_variables


def test_fit_traces_the_step_once(network, monkeypatch):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow traces again when the first step makes variables")
    traced, step = [], network.train_step
    monkeypatch.setattr(network, "train_step", lambda batch: (traced.append(1), step(batch))[1])
    x, y = np.zeros((2, 32, 32, 3), "float32"), np.zeros((2, 32, 32), "uint8")
    training.compile(network).fit(x, y, 2, verbose=0)
    assert len(traced) == 1
