"""Heads that are trained on features: what they compute, and that they learn."""

import itertools

import numpy as np
import pytest

from keras_dup.data import VOID
from keras_dup.projection import _label_projection
from research.probes import heads


def head(kind, size, start):
    fitted = _label_projection.nearest(3, 8)
    found = heads.Head(kind, size, start, fitted, (4, 5, 3))
    found.kernel[size // 2, size // 2, :, :3].assign(np.eye(3))
    return found


@pytest.mark.parametrize("start", [0, 4])
def test_heads_upsample_around_the_places_of_the_features(start):
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype("float32")
    outside = 4 - start  # pixels of the first windows
    repeated = x.repeat(8, 1).repeat(8, 2)[:, outside:, outside:]
    inside = slice(None, 32 - outside), slice(None, 40 - outside)
    for kind, size in itertools.product(("repeated", "W"), (1, 3)):
        found = head(kind, size, start)(x).numpy()
        np.testing.assert_allclose(found[:, *inside], repeated, atol=1e-5)
    found = head("interpolated", 1, start)(x).numpy()
    np.testing.assert_allclose(found[:, start::8, start::8], x, atol=1e-6)
    np.testing.assert_allclose(found[0, start + 2, start], 0.75 * x[0, 0, 0] + 0.25 * x[0, 1, 0])
    np.testing.assert_allclose(found[0, -1, -1], x[0, -1, -1], atol=1e-6)
    both = head("interpolated + W", 1, start)
    both.kernel.assign(np.hstack([0.5 * np.eye(3), 2 * np.eye(3)])[None, None])
    wanted = 0.5 * found + 2 * head("W", 1, start)(x).numpy()
    np.testing.assert_allclose(both(x).numpy(), wanted, atol=1e-5)


def test_a_head_learns_what_its_features_hold():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, (16, 4, 5))
    labels = classes.repeat(8, 1).repeat(8, 2).astype("uint8")
    labels[:, 0] = VOID
    features = np.eye(3, dtype="float32")[classes] * 100
    found = head("W", 1, 4)
    found.kernel.assign(0 * found.kernel)
    heads.train(found, features, labels, seed=0)
    assert heads.cross_entropy(found, features, labels) < 0.2
    assert heads.measure(found, features, labels)["miou"] == 1
