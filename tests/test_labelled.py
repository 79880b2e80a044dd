"""Names and colours of the classes: in the model, in its file and in every export."""

import io
import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest

from keras_dup import _labelled, data, export, models
from keras_dup._labelled import labelled
from keras_dup._lists import write_lines

NAMES = ["sky", "chaussée", "traffic light"]
COLOURS = ((1, 2, 3), (40, 50, 60), (255, 0, 7))


def plain(policy="float32"):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(3, 1, dtype=policy)(image)
    return keras.Model(image, keras.layers.Softmax(dtype="float32")(x), name="tiny")


@pytest.fixture(scope="module")
def model():
    return labelled(plain(), NAMES, COLOURS)


def test_a_file_keeps_the_names_for_keras_too(model, tmp_path):
    model.save(tmp_path / "m.keras")
    loaded = [models.load(tmp_path / "m.keras"), keras.models.load_model(tmp_path / "m.keras")]
    image = np.random.default_rng(0).uniform(0, 255, (1, 5, 6, 3)).astype("float32")
    for again in loaded:
        assert models.class_names(again) == NAMES and again.colours == COLOURS
        np.testing.assert_array_equal(again(image), model(image))
    assert models.class_names(tmp_path / "m.keras") == NAMES  # without loading
    write_lines(tmp_path / "classes.txt", "xyz")  # of another model
    assert models.class_names(tmp_path / "m.keras") == NAMES
    assert models.class_names(models.load(tmp_path / "m.keras")) == NAMES


def test_the_model_of_the_package_has_its_names_in_its_file():
    (path,) = pathlib.Path("saved_models").glob("voc_animals*.keras")
    names = pathlib.Path("saved_models/voc2012_classes.txt").read_text().splitlines()
    assert _labelled.names_in_file(path) == names == models.class_names("voc_animals")


def test_an_older_file_has_the_names_that_lie_beside_it(tmp_path):
    plain().save(tmp_path / "m.keras")
    assert models.class_names(models.load(tmp_path / "m.keras")) is None
    write_lines(tmp_path / "classes.txt", ["only one"])
    assert models.class_names(models.load(tmp_path / "m.keras")) is None
    write_lines(tmp_path / "classes.txt", NAMES)
    again = models.load(tmp_path / "m.keras")
    assert models.class_names(again) == NAMES
    assert again.colours == tuple(map(tuple, data.palette()[:3].tolist()))
    again.save(tmp_path / "new.keras")
    (tmp_path / "classes.txt").unlink()
    assert models.class_names(models.load(tmp_path / "new.keras")) == NAMES


def test_build_takes_names_and_colours(monkeypatch):
    monkeypatch.setattr(models._network, "assemble", lambda *arguments: plain())
    model = models.build("mobilenet_v2", 3, class_names=NAMES, colours=COLOURS, decoder="bilinear")
    assert models.class_names(model) == NAMES and model.colours == COLOURS
    with pytest.raises(ValueError, match=r"2 class_names, .* the model has 3 classes"):
        labelled(plain(), NAMES[:2])
    with pytest.raises(ValueError, match=r"colours of shape \(1, 3\); the model has 3 classes"):
        labelled(plain(), NAMES, COLOURS[:1])


def test_a_litert_file_has_the_names_in_an_archive_at_its_end(model, tmp_path):
    report = export.litert(model, tmp_path / "m.tflite", input_size=(32, 32), verbose=False)
    content = (tmp_path / "m.tflite").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("classes.txt").decode().splitlines() == NAMES
        assert archive.read("colours.txt").decode().splitlines()[0] == "sky 1 2 3"
    assert report["bytes"] == len(content) and report["equal_pixels"] >= 0.999  # it runs
    export.litert(model, tmp_path / "again.tflite", input_size=(32, 32), verbose=False)
    assert (tmp_path / "again.tflite").read_bytes() == content


def test_an_onnx_file_has_the_names_in_its_metadata(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    half = labelled(plain("mixed_bfloat16"), NAMES, COLOURS)
    export.onnx(half, tmp_path / "m.onnx", verbose=False)
    found = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).get_modelmeta()
    found = {k: json.loads(v) for k, v in found.custom_metadata_map.items()}
    assert found == {"class_names": NAMES, "colours": list(map(list, COLOURS))}
