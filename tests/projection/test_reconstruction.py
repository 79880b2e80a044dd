"""What is rebuilt, against channels and beside plain resampling; tables and pictures of it."""

import numpy as np
import pytest
import reference
from label_maps import CLASSES, RATIO, VOID, voronoi
from PIL import Image

from keras_dup import projection
from keras_dup.projection import _figures, _report
from keras_dup.projection._reconstruction import count_with_void, ious_by_channels
from keras_dup.projection._resampling import resampling_ious

CHANNELS = 12


@pytest.fixture(scope="module")
def label_maps():
    rng = np.random.default_rng(0)
    return [voronoi(rng, *size) for size in ((24, 24), (21, 30), (16, 9), (20, 20))]


@pytest.fixture(scope="module")
def fitted(label_maps):
    return projection.fit(label_maps, CLASSES, RATIO, CHANNELS)


def test_ious_by_channels_are_those_of_projections_with_so_many(label_maps, fitted):
    counts = count_with_void(fitted, label_maps)
    found = ious_by_channels(fitted, counts, [3, 8, CHANNELS])
    for k, ious in zip((3, 8, CHANNELS), found, strict=True):
        first = fitted.first(k)
        rebuilt = [first.reconstruct(first.compress(y)).argmax(-1) for y in label_maps]
        pairs = [(y, x[: len(y), : y.shape[1]]) for y, x in zip(label_maps, rebuilt, strict=True)]
        np.testing.assert_allclose(ious, reference.iou(pairs, CLASSES, VOID), atol=1e-12)


def test_the_first_rows_are_the_projection_of_so_many_channels(label_maps, fitted):
    few = projection.fit(label_maps, CLASSES, RATIO, 5)
    np.testing.assert_allclose(fitted.first(5).matrix, few.matrix, atol=1e-6)
    assert fitted.first(5).channels == 5


def test_channels_may_be_a_share_of_the_variance(label_maps, fitted):
    reached = fitted.explained_variance_ratio.cumsum()
    for k in (1, 4, 9):
        share = (reached[k - 2] + reached[k - 1]) / 2 if k > 1 else reached[0] / 2
        assert projection.fit(label_maps, CLASSES, RATIO, float(share)).channels == k
    for wrong in (0, -0.5, 1.5):
        with pytest.raises(ValueError, match="or a share of the variance in"):
            projection.fit(label_maps, CLASSES, RATIO, wrong)


def test_resampling_equals_a_loop_over_pixels(label_maps):
    rng = np.random.default_rng(1)
    label_maps = [*label_maps, voronoi(rng, 23, 30, void=False), voronoi(rng, 24, 24, void=False)]
    found = resampling_ious(label_maps, CLASSES, RATIO, VOID)
    for ious, method in zip(found, ("nearest", "bilinear"), strict=True):
        pairs = [(y, reference.resampled(y, RATIO, CLASSES, VOID, method)) for y in label_maps]
        np.testing.assert_allclose(ious, reference.iou(pairs, CLASSES, VOID), atol=1e-12)
    assert np.nanmean(found[0]) < np.nanmean(found[1]) < 1


def test_resampling_leaves_void_throughout_and_absent_classes_out():
    label_map = np.full((12, 12), VOID)
    label_map[:4] = 2
    found = resampling_ious([label_map], CLASSES, RATIO, VOID)
    np.testing.assert_array_equal(found[:, 2], [1, 1])
    assert np.isnan(found[:, [0, 1, 3, 4]]).all()


def test_a_report_tells_the_miou_and_draws_it(label_maps, fitted, tmp_path):
    found = _report.measure(fitted, label_maps)
    miou = projection.reconstruction_miou(fitted, label_maps)
    assert found.miou == pytest.approx(miou) and found.channels[-1] == CHANNELS
    lines = found.table(names := [f"class {i}" for i in range(CLASSES)]).splitlines()
    assert len(lines) == 1 + len(found.channels) + 2
    worst = names[np.nanargmin(found.ious[-1])]
    assert f"{100 * miou:.3f} %" in lines[len(found.channels)] and f"({worst})" in lines[-3]
    found.draw(tmp_path / "w.png")
    assert [path.name for path in tmp_path.iterdir()] == ["w.png"]
    assert len(np.unique(np.asarray(Image.open(tmp_path / "w.png")))) > 20


def test_components_are_drawn(fitted, tmp_path):
    _figures.components(tmp_path / "c.png", fitted, (1, 2, 7), 4, class_names=list("abcde"))
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width > 300 and len(picture.getcolors(2**24)) > 50
