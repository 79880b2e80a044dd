"""Windows of label maps: void filled in as a search over all pixels does it."""

import numpy as np
import pytest

from keras_dup.projection._windows import cut_windows, several_and_single

CLASSES, VOID = 3, 255


def label_map(rng):
    """Of labels here and there, many of them equally near some void pixel."""
    shape, share = rng.integers(1, 40, 2), rng.choice([0.02, 0.2, 0.9])
    ids = rng.integers(0, CLASSES, shape).astype(np.uint8)
    return np.where(rng.uniform(size=shape) < share, ids, np.uint8(VOID))


def filled(ids):
    """Every void pixel takes the nearest label, of equally near ones the leftmost, then topmost."""
    labels = np.argwhere(ids != VOID)
    labels = labels[np.lexsort(labels.T)]  # by column, then row: `argmin` takes the first
    distance = ((np.argwhere(ids >= 0)[:, None] - labels) ** 2).sum(-1)
    return ids[tuple(labels[distance.argmin(1)].T)].reshape(ids.shape)


def cut(pixels, ratio, **padding):
    pixels = np.pad(pixels, [(0, -size % ratio) for size in pixels.shape], **padding)
    rows = [
        np.split(row, pixels.shape[1] // ratio, 1)
        for row in pixels.reshape(-1, ratio, pixels.shape[1])
    ]
    return np.array([window.ravel() for row in rows for window in row])


@pytest.mark.parametrize("ratio", [1, 3, 8, 16, 100])
def test_void_is_filled_as_by_a_search_over_all_pixels(ratio):
    rng = np.random.default_rng(ratio)
    for _ in range(40):
        ids = label_map(rng)
        ids[0, 0] = 1
        wanted = cut(filled(ids), ratio, mode="edge")
        void = cut(ids == VOID, ratio, constant_values=True)
        found, found_void = cut_windows(ids, CLASSES, ratio, VOID, "")
        kept = ~void.all(1)
        np.testing.assert_array_equal(found_void, void)
        np.testing.assert_array_equal(found[kept], wanted[kept])
        several, single = several_and_single(ids, CLASSES, ratio, VOID, "")
        single = np.repeat(np.arange(CLASSES), single)[:, None].repeat(ratio * ratio, 1)
        both = np.concatenate([several, single])
        assert sorted(map(bytes, both.astype(np.uint8))) == sorted(map(bytes, wanted[kept]))
