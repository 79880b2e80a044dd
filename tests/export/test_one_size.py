"""Networks for one size of image, with a layer that its own config does not make: all formats."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_dup import data, export, inference, models
from keras_dup.export import _measure

SIZE = (32, 48)


class Unreadable(keras.layers.Layer):
    """Adds a row that it keeps as a tensor; its config has a key too many, as keras-hub's ViT."""

    def build(self, input_shape):
        self.row = keras.ops.arange(input_shape[-1], dtype="float32")

    def call(self, x):
        return keras.activations.gelu(x + self.row)

    def get_config(self):
        return {**super().get_config(), "channels": 4}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    x = image = keras.Input((*SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    x = Unreadable()(keras.layers.Conv2D(4, 16, 16)(x))
    return models.build(keras.Model(image, x, name="one_size"), 3, projection="random")


def pictures():
    rng = np.random.default_rng(0)
    sizes = (SIZE, (40, 50), (20, 60))  # cut and padded to the one size
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def file_of(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def test_a_layer_that_cannot_be_made_again_is_shared_with_the_folded_network(model):
    folded = export.fold(model)
    x = pictures()[0][None].astype("float32")
    expected = np.asarray(model(x)).argmax(-1)
    np.testing.assert_array_equal(folded(x), expected)
    kept = [one.get_layer("one_size").get_layer("unreadable") for one in (model, folded)]
    assert kept[0] is kept[1]


def test_a_server_answers_images_of_the_size_and_names_others(model, tmp_path):
    report = export.saved_model(model, tmp_path, images=pictures(), verbose=False)
    assert report["equal_pixels"] == 1
    shape = report["signatures"]["serve_uint8"]["inputs"]["image"]["shape"]
    assert shape == "(None, 32, 48, 3)"
    served = tf.saved_model.load(str(tmp_path / "1")).signatures
    empty = served["serve_uint8"](image=tf.zeros((0, *SIZE, 3), tf.uint8))
    assert empty["label_map"].shape == (0, *SIZE)
    files = [file_of(image) for image in pictures()]
    found = served["serve_encoded"](image_bytes=tf.constant(files))
    assert [error.decode() for error in found["error"].numpy()] == [
        "",
        "image 1 has 40 x 50 pixels: 32 x 48 are expected",
        "image 2 has 20 x 60 pixels: 32 x 48 are expected",
    ]
    ids = tf.io.decode_png(found["label_map_bytes"][0])[..., 0]
    np.testing.assert_array_equal(ids, inference.predict(model, pictures()[0]))


def test_a_litert_file_has_the_size(model, tmp_path):
    path = tmp_path / "model.tflite"
    with pytest.raises(ValueError, match=r"input_size=\(64, 64\); .* of 32 x 48 alone"):
        export.litert(model, path, input_size=(64, 64))
    report = export.litert(model, path, images=pictures(), verbose=False)
    assert report["input"]["shape"] == [1, 32, 48, 3] and report["equal_pixels"] == 1


def test_an_onnx_file_has_the_size_and_what_layers_hold(model, tmp_path, caplog):
    onnxruntime = pytest.importorskip("onnxruntime")
    report = export.onnx(model, tmp_path / "model.onnx", images=pictures(), verbose=False)
    assert report["equal_pixels"] == 1 and not caplog.records
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [one.name for one in session.get_inputs()] == ["image"]
    assert session.get_inputs()[0].shape[1:] == [32, 48, 3]


def test_files_of_one_size_are_measured_on_smaller_images(model, tmp_path):
    reports = _measure.export_all(model, tmp_path, ["litert", "onnx"], (513, 513))
    rows = _measure.measure(model, reports, data.Shapes(2, (32, 40)), (513, 513))
    assert [row["format"] for row in rows] == ["keras", "litert", "onnx"]
    assert [row["equal_pixels"] for row in rows] == [1, 1, 1]
