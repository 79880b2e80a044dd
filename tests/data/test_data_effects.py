"""Augmentation by name: images and label maps stay together, void stays void."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from coded import Coded, colours, interior
from tiny_run import TINY

from keras_dup._augmentations import AUGMENTATIONS
from keras_dup.data import VOID, Shapes, train_batches
from keras_dup.data._augment import augment
from keras_dup.data._effects import COLOUR, PLACE
from keras_dup.training import _run

CROP = (40, 57)


@pytest.fixture(scope="module")
def drawn():
    """drawn(seed, *names) -> image, label map: a graph for each choice of names."""
    shapes, graphs = Shapes(1, size=(36, 70)), {}

    def draw(seed, *names):
        if names not in graphs:
            pair = shapes.image(0), shapes.label_map(0)
            cut = lambda seed: augment(*pair, CROP, seed, (0.8, 1.2), augmentation=names)  # noqa: E731
            graphs[names] = tf.function(cut)
        return [x.numpy() for x in graphs[names](tf.constant([seed, 3]))]

    return draw


@pytest.mark.parametrize("name", COLOUR)
def test_effects_of_colours_leave_label_maps_and_padding_as_they_are(name, drawn):
    changed = []
    for seed in range(25):
        image, label_map = drawn(seed)
        other, same = drawn(seed, name)
        np.testing.assert_array_equal(same, label_map)
        padded = (image == 127).all(-1) & (label_map == VOID)
        assert (other[padded] == 127).all()
        assert other.min() >= 0 and other.max() <= 255
        changed.append(np.abs(other - image).max() > 1)
        if name == "grayscale" and changed[-1]:
            assert np.ptp(other, axis=-1).max() < 0.01
    shares = {"color_jitter": 1.0, "grayscale": 0.2, "gaussian_blur": 0.5}
    assert np.mean(changed) == pytest.approx(shares[name], abs=0.25)  # 2.5 standard deviations


def test_a_blur_keeps_what_is_of_one_colour_and_the_mean():
    image, label_map = np.full((20, 30, 3), 200, np.uint8), np.zeros((20, 30), np.uint8)
    image[8:12, 12:18] = 0
    results = []
    for seed in range(8):
        window = (20, 30), (seed, 0), (1.0, 1.0), False
        found, _ = augment(image, label_map, *window, ("gaussian_blur",))
        assert found.numpy().mean() == pytest.approx(image.mean(), abs=0.01)
        np.testing.assert_allclose(found[0], 200, atol=1e-3)
        results.append(found[8, 12, 0].numpy())  # a corner of the dark box
    assert min(results) < 1 and 20 < max(results) < 150


def test_a_rotation_turns_both_alike_and_fills_with_void_and_grey():
    data, turned = Coded(3), 0
    for seed in range(12):
        window = (50, 70), (seed, 0), (1.0, 1.0), False
        image, label_map = data.image(seed % 3), data.label_map(seed % 3)
        plain_ids = augment(image, label_map, *window)[1].numpy()
        found, ids = (x.numpy() for x in augment(image, label_map, *window, ("rotation",)))
        seen = interior(ids) & (ids != VOID)
        assert seen.sum() > 50 and set(np.unique(ids)) <= {*np.unique(plain_ids), VOID}
        np.testing.assert_allclose(found[seen], colours(ids)[seen], atol=1e-2)
        deep = interior(ids) & (ids == VOID)
        np.testing.assert_allclose(found[deep], 127, atol=1e-3)
        turned += (ids != plain_ids).any()
    assert turned >= 10


def test_erased_rectangles_keep_their_labels(drawn):
    shares = []
    for seed in range(40):
        image, label_map = drawn(seed)
        other, same = drawn(seed, "erasing")
        np.testing.assert_array_equal(same, label_map)
        erased = (other != image).any(-1)
        assert (other[erased] == 127).all()
        shares.append(erased.mean())
    assert 10 <= np.count_nonzero(shares) <= 30 and 0.05 < max(shares) <= 4 / 16


def test_effects_are_drawn_from_the_seed_and_one_does_not_hang_on_another(drawn):
    for seed in range(6):
        alone, both = drawn(seed, "erasing"), drawn(seed, "grayscale", "erasing")
        np.testing.assert_array_equal(alone[1], both[1])
        erased = (alone[0] != drawn(seed)[0]).any(-1)
        assert (both[0][erased] == 127).all()
        np.testing.assert_array_equal(drawn(seed, "erasing")[0], alone[0])


def test_a_recipe_and_a_stream_take_names_and_know_the_nearest():
    assert (*COLOUR, *PLACE) == AUGMENTATIONS
    recipe = dataclasses.replace(TINY, augmentation=("erasing", "color_jitter"))
    stream = _run._Run(recipe, *[None] * 6)._stream(0)
    assert stream["augmentation"] == ("erasing", "color_jitter")
    message = "'colour_jitter'; of color_jitter, .*; did you mean 'color_jitter'"
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, augmentation=("colour_jitter",))
    with pytest.raises(ValueError, match=message):
        train_batches(Coded(2), 2, 32, augmentation=["colour_jitter"])
    plain, jittered = (
        next(iter(train_batches(Coded(2), 2, 32, augmentation=names)))
        for names in ((), ("color_jitter",))
    )
    assert np.abs(plain[0] - jittered[0]).max() > 5
    np.testing.assert_array_equal(plain[1], jittered[1])
