"""Scaling, flipping and cropping image and label map alike."""

import numpy as np
import pytest
import tensorflow as tf
from coded import Coded, assert_same_batches, colours, interior

from keras_dup.data import VOID, Shapes, train_batches
from keras_dup.data._augment import augment


def test_scale_one_without_flip_at_the_source_size_changes_nothing():
    data = Shapes(1, size=(40, 56))
    image, label_map = augment(
        data.image(0), data.label_map(0), (40, 56), (0, 0), scale_range=(1.0, 1.0), flip=False
    )
    np.testing.assert_array_equal(image, data.image(0))
    np.testing.assert_array_equal(label_map, data.label_map(0))
    assert image.dtype == tf.float32 and label_map.dtype == tf.int32


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.37, 2.0])
def test_a_crop_of_the_whole_scaled_image_is_what_tf_image_resize_gives(scale):
    data = Shapes(1, size=(40, 57))
    size = round(40 * scale), round(57 * scale)
    image, label_map = augment(
        data.image(0), data.label_map(0), size, (0, 0), scale_range=(scale, scale), flip=False
    )
    # Positions differ by rounding, at most 57 * 2^-23, times steps of up to 255 between pixels.
    np.testing.assert_allclose(image, tf.image.resize(data.image(0), size), atol=57 * 255 * 2**-22)
    nearest = tf.image.resize(data.label_map(0)[..., None], size, method="nearest")[..., 0]
    np.testing.assert_array_equal(label_map, nearest)


@pytest.mark.parametrize("flip", [False, True])
def test_a_crop_is_a_window_of_whole_pixels_scaled_as_tf_image_resize_does(flip):
    image = Shapes(1, size=(40, 50)).image(0)
    numbered = np.arange(40 * 50, dtype=np.int32).reshape(40, 50)  # a class id a pixel
    for seed in range(10):
        got, ids = augment(image, numbered, (45, 30), (0, seed), scale_range=(1.5, 1.5), flip=flip)
        rows, columns = np.unique(ids // 50), np.unique(ids % 50)
        window = np.ix_(rows, columns)
        assert window[0].shape == (30, 1) and window[1].shape == (1, 20)  # 45 / 1.5, 30 / 1.5
        turn = slice(None, None, -1 if ids[0, 0] > ids[0, -1] else 1)
        expected = tf.image.resize(image[window][:, turn], (45, 30))
        np.testing.assert_array_equal(got, expected)
        expected = tf.image.resize(numbered[window][..., None], (45, 30), method="nearest")
        np.testing.assert_array_equal(ids, expected[:, turn, 0])


def test_a_flip_turns_image_and_label_map_alike_and_happens_half_the_time():
    data = Shapes(1, size=(40, 56))
    image, label_map = data.image(0), data.label_map(0)
    flipped = 0
    for seed in range(100):
        got = augment(image, label_map, (40, 56), (seed, 0), scale_range=(1.0, 1.0))
        turn = slice(None, None, -1 if (got[1] != label_map).numpy().any() else 1)
        flipped += turn.step == -1
        np.testing.assert_array_equal(got[0], image[:, turn])
        np.testing.assert_array_equal(got[1], label_map[:, turn])
    assert 30 <= flipped <= 70  # four standard deviations


def test_image_and_label_map_stay_aligned():
    data = Coded(6)
    for k in range(30):
        image, label_map = augment(data.image(k % 6), data.label_map(k % 6), (50, 70), (1, k))
        label_map = label_map.numpy()
        seen = interior(label_map) & (label_map != VOID)
        assert seen.sum() > 50
        np.testing.assert_allclose(image.numpy()[seen], colours(label_map)[seen], atol=1e-2)
        assert (image.numpy()[label_map == VOID] == 127).all()
        assert set(np.unique(label_map)) <= {*np.unique(data.label_map(k % 6)), VOID}


def test_a_crop_larger_than_the_image_is_padded_with_void_and_mid_grey():
    image, label_map = np.full((10, 12, 3), 200, np.uint8), np.full((10, 12), 3, np.uint8)
    corners = set()
    for seed in range(40):
        got, got_labels = augment(image, label_map, 20, (0, seed), scale_range=(1.0, 1.0))
        inside = got_labels.numpy() == 3
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert inside.sum() == 120 and len(rows) == 10 and len(columns) == 12
        assert (got_labels.numpy()[~inside] == VOID).all()
        assert (got.numpy()[inside] == 200).all() and (got.numpy()[~inside] == 127).all()
        corners.add((rows[0], columns[0]))
    rows, columns = map(set, zip(*corners, strict=True))
    assert {0, 10} <= rows <= set(range(11)) and {0, 8} <= columns <= set(range(9))


def test_crops_reach_every_place_and_scales_the_whole_range():
    label_map = np.arange(100, dtype=np.uint8).reshape(10, 10)
    image = np.repeat(label_map[..., None], 3, -1)
    cut = tf.function(lambda seed: augment(image, label_map, 7, seed, (1.0, 1.0), flip=False)[1])
    whole = tf.function(lambda seed: augment(image, label_map, 64, seed)[1])
    firsts, widths = set(), []
    for seed in range(300):
        firsts.add(int(cut(tf.constant([0, seed]))[0, 0]))
        widths.append((whole(tf.constant([seed, 1])).numpy() != VOID).any(0).sum())
    assert firsts == {10 * row + column for row in range(4) for column in range(4)}
    assert min(widths) == 5 and max(widths) == 20 and abs(np.mean(widths) - 12.5) < 1


def test_the_same_seed_gives_the_same_result_and_another_a_different_one():
    data = Coded(1)
    draw = tf.function(lambda seed: augment(data.image(0), data.label_map(0), 48, seed))
    once, again = draw(tf.constant([5, 6])), draw(tf.constant([5, 6]))
    assert_same_batches([once], [again])
    eager = augment(data.image(0), data.label_map(0), 48, (5, 6))
    np.testing.assert_allclose(once[0], eager[0], atol=1e-3)  # the graph may fuse operations
    for other in ([5, 7], [6, 6]):
        assert (draw(tf.constant(other))[0] != once[0]).numpy().any()


def test_a_crop_size_that_is_none_is_an_error():
    data = Coded(1)
    for crop_size in (0, (8, 0), (1, 2, 3)):
        with pytest.raises(ValueError, match="crop_size"):
            augment(data.image(0), data.label_map(0), crop_size, (0, 0))
        with pytest.raises(ValueError, match="crop_size"):
            train_batches(data, 2, crop_size)
