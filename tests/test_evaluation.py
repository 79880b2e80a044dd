"""mIoU, trimaps and boundary IoU against slow definitions and scikit-learn's counts."""

import numpy as np
import pytest
import reference
from scipy import ndimage

from keras_dup import evaluation

VOID = 255


class Labelled:
    """Pairs of label maps as a data set; the "image" is what will be predicted."""

    def __init__(self, pairs, num_classes):
        self.pairs, self.num_classes = pairs, num_classes
        self.class_names = tuple(f"class {k}" for k in range(num_classes))

    def __len__(self):
        return len(self.pairs)

    def image(self, i):
        return self.pairs[i][1]

    def label_map(self, i):
        return self.pairs[i][0]


def blobs(seed, size=(40, 56), num_classes=4):
    """A truth with void and a prediction that differs from it along boundaries."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(num_classes, *size)), (0, 5, 5))
    other = smooth + 0.3 * ndimage.gaussian_filter(rng.normal(size=smooth.shape), (0, 3, 3))
    truth = smooth.argmax(0).astype(np.uint8)
    truth[rng.random(size) < 0.05] = VOID
    return truth, other.argmax(0).astype(np.uint8)


PAIRS = [blobs(seed, size) for seed, size in enumerate([(40, 56), (31, 33), (50, 20)])]


def test_the_report_equals_slow_counts():
    report = evaluation.evaluate(np.asarray, Labelled(PAIRS, 5), verbose=False)
    iou = reference.iou(PAIRS, 5, VOID)
    assert list(report["iou"].values()) == pytest.approx(iou)
    present = [value for value in iou if value is not None]
    assert iou[4] is None and report["miou"] == pytest.approx(np.mean(present))
    slow = np.zeros((5, 5), int)
    for truth, found in PAIRS:
        for t, f in zip(truth.ravel(), found.ravel(), strict=True):
            if t != VOID:
                slow[t, f] += 1
    np.testing.assert_array_equal(report["confusion"], slow)
    assert report["pixel_accuracy"] == pytest.approx(np.trace(slow) / slow.sum())
    for i, pair in enumerate(PAIRS):
        present = [value for value in reference.iou([pair], 5, VOID) if value is not None]
        assert report["image_miou"][i] == pytest.approx(np.mean(present))


def test_a_trimap_holds_the_pixels_near_another_label():
    widths = (1, 2, 4)
    report = evaluation.evaluate(np.asarray, Labelled(PAIRS, 4), widths, verbose=False)
    for width in widths:
        near = []
        for truth, found in PAIRS:
            band = np.full_like(truth, VOID)
            edges = _edges(truth)
            for i, j in np.ndindex(truth.shape):
                if np.hypot(*(edges - (i, j)).T).min() < width:
                    band[i, j] = truth[i, j]
            near.append((band, found))
        iou = [value for value in reference.iou(near, 4, VOID) if value is not None]
        assert report["trimap_miou"][width] == pytest.approx(np.mean(iou))
    values = list(report["trimap_miou"].values())
    assert values == sorted(values) and values[-1] < report["miou"]  # wrong near boundaries


def _edges(truth):
    """The places of the pixels that have a neighbour of another label, (n, 2)."""
    edges = []
    for i, j in np.ndindex(truth.shape):
        around = [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
        inside = [at for at in around if min(at) >= 0 and np.all(np.less(at, truth.shape))]
        if any(truth[at] != truth[i, j] for at in inside):
            edges.append((i, j))
    return np.array(edges)


def test_boundary_iou_is_that_of_eroded_masks():
    report = evaluation.evaluate(np.asarray, Labelled(PAIRS, 4), boundary=True, verbose=False)
    for k in range(4):
        both = either = 0
        for truth, found in PAIRS:
            width = max(1, round(0.02 * np.hypot(*truth.shape)))
            edges = []
            for ids in (truth, found):
                mask = np.pad((ids == k) & (truth != VOID), 1)
                eroded = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width)
                edges.append(mask & ~eroded)
            both += np.sum(edges[0] & edges[1])
            either += np.sum(edges[0] | edges[1])
        assert report["boundary_iou"][f"class {k}"] == pytest.approx(both / either)
    assert report["boundary_iou"]["mean"] < report["miou"]


def test_a_perfect_prediction_scores_one_and_the_table_shows_it():
    pairs = [(truth, np.where(truth == VOID, 0, truth)) for truth, _ in PAIRS]
    report = evaluation.evaluate(np.asarray, Labelled(pairs, 5), (2,), True, verbose=False)
    assert report["miou"] == report["pixel_accuracy"] == 1
    assert report["trimap_miou"] == {2: 1} and report["boundary_iou"]["mean"] == 1
    lines = evaluation.table(report).splitlines()
    assert lines[4].split() == ["class", "4", "absent"]
    assert lines[-1].split() == ["mean", "boundary", "IoU", "100.00", "%"]


def test_an_image_that_is_void_throughout_counts_for_nothing():
    void = np.full((8, 8), VOID, np.uint8)
    pairs = [*PAIRS, (void, np.zeros_like(void))]
    report = evaluation.evaluate(np.asarray, Labelled(pairs, 4), (2,), True, verbose=False)
    assert report["image_miou"][-1] is None
    fewer = evaluation.evaluate(np.asarray, Labelled(PAIRS, 4), (2,), True, verbose=False)
    for key in ("miou", "trimap_miou", "boundary_iou"):
        assert report[key] == fewer[key]
    with pytest.raises(ValueError, match="every pixel of every label map is void"):
        evaluation.evaluate(np.asarray, Labelled(pairs[-1:], 4), verbose=False)


def test_predictions_that_do_not_fit_are_named():
    truth, found = PAIRS[0]
    with pytest.raises(ValueError, match=r"image 0: predicted \(40, 55\), but its truth is"):
        evaluation.evaluate(lambda x: x[:, 1:], Labelled(PAIRS, 4), verbose=False)
    with pytest.raises(ValueError, match=r"image 0: predicted class id 3, .* has 2 classes"):
        evaluation.evaluate(np.asarray, Labelled([(truth % 2, found)], 2), verbose=False)


def test_several_threads_give_the_same_report():
    reports = [
        evaluation.evaluate(np.asarray, Labelled(PAIRS, 5), (2,), True, False, threads)
        for threads in (1, 3)
    ]
    np.testing.assert_array_equal(*(report.pop("confusion") for report in reports))
    assert reports[0] == reports[1]
