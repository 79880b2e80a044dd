"""Codes of large windows re-coded into codes of small ones."""

import numpy as np
import pytest
from label_maps import CLASSES, VOID, voronoi

from keras_dup import projection
from keras_dup.projection import _label_projection


@pytest.fixture(scope="module")
def label_maps():
    rng = np.random.default_rng(0)
    return [voronoi(rng, 40, 24, void=False) for _ in range(8)]


def depth_to_space(x, block):
    h, w, channels = x.shape
    x = x.reshape(h, w, block, block, channels // block**2).swapaxes(1, 2)
    return x.reshape(h * block, w * block, -1)


def coded(target, scores):
    """(H, W, C) class scores -> codes, as `compress` makes them of one-hot labels."""
    r = target.ratio
    h, w, c = scores.shape
    windows = scores.reshape(h // r, r, w // r, r, c).swapaxes(1, 2).reshape(h // r, w // r, -1)
    return (windows - target.mean.astype(float)) @ target.p.T.astype(float)


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
@pytest.mark.parametrize("constant_windows", [False, True])
def test_recoding_equals_coding_what_is_rebuilt(label_maps, ratio, constant_windows):
    source = projection.fit(label_maps, CLASSES, 8, 12)
    channels = 4 + constant_windows if ratio == 1 else 7
    target = projection.fit(label_maps, CLASSES, ratio, channels, constant_windows=constant_windows)
    matrix, bias = projection.recode(source, target)
    assert matrix.shape == (12, (8 // ratio) ** 2 * channels) and bias.shape == matrix.shape[1:]
    assert matrix.dtype == bias.dtype == np.float32
    for y in label_maps[:3]:
        x = source.compress(y)
        recoded = depth_to_space(x @ matrix + bias, 8 // ratio)
        # sums of r*r float32 products below 1
        np.testing.assert_allclose(recoded, coded(target, source.reconstruct(x)), atol=1e-5)


def test_all_channels_recode_into_what_compress_gives():
    rng = np.random.default_rng(1)
    maps = [rng.integers(0, 3, (4, 4)) for _ in range(400)]
    source = projection.fit(maps, 3, 4, 1.0)
    target = projection.fit(maps, 3, 2, 5)
    matrix, bias = projection.recode(source, target)
    for y in maps[:9]:
        recoded = depth_to_space(source.compress(y) @ matrix + bias, 2)
        np.testing.assert_allclose(recoded, target.compress(y), atol=1e-5)


def test_what_does_not_fit_together_is_refused():
    nearest = _label_projection.nearest
    with pytest.raises(ValueError, match="of the target, 8, does not divide that of the source, 4"):
        projection.recode(nearest(3, 4), nearest(3, 8))
    with pytest.raises(ValueError, match="of 3 and of 4 classes"):
        projection.recode(nearest(3, 4), nearest(4, 2, VOID))
    with pytest.raises(TypeError, match="a LabelProjection is expected, not str"):
        projection.recode(nearest(3, 4), "w4.npz")
