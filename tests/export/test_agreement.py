"""The check of exports: what it compares on, and what it must not let through."""

import numpy as np
import pytest
from thresholds import thresholding

from keras_dup import models
from keras_dup.export import _agreement


@pytest.fixture(scope="module")
def model():
    return thresholding()


def answers(model):
    return lambda image: model.predict_on_batch(image.astype("float32"))


def compare(model, run, least=0.999, most=1e-3, images=None):
    images = _agreement.reference_images(model) if images is None else images
    return _agreement.compare("format", model, {"one": run}, images, least, most)


def shares(model, images):
    """The share of the pixels of each class, over all images."""
    ids = [answers(model)(image[None]).argmax(-1).ravel() for image in images]
    counts = np.bincount(np.concatenate(ids))
    return counts / counts.sum()


def test_reference_images_are_of_the_full_range_and_of_unlike_shapes(model):
    images = _agreement.reference_images(model)
    assert all(image.dtype == np.uint8 for image in images)
    assert any(image.shape[0] != image.shape[1] for image in images)
    assert any(image.std(axis=(0, 1)).max() == 0 for image in images)
    for channel in range(3):
        ends = {end(image[..., channel]) for image in images[:1] for end in (np.min, np.max)}
        assert ends == {0, 255}
    assert {image.shape for image in _agreement.reference_images(model, (40, 56))} == {(40, 56, 3)}


@pytest.mark.parametrize("middle", [127.5, 240, 254.5])
def test_a_rare_class_is_found(middle):
    # at 254.5 noise has hardly a pixel of class 1: the image has to be changed
    model = thresholding(middle, 0.1)
    assert shares(model, _agreement.reference_images(model)[:2]).min() > 0.02


def test_the_network_of_the_package_answers_with_several_classes():
    model = models.load("voc_animals")
    images = _agreement.reference_images(model)
    found = shares(model, images)
    assert np.sort(found)[-2] > 0.01
    zeros = np.zeros((1, 1), np.uint8)
    with pytest.raises(RuntimeError, match=r"class ids in .* are the model's"):
        compare(model, lambda image: [np.broadcast_to(zeros, image.shape[:3])], images=images)


def test_a_model_that_knows_one_class_only_is_said():
    model = thresholding(1e6)
    with pytest.warns(UserWarning, match="answers all 4 reference images with one class"):
        report = compare(model, lambda image: [answers(model)(image)])
    assert report["classes"] == 1


def test_wrong_probabilities_of_the_right_class_fail(model):
    def flatter(image):
        return [0.5 + (answers(model)(image) - 0.5) / 2]

    with pytest.raises(RuntimeError, match=r"100\.00 % of .* differ by up to 0\.25"):
        compare(model, flatter)
    assert compare(model, flatter, most=None)["equal_pixels"] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("everywhere", [True, False])
def test_what_is_not_finite_fails(model, value, everywhere):
    def broken(image):
        found = answers(model)(image).copy()
        found[:, : 1 if not everywhere else None] = value
        return [found]

    with pytest.raises(RuntimeError, match="not finite"):
        compare(model, broken, least=0, most=None)
    with pytest.raises(RuntimeError, match="not finite"):  # the model itself
        broken_model = thresholding(sharpness=value)
        compare(broken_model, lambda image: [answers(model)(image)], images=[np.ones((4, 4, 3))])


def test_ids_that_are_no_classes_and_other_shapes_fail(model):
    with pytest.raises(RuntimeError, match="class id 2 of 2 classes"):
        compare(model, lambda image: [np.full(image.shape[:3], 2)])
    with pytest.raises(RuntimeError, match=r"output \(1, 2\), the model's is"):
        compare(model, lambda image: [np.zeros((1, 2))])


def test_every_signature_counts(model):
    def right(image):
        return [answers(model)(image).argmax(-1)]

    def wrong(image):
        return [1 - found for found in right(image)]

    images = _agreement.reference_images(model)
    runs = {"serving_default": right, "serve_uint8": wrong}
    with pytest.raises(RuntimeError, match="format, serve_uint8: "):
        _agreement.compare("format", model, runs, images, 0.999, None)
    runs = {"serving_default": right, "serve_uint8": right}
    report = _agreement.compare("format", model, runs, images, 0.999, None)
    assert report["equal_pixels"] == 1 and report["classes"] == 2
