"""What is measured on label maps alone: the ways back to pixels."""

import numpy as np
import pytest
from scipy import ndimage

from keras_dup.data import VOID
from keras_dup.projection._resampling import resampling_ious
from research.projections import label_bounds


class LabelMaps:
    num_classes = 3

    def __init__(self, void):
        rng = np.random.default_rng(0)
        smooth = ndimage.gaussian_filter(rng.normal(size=(4, 37, 50)), (0, 3, 3))
        self.maps = [np.digitize(x, (-0.1, 0.05)).astype("uint8") for x in smooth]
        if void:
            self.maps[0][5:9, 10:40] = VOID

    def label_maps(self):
        return self.maps


@pytest.mark.parametrize("void", [False, True])
def test_resampled_label_maps_are_those_of_keras_dup_fit(void):
    dataset, ratio = LabelMaps(void), 8
    expected = resampling_ious(dataset.maps, 3, ratio, VOID)
    for way, ious in zip((label_bounds.nearest, label_bounds.bilinear), expected, strict=True):
        found = label_bounds.measure(dataset, lambda x, way=way: way(x, ratio))
        np.testing.assert_allclose(found, ious, atol=2e-3 if void else 1e-12)
