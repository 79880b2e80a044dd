"""Data sets whose pixels say what they are: where, of which item, of which class."""

import numpy as np


class Coded:
    """Items of sizes of their own, whose colour tells the label: id k is (12 k, 250 - 12 k, 0)."""

    num_classes = 7

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def label_map(self, i):
        rng = np.random.default_rng(i)
        blocks = rng.integers(0, 7, (3 + i % 3, 4), np.uint8)
        return np.repeat(np.repeat(blocks, 20, 0), 20, 1)

    def image(self, i):
        return colours(self.label_map(i)).astype(np.uint8)


class Numbered(Coded):
    """One flat picture an item, grey level and label both the item's number."""

    def label_map(self, i):
        return np.full((8, 8), i, np.uint8)

    def image(self, i):
        return np.full((8, 8, 3), i, np.uint8)


def colours(label_map):
    label_map = np.asarray(label_map).astype(int)
    return np.stack([12 * label_map, 250 - 12 * label_map, 0 * label_map], -1)


def interior(label_map):
    """Where the 5 x 5 pixels around all have one id and lie in the picture."""
    padded = np.pad(label_map, 2, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
    return windows.min((-1, -2)) == windows.max((-1, -2))


def assert_same_batches(some, others):
    for (image, label_map), (other_image, other_label_map) in zip(some, others, strict=True):
        np.testing.assert_array_equal(image, other_image)
        np.testing.assert_array_equal(label_map, other_label_map)
