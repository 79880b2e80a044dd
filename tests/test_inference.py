"""Whole pictures: any size, several scales, mirrored, in windows."""

import concurrent.futures
import pathlib

import keras
import numpy as np
import pytest
from PIL import Image

from keras_dup import inference, models
from keras_dup.training import predictor


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    network = {"num_classes": 5, "low_level_features": ("b2u2c3",), "channels": 8}
    return models.build("efficientnet_lite0", weights="imagenet", **network)


@pytest.fixture(scope="module")
def pixelwise():
    """A model that sees one pixel at a time: windows and mirrors cannot change its answer."""
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 64)(image)
    return keras.Model(image, keras.layers.Conv2D(4, 1, activation="softmax")(x))


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def run(model, image):
    """Compiled on JAX: in an eager call each operation is a program of its own."""
    call = model.predict_on_batch if keras.backend.backend() == "jax" else model
    return keras.ops.convert_to_numpy(call(image[None].astype("float32")))


@pytest.mark.parametrize("size", [(64, 96), (33, 50), (1, 1), (1, 500), (500, 3)])
def test_any_size_gets_a_class_for_every_pixel(model, size):
    label_map = inference.predict(model, picture(*size))
    assert label_map.shape == size and label_map.dtype == np.uint8
    expected = run(model, picture(*size))[0].argmax(-1)
    assert (label_map == expected).mean() > 0.999


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="has a way of its own on JAX")
def test_validation_predicts_from_threads_with_the_weights_of_now(model):
    images = [picture(*size, seed) for seed, size in enumerate([(40, 50), (33, 64), (40, 50)])]
    weights = model.get_weights()
    try:
        for scale in (1, 0.9):
            model.set_weights([scale * array for array in weights])
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                found = list(pool.map(predictor(model), images))
            for one, image in zip(found, images, strict=True):
                assert (one == inference.predict(model, image)).mean() > 0.999
    finally:
        model.set_weights(weights)


def test_several_images_of_different_sizes_are_taken_one_by_one(model):
    images = [picture(40, 50), picture(33, 64)]
    for one, image in zip(inference.predict(model, images), images, strict=True):
        np.testing.assert_array_equal(one, inference.predict(model, image))
    batch = np.stack([picture(40, 50, 1), picture(40, 50, 2)])
    assert [y.shape for y in inference.predict(model, batch)] == [(40, 50)] * 2


def test_small_images_of_one_size_are_run_together_and_answered_in_order(pixelwise, monkeypatch):
    batches = []
    run = pixelwise.predict_on_batch
    monkeypatch.setattr(pixelwise, "predict_on_batch", lambda x: batches.append(len(x)) or run(x))
    sizes = [(100, 100)] * 15 + [(99, 100), (100, 99), (300, 300), (300, 300), (64, 64), (64, 64)]
    images = [picture(*size, seed) for seed, size in enumerate(sizes)]
    found = inference.predict(pixelwise, images, flip=True)
    assert batches[::2] == [13, 2, 1, 1, 1, 1, 2]
    for one, image in zip(found, images, strict=True):
        assert (one == inference.predict(pixelwise, image)).mean() > 0.999
    batches.clear()
    inference.predict(pixelwise, images[:2], window=64)
    assert set(batches) == {1}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Images a.png, b.jpg and more/c.png, and the model "network.keras", in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos/more").mkdir(parents=True)
    images = {f"photos/{name}": picture(20, 30, i) for i, name in enumerate("ab")}
    images["photos/more/c"] = picture(24, 30, 2)
    for name, image in images.items():
        Image.fromarray(image).save(f"{name}.png")
    return images


def test_a_path_a_folder_a_pattern_and_lists_of_them_are_images(files, pixelwise, tmp_path):
    a, b, c = (inference.predict(pixelwise, image) for image in files.values())
    for one in ("photos/a.png", tmp_path / "photos/a.png"):
        np.testing.assert_array_equal(inference.predict(pixelwise, one), a)
    for several, expected in (
        ("photos", [a, b]),
        ("photos/*.png", [a, b]),
        ("photos/**/c.png", [c]),
        (["photos/more", files["photos/a"], "photos/?.png"], [c, a, a, b]),
    ):
        found = inference.predict(pixelwise, several)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    found = inference.probabilities(pixelwise, "photos/a.png")
    np.testing.assert_array_equal(found, inference.probabilities(pixelwise, files["photos/a"]))


def test_what_names_no_image_is_told_before_any_is_predicted(files, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"photos/\*\.jpg: no file matches"):
        inference.predict(None, ["photos", "photos/*.jpg"])
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        inference.predict(None, "nowhere")
    pathlib.Path("photos/z.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"z\.png: cannot be decoded"):
        inference.predict(None, "photos")


def test_a_model_is_named_or_a_file_which_is_loaded_once(files, pixelwise, monkeypatch):
    pixelwise.save("network.keras")
    expected = inference.predict(pixelwise, "photos/a.png")
    for path in ("network.keras", pathlib.Path("network.keras")):
        np.testing.assert_array_equal(inference.predict(path, "photos/a.png"), expected)
    monkeypatch.setattr(models, "load", lambda path: pytest.fail("loaded again"))
    inference.predict("network.keras", ["photos/a.png"])
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"vocanimals: no such file.*did you mean 'voc_animals'"):
        inference.predict("vocanimals", next(iter(files.values())))


def test_scales_and_mirror_images_are_averaged_at_the_size_of_the_image(model):
    image = picture(65, 97)
    scales = (0.5, 1.0, 1.75)
    total = 0
    for scale in scales:
        size = [int((side - 1) * scale) + 1 for side in image.shape[:2]]
        for mirror in (1, -1):
            x = _resized(image, *size)[:, ::mirror]
            y = run(model, x)[0][:, ::mirror]
            total = total + _resized(y, 65, 97)
    found = inference.probabilities(model, image, scales, flip=True)
    np.testing.assert_allclose(found, total / 6, atol=1e-5)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def _resized(image, height, width):
    """Bilinear with aligned corners, pixel by pixel in float64."""
    y = np.zeros((height, width, image.shape[2]))
    for i, j in np.ndindex(height, width):
        row = i * (image.shape[0] - 1) / max(height - 1, 1)
        column = j * (image.shape[1] - 1) / max(width - 1, 1)
        for p, q in np.ndindex(2, 2):
            r, c = min(int(row) + p, image.shape[0] - 1), min(int(column) + q, image.shape[1] - 1)
            share = (1 - abs(row - int(row) - p)) * (1 - abs(column - int(column) - q))
            y[i, j] += share * image[r, c]
    return y


def test_a_mirrored_image_gives_the_mirrored_answer(model):
    image = picture(48, 64)
    found = inference.probabilities(model, image, (0.75, 1.0), flip=True)
    mirrored = inference.probabilities(model, image[:, ::-1], (0.75, 1.0), flip=True)
    np.testing.assert_allclose(mirrored[:, ::-1], found, atol=1e-5)


@pytest.mark.parametrize("window", [16, (16, 40), (7, 1), 1000])
@pytest.mark.parametrize("size", [(50, 61), (16, 16), (17, 90), (1, 30)])
def test_windows_cover_every_pixel_once_in_the_sum(pixelwise, size, window):
    image = picture(*size)
    whole = inference.probabilities(pixelwise, image)
    np.testing.assert_allclose(
        inference.probabilities(pixelwise, image, window=window), whole, atol=1e-6
    )
    label_map = inference.predict(pixelwise, image, window=window, flip=True)
    assert label_map.shape == size and (label_map == whole.argmax(-1)).mean() > 0.99


def test_windows_leave_no_seam():
    """Near its end a window weighs little: what a model sees of the edge hardly shows."""
    image = keras.Input((None, None, 3))
    border = keras.layers.Conv2D(1, 9, padding="same", kernel_initializer="ones")(image)
    x = keras.layers.Concatenate()([border, keras.ops.zeros_like(border)])
    model = keras.Model(image, x)  # no softmax: the border effect itself
    flat = np.ones((96, 96, 3), np.uint8)
    inner = inference.probabilities(model, flat, window=48)[8:-8, 8:-8, 0]
    # the effect is up to 60 % at a window's edge; side by side windows would jump by it
    steps = np.abs(np.diff(inner, axis=0)).max() / inner.max()
    assert steps < 0.03


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.zeros((4, 4)), {}, r"image has shape \(4, 4\); \(height, width, 3\)"),
        (np.zeros((4, 4, 4)), {}, r"image has shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3)), {}, r"image has shape \(0, 4, 3\)"),
        (np.full((4, 4, 3), np.nan), {}, "not finite"),
        ([picture(4, 4), np.zeros((4, 3))], {}, r"image 1 has shape \(4, 3\)"),
        (picture(4, 4), {"scales": (1, 0)}, r"scales=\(1, 0\); positive"),
        (picture(4, 4), {"scales": ()}, r"scales=\(\); positive"),
        (picture(4, 4), {"window": 0}, "window=0; a side in pixels"),
    ],
)
def test_bad_input_is_named(pixelwise, image, options, message):
    with pytest.raises(ValueError, match=message):
        inference.predict(pixelwise, image, **options)


def test_an_image_of_0_to_1_is_pointed_out(pixelwise):
    with pytest.warns(UserWarning, match="values of 0..1; the model takes 0..255"):
        inference.predict(pixelwise, np.random.default_rng(0).uniform(0, 1, (4, 4, 3)))


def test_a_model_for_one_size_takes_images_of_any():
    """In windows of that size; a smaller image is continued by its edge."""
    x = image = keras.Input((32, 48, 3))
    for i in range(2):
        x = keras.layers.Conv2D(4, 3, 4, "same", name=f"conv{i}")(x)
    model = models.build(keras.Model(image, x), num_classes=3, projection="random")
    rng = np.random.default_rng(0)
    exact, small, wide = (
        rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((32, 48), (20, 30), (40, 49))
    )
    y = np.asarray(model.predict_on_batch(exact[None]))[0]
    np.testing.assert_allclose(inference.probabilities(model, exact), y, atol=1e-6)
    padded = np.pad(small, ((0, 12), (0, 18), (0, 0)), mode="edge")
    expected = inference.probabilities(model, padded)[:20, :30]
    np.testing.assert_array_equal(inference.probabilities(model, small), expected)
    found = inference.predict(model, [exact, exact, small, small, wide])
    assert [one.shape for one in found] == [(32, 48), (32, 48), (20, 30), (20, 30), (40, 49)]
    np.testing.assert_array_equal(found[3], expected.argmax(-1))
    np.testing.assert_array_equal(found[4], inference.predict(model, wide, window=(32, 48)))
    for options in ({"scales": (0.5, 1)}, {"window": 32}):
        with pytest.raises(ValueError, match="the model takes images of 32 x 48 alone"):
            inference.predict(model, exact, **options)
