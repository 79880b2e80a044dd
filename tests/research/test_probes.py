"""What the probes measure, on networks and images made for it."""

import keras
import numpy as np
import pytest

from keras_dup.data import VOID
from keras_dup.layers import DUpsampling
from keras_dup.projection import LabelProjection
from research.probes import blocks, borders, class_priors, compare_rows, edges, features, one_class


def test_the_largest_gains_come_first_and_the_largest_losses_last():
    first, second = [0.5, None, 0.5, 0.5, 0.5], [0.6, None, 0.9, 0.1, 0.4]
    assert compare_rows.extremes(first, second, 1) == [2, 3]
    assert compare_rows.extremes(first, second, 3) == [2, 0, 4, 3]


def test_how_much_of_a_window_a_class_fills():
    mask = np.zeros((3, 5), bool)
    mask[0, 0] = mask[2] = True
    shares = one_class.filled(mask, 2)
    np.testing.assert_array_equal(shares[:2], [[0.25, 0.25, 0, 0, 0]] * 2)
    np.testing.assert_array_equal(shares[2], np.ones(5))


def test_right_pixels_are_counted_by_their_distance_to_a_change_of_label():
    truth = np.zeros((8, 40), "uint8")
    truth[:, 20:] = 1
    truth[0, -1] = VOID

    class Images:
        def image(self, i):
            return np.zeros((8, 40, 3), "uint8")

        def label_map(self, i):
            return truth

    found = np.where(np.arange(40) < 22, 0, 1) * np.ones((8, 1), int)  # two columns too late
    measured = edges.measure(lambda image: found, Images(), [0])
    near = 4 * 8 + 7  # four columns, and the pixels about the void one, corners included
    assert measured["pixels"][0] == pytest.approx(near / (8 * 40 - 1))
    assert measured["accuracies"][0] == pytest.approx((near - 2 * 8) / near)
    assert measured["accuracies"][1:] == [1, 1, 1, 1]


def test_dividing_by_the_shares_of_train_finds_the_rarer_class():
    class Model:
        def predict_on_batch(self, image):
            return np.tile([0.7, 0.25, 0.05], (1, 4, 4, 1))

    class Images:
        def __len__(self):
            return 1

        def image(self, i):
            return np.zeros((4, 4, 3), "uint8")

        def label_map(self, i):
            return np.ones((4, 4), "uint8")

    found = class_priors.measure(Model(), Images(), np.array([0.9, 0.1, 0]))
    # 0.7 / 0.9 ** tau is less than 0.25 / 0.1 ** tau from tau = 0.5 on; train lacks class 2
    assert [numbers["pixel_accuracy"] for numbers in found] == [0, 0, 1, 1, 1]


def test_a_probe_finds_what_a_feature_knows_and_nothing_in_one_that_is_the_same_everywhere():
    class Images:
        num_classes = 2

        def __len__(self):
            return 400

        def label_map(self, i):
            return (np.arange(16).reshape(4, 4) < i % 17).astype("uint8")

        def image(self, i):
            return np.repeat(self.label_map(i)[..., None], 3, -1) * 200

    image = keras.Input((None, None, 3))
    r2 = []
    for known in (1, 0):
        x = keras.layers.GlobalAveragePooling2D(name="aspp_mean")(image * known)
        r2.append(features.measure(keras.Model(image, x), Images(), Images()))
    assert r2[0] > 0.95 and r2[1] == pytest.approx(0, abs=1e-6)


def test_borders_on_the_grid_are_counted_over_all_label_maps():
    label_map = np.zeros((32, 40), "uint8")
    label_map[:, 16:] = 1  # 32 borders on the grid
    label_map[8:] += 2  # 40 off it
    found = blocks.share([label_map, np.zeros((20, 20), "uint8")])
    assert found == {"on_grid": 32, "borders": 72, "share": 32 / 72}


def test_added_codes_at_zero_leave_nothing_of_a_feature_in_the_scores():
    image = keras.Input((4, 4, 3))
    matrix, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))
    w = LabelProjection(matrix, np.arange(8.0), np.ones(8), 2, 2)  # rebuilds every window
    codes = keras.layers.Conv2D(8, 1, bias_initializer="ones", name="compressed_edges")(image)
    model = keras.Model(image, DUpsampling(2, 2, w, name="dupsampling")(codes))
    images = np.random.default_rng(1).normal(size=(1, 4, 4, 3))
    assert np.abs(model(images)).max() > 0.1
    assert borders.without_added_codes(model)
    np.testing.assert_allclose(model(images), 0, atol=1e-5)
    assert not borders.without_added_codes(keras.Model(image, image))
