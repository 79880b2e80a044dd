"""Pictures of label maps."""

import tracemalloc

import numpy as np
import pytest

from keras_dup import pictures
from keras_dup.data import Shapes


def test_the_difference_is_red_where_wrong_and_white_where_void():
    truth, label_map = np.array([[0, 1, 255]], np.uint8), np.array([[0, 2, 2]])
    expected = [pictures.RIGHT, pictures.WRONG, pictures.UNKNOWN]
    np.testing.assert_array_equal(pictures.difference(truth, label_map)[0], expected)


def test_an_overlay_keeps_the_background_and_names_the_classes_that_occur():
    image = np.full((30, 200, 3), 100, np.uint8)
    label_map = np.zeros((30, 200), np.uint8)
    label_map[:, 100:] = 2
    drawn = np.asarray(pictures.overlay(image, label_map, ["background", "cat", "dog"]))
    np.testing.assert_array_equal(drawn[:30, :100], image[:, :100])
    green = pictures.coloured(np.array(2))  # VOC's third colour, half of it over the image
    assert tuple(green) == (0, 128, 0)
    np.testing.assert_array_equal(drawn[5, 150], [50, 114, 50])
    legend = drawn[30:].reshape(-1, 3)
    assert (legend == green).all(-1).any()
    assert not (legend == pictures.coloured(np.array(1))).all(-1).any()


def test_class_0_is_coloured_where_it_is_no_background_and_colours_may_be_ones_own():
    image, label_map = np.full((4, 6, 3), 100, np.uint8), np.tile([0, 1], (4, 3))
    drawn = np.asarray(pictures.overlay(image, label_map, ["sky", "Background"]))
    np.testing.assert_array_equal(drawn[0, :2], [[50, 50, 50], [100, 100, 100]])
    blue_and_red = np.array([[0, 0, 200], [200, 0, 0]])
    drawn = np.asarray(pictures.overlay(image, label_map, ["sky", "road"], 1, blue_and_red))
    np.testing.assert_array_equal(drawn[0, :2], blue_and_red)
    assert (drawn[4:] == [0, 0, 200]).all(-1).any() and (drawn[4:] == [200, 0, 0]).all(-1).any()


def test_a_colour_is_the_same_over_every_colour_of_the_image():
    image = np.array([[[0, 0, 255], [97, 0, 0], [29, 29, 29]]], np.uint8)  # equally bright
    drawn = pictures.mixed(image, np.full((1, 3), 3))
    np.testing.assert_array_equal(drawn[0], [[78, 78, 14]] * 3)


@pytest.mark.parametrize("size", [(1500, 1000), (3, 100_000), (100_000, 3)])
def test_an_overlay_of_a_large_image_takes_a_few_bytes_per_pixel(size):
    pixels = np.arange(size[0] * size[1] * 3) * 37 % 256
    image = pixels.astype(np.uint8).reshape(*size, 3)
    label_map = (np.arange(size[0] * size[1]) // 4096 % 7 % 5).astype(np.uint8).reshape(size)
    tracemalloc.start()  # counts what NumPy takes; Pillow's result has 4 bytes per pixel
    try:
        names = ["background", *"bcde"]
        drawn = pictures.overlay(image, label_map, names, opacity=0.3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**23 + label_map.size
    share = np.where(label_map == 0, 0.0, 0.3)[..., None]
    grey = (image @ np.array([77, 150, 29]) // 256)[..., None]
    expected = np.where(share > 0, grey, image) * (1 - share) + pictures.coloured(label_map) * share
    expected = expected.astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(drawn)[: size[0], : size[1]], expected)
    np.testing.assert_array_equal(pictures.mixed(image, label_map, 0.3), expected)
    key = pictures.legend(names, drawn.width, range(5))
    np.testing.assert_array_equal(np.asarray(drawn)[size[0] :], np.asarray(key))


def test_a_comparison_has_image_truth_prediction_and_difference_in_a_row():
    dataset = Shapes(5, size=(32, 40))

    def predict(image):
        return np.full((32, 40), 1, np.uint8)

    drawn = np.asarray(pictures.comparison(dataset, {"discs": predict}, count=2, width=40))
    for row, i in enumerate((0, 4)):  # the first and the last
        image, truth = dataset.image(i), dataset.label_map(i)
        expected = [
            image,
            pictures.mixed(image, truth),
            pictures.mixed(image, predict(image)),
            pictures.difference(truth, predict(image)),
        ]
        for column, picture in enumerate(expected):
            top, left = 24 + row * (32 + pictures.MARGIN), 6 + column * (40 + pictures.MARGIN)
            np.testing.assert_array_equal(drawn[top : top + 32, left : left + 40], picture)
    alone = pictures.comparison(dataset, width=40)
    assert alone.width == 2 * (40 + pictures.MARGIN) + pictures.MARGIN


@pytest.mark.parametrize("name", ["猫", "chaussée", "дорога", "ok 猫", "\U0001f600"])
@pytest.mark.parametrize("matplotlib", [True, False])
def test_names_are_drawn_or_written_as_ids_and_never_as_boxes(name, matplotlib, monkeypatch):
    fonts = pictures._fonts() if matplotlib else pictures._fonts()[:1]
    monkeypatch.setattr(pictures, "_fonts", lambda: fonts)
    text, font = pictures._written(name, "1")
    box = bytes(font.getmask("\uffff"))
    assert all(bytes(font.getmask(letter)) != box for letter in text)
    assert text == (name if matplotlib and name[0] in "cд\U0001f600" else "1")
    plain, drawn = (pictures.legend(["a", other], 200) for other in ("1", name))
    assert drawn.height - plain.height == (18 if text == "1" else 0)  # the line that says so
    if text == "1":
        np.testing.assert_array_equal(np.asarray(drawn)[:22], np.asarray(plain))
    assert pictures.confusion([[1, 0], [0, 1]], ["a", name]).width > 48
