"""Batches by Python threads: the ones of tf.data, but for the numbers that are drawn."""

import numpy as np
import pytest
import tensorflow as tf
from coded import Coded, Numbered, assert_same_batches, colours, interior

from keras_dup._augmentations import AUGMENTATIONS
from keras_dup.data import (
    VOID,
    Shapes,
    _augment,
    _augment_numpy,
    _effects,
    _effects_numpy,
    _pipeline,
    _streams_python,
    eval_batches,
    train_batches,
)

CROP = (45, 61)


@pytest.fixture
def python(monkeypatch):
    """python() makes what follows take Python's streams, as on JAX."""
    return lambda: monkeypatch.setattr(_pipeline, "streams", lambda: _streams_python)


@pytest.fixture
def drawn(monkeypatch):
    """Both sides draw the same numbers, which depend on the last number of the seed."""

    def numbers(count, seed):
        return np.random.default_rng(seed).random(count, np.float32)

    def of_tensorflow(shape, seed):
        size = int(np.prod(shape))
        return tf.reshape(tf.constant(numbers(size, int(seed[-1]))), shape)

    for module in (_augment, _effects):
        monkeypatch.setattr(module, "uniform", of_tensorflow)
    for module in (_augment_numpy, _effects_numpy):
        monkeypatch.setattr(module, "uniform", lambda count, seed: numbers(count, seed[1]))
    monkeypatch.setattr(_effects, "_seed", lambda seed, name: seed)
    monkeypatch.setattr(_effects_numpy, "_seed", lambda seed, name: seed)


@pytest.mark.parametrize("names", [(), *((name,) for name in AUGMENTATIONS)])
def test_the_same_draws_make_the_same_crops(names, drawn):
    data = Shapes(1, size=(40, 57))
    label_map = data.label_map(0)
    label_map[5:12, 3:30] = VOID
    for k in range(12):
        window = CROP, (0, k), (0.4, 1.6), True, names
        ours, our_ids = _augment_numpy.augment(data.image(0), label_map, *window)
        theirs, their_ids = _augment.augment(data.image(0), label_map, *window)
        assert (ours.dtype, our_ids.dtype) == (np.float32, np.int32)
        # a pixel whose source lies between two, up to rounding, may take either
        differ = (our_ids != their_ids.numpy()) | (np.abs(ours - theirs).max(-1) > 0.05)
        assert differ.mean() <= (0.002 if names in (("rotation",), ("erasing",)) else 0), k


def test_python_s_streams_are_aligned_and_draw_as_tensorflow_does(python):
    data = Coded(6)

    def facts(batches, count):
        """Of each crop: its share of void, and whether a known image was flipped."""
        found = []
        for (images, label_maps), _ in zip(batches, range(count), strict=False):
            for image, label_map in zip(np.asarray(images), np.asarray(label_maps), strict=True):
                seen = interior(label_map) & (label_map != VOID)
                np.testing.assert_allclose(image[seen], colours(label_map)[seen], atol=1e-3)
                assert (image[label_map == VOID] == 127).all()
                found.append((label_map == VOID).mean())
        return np.array(found)

    stream = {"batch_size": 8, "crop_size": CROP}
    theirs = facts(train_batches(data, **stream), 25)
    python()
    ours = facts(train_batches(data, **stream), 25)
    error = np.hypot(ours.std(), theirs.std()) / np.sqrt(len(ours))
    assert abs(ours.mean() - theirs.mean()) < 4 * error
    for share in (0.25, 0.5, 0.75):
        assert np.quantile(ours, share) == pytest.approx(np.quantile(theirs, share), abs=0.12)


def test_python_s_streams_have_the_order_and_the_parts_of_tensorflow_s(python):
    data, whole = Numbered(5), {"batch_size": 4, "crop_size": 4, "seed": 3}

    def items(count, **options):
        batches = train_batches(data, **whole, **options)
        found = [next(it)[1] for it in [iter(batches)] for _ in range(count)]
        return np.asarray(found)

    def seen(label_maps):  # a flat image may be smaller than the crop: void around it
        return np.where(label_maps == VOID, -1, label_maps).max((2, 3))

    theirs = seen(items(5))
    python()
    ours = items(5)
    np.testing.assert_array_equal(seen(ours), theirs)
    np.testing.assert_array_equal(items(2, start_step=3), ours[3:])
    parts = [items(5, shard=(worker, 2)) for worker in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), ours)


def test_python_s_batches_to_evaluate_on_are_tensorflow_s(python):
    data = Coded(5)
    ways = {"batch_size": 2, "size": (100, 90)}, {}
    theirs = [list(eval_batches(data, **options)) for options in ways]
    python()
    for options, expected in zip(ways, theirs, strict=True):
        batches = eval_batches(data, **options)
        assert batches.num_batches == len(expected)
        assert_same_batches(batches, expected)


def test_an_error_in_a_thread_reaches_who_asks(python):
    class Broken(Coded):
        def image(self, i):
            raise OSError(f"image {i} is damaged")

    python()
    with pytest.raises(OSError, match=r"image \d is damaged"):
        next(iter(train_batches(Broken(3), 2, 16)))
