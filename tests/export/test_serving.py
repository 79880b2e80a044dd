"""The SavedModel as a server uses it: the session loader, TensorFlow's C API, concurrent callers.

There is no TensorFlow Serving binary here; these are the two ways in which it loads models.
"""

import concurrent.futures
import io
import json

import c_api
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_dup import data, export, inference, models
from research import served as loader


@pytest.fixture(scope="module")
def model():
    return models.load("voc_animals")


@pytest.mark.slow
def test_bfloat16_halves_the_weights_but_not_the_graph(model, served, tmp_path):
    options = {"dtype": "bfloat16", "min_agreement": 0, "verbose": False}  # of drawings alone
    half = export.saved_model(model, tmp_path / "half", **options)
    whole = json.loads((served.parent / "1.report.json").read_text())
    assert half["bytes"] < 0.75 * whole["bytes"]


@pytest.fixture(scope="module")
def served(model, tmp_path_factory):
    before = model.get_weights()
    path = tmp_path_factory.mktemp("served")
    report = export.saved_model(model, path, verbose=False)  # the model has the names
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert json.loads((path / "1.report.json").read_text()) == report
    assert report["equal_pixels"] >= 0.999
    sizes = report["answer_bytes"]
    assert sizes["label_map_bytes"] < sizes["label_map"] < sizes["probabilities"]
    assert (path / "1/assets/classes.txt").read_text().split("\n")[:2] == [
        "background",
        "aeroplane",
    ]
    assert (path / "1/assets/colours.txt").read_text().split("\n")[1] == "aeroplane 128 0 0"
    return path / "1"


@pytest.fixture(scope="module")
def session(served):
    return loader.session(served)


def picture(height, width, seed=0):
    return data.Shapes(1, (96, 208), seed=seed).image(0)[:height, :width]


def encoded(array, kind="PNG", mode=None):
    image, file = Image.fromarray(array), io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind)
    return file.getvalue()


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.slow
def test_batches_of_any_size_get_the_label_maps_of_the_model(model, session):
    for height, width in ((48, 80), (65, 33), (1, 200), (1, 1)):
        batch = np.stack([picture(height, width), picture(height, width, 1)])
        expected = model.predict_on_batch(batch.astype("float32")).argmax(-1)
        for name in ("serving_default", "serve_uint8"):
            kind = "uint8" if name == "serve_uint8" else "float32"
            answer = session(name, {"image": batch.astype(kind)})
            assert set(answer) == {"label_map"} and answer["label_map"].dtype == np.uint8
            assert (answer["label_map"] == expected).mean() >= 0.999


@pytest.mark.slow
def test_bad_images_in_a_batch_do_not_hurt_the_good_ones(model, session):
    image, good = picture(40, 56), encoded(picture(40, 56))
    good_ones = [
        good,
        encoded(image, "JPEG"),
        encoded(image, "PNG", "L"),
        encoded(image, "PNG", "RGBA"),
        encoded(image, "JPEG", "CMYK"),
        encoded(image, "GIF"),
        encoded(image, "BMP"),
        encoded((np.arange(40 * 56).reshape(40, 56) * 29).astype("uint16")),
        encoded(image[:1, :1]),
        encoded(np.zeros((1, 5000, 3), np.uint8)),
    ]
    bad_ones = [b"", b"no image", good[:100], encoded(np.zeros((3000, 2000), np.uint8))]
    answer = session("serve_encoded", {"image_bytes": good_ones[:4] + bad_ones + good_ones[4:]})
    errors = [error.decode() for error in answer["error"]]
    assert errors[:4] == [""] * 4 and errors[8:] == [""] * 6
    for i in (4, 5, 6):
        assert errors[i] == f"image {i} cannot be decoded: JPEG, PNG, BMP or GIF is expected"
    assert errors[7] == "image 7 has 3000 x 2000 pixels: at most 4194304 in all are accepted"
    found = answer["label_map_bytes"]
    assert all(content == b"" for content in found[4:8])
    shapes = [decoded(content).shape for content in (*found[:4], *found[8:])]
    assert shapes == [(40, 56)] * 8 + [(1, 1), (1, 5000)]
    expected = model.predict_on_batch(image[None].astype("float32")).argmax(-1)[0]
    assert (decoded(found[0]) == expected).mean() >= 0.999


def test_an_image_without_pixels_is_refused(session):
    with pytest.raises(tf.errors.InvalidArgumentError, match="the image has no pixels"):
        session("serving_default", {"image": np.zeros((1, 0, 8, 3), np.float32)})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1, 255.5])
def test_a_pixel_outside_0_to_255_is_refused_as_predict_refuses_it(model, session, value):
    batch = np.stack([picture(8, 8), picture(8, 8, 1)]).astype(np.float32)
    batch[0, 0, :2] = (0, 0, 0), (255, 255, 255)
    assert session("serving_default", {"image": batch})["label_map"].shape == (2, 8, 8)
    batch[1, 2, 3, 1] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"finite values in 0\.\.255"):
        session("serving_default", {"image": batch})
    with pytest.raises(ValueError, match="image 1 has values"):
        inference.predict(model, batch)


@pytest.mark.parametrize("size", [(8, 12), (50_000, 50_000), (0, 0)])
@pytest.mark.parametrize("name, kind", [("serving_default", np.float32), ("serve_uint8", np.uint8)])
def test_an_empty_batch_gets_an_empty_answer(session, name, kind, size):
    label_map = session(name, {"image": np.zeros((0, *size, 3), kind)})["label_map"]
    assert label_map.shape == (0, *size) and label_map.dtype == np.uint8


def test_an_empty_batch_of_files_gets_an_empty_answer(session):
    answer = session("serve_encoded", {"image_bytes": np.zeros((0,), object)})
    assert answer["label_map_bytes"].shape == answer["error"].shape == (0,)


def test_an_empty_batch_gets_empty_probabilities(tmp_path):
    image = keras.Input((None, None, 3))
    scores = keras.layers.Conv2D(3, 1)(keras.layers.Rescaling(1 / 255)(image))
    tiny = keras.Model(image, keras.layers.Softmax()(scores))
    export.saved_model(tiny, tmp_path, probabilities=True, verbose=False)
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    assert serve.structured_outputs["probabilities"].shape.as_list() == [None, None, None, 3]
    answer = serve(image=tf.zeros((0, 8, 12, 3)))
    assert answer["probabilities"].shape == (0, 8, 12, 3)
    assert answer["probabilities"].dtype == tf.float32
    assert answer["label_map"].shape == (0, 8, 12) and answer["label_map"].dtype == tf.uint8


@pytest.mark.slow
def test_concurrent_callers_get_their_own_answers(session):
    pictures = [picture(40 + 8 * i, 64, seed=i)[None] for i in range(4)] * 3
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda p: session("serve_uint8", {"image": p}), pictures))
    for image, answer in zip(pictures, found, strict=True):
        alone = session("serve_uint8", {"image": image})
        np.testing.assert_array_equal(answer["label_map"], alone["label_map"])


def test_the_warm_up_requests_run(served, session):
    ran = []
    for signature, inputs in loader.warm_up(served):
        answer = session(signature, inputs)
        ran.append(signature)
        assert all(value.size for value in answer.values())
        assert not any(answer.get("error", []))
    assert sorted(ran) == ["serve_encoded", "serve_uint8", "serving_default"]


@pytest.mark.slow
def test_the_c_api_runs_it_without_python(model, served):
    if not c_api.LIBRARY.exists():
        pytest.skip(f"{c_api.LIBRARY} is not part of this TensorFlow")
    run = c_api.load(served)
    for height, width in ((48, 80), (65, 33)):
        batch = np.stack([picture(height, width), picture(height, width, 1)])
        expected = model.predict_on_batch(batch.astype("float32")).argmax(-1)
        assert (run(batch) == expected).mean() >= 0.999


def test_class_names_have_to_be_as_many_as_the_classes(tmp_path):
    image = keras.Input((None, None, 3))
    tiny = keras.Model(image, keras.layers.Softmax()(keras.layers.Conv2D(2, 1)(image)))
    with pytest.raises(ValueError, match="3 class names for 2 classes"):
        export.saved_model(tiny, tmp_path, ["a", "b", "c"])
