"""mIoU, trimaps, boundary IoU and blocks against slow definitions."""

import warnings

import numpy as np
import pytest
import reference
from scipy import ndimage

from keras_dup import evaluation

VOID = 255


class Labelled:
    """Pairs of label maps as a data set; the "image" is what will be predicted."""

    def __init__(self, pairs, num_classes, class_names=None):
        self.pairs, self.num_classes = pairs, num_classes
        self.class_names = class_names or tuple(f"class {k}" for k in range(num_classes))

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


PAIRS = [blobs(seed, size) for seed, size in enumerate([(40, 56), (31, 33), (48, 64)])]


def evaluate(dataset, *arguments, **options):
    """The report of predictions that are the "images"; class 4 of 5 never occurs, unwarned."""
    options = {"verbose": False, "warn": False, **options}
    return evaluation.evaluate(np.asarray, dataset, *arguments, **options)


def test_the_report_equals_slow_counts():
    report = evaluate(Labelled(PAIRS, 5))
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


def test_a_class_that_is_predicted_but_not_there_counts_as_zero():
    truth, found = np.array([[0, 0, 1, 255]]), np.array([[0, 2, 1, 2]])
    report = evaluate(Labelled([(truth, found)], 4))
    assert list(report["iou"].values()) == [0.5, 1, 0, None]
    assert report["miou"] == report["image_miou"][0] == pytest.approx(0.5)
    counts = evaluation.confusion(truth, found, 4)
    np.testing.assert_array_equal(evaluation.ious(counts), [0.5, 1, 0, np.nan])
    np.testing.assert_array_equal(evaluation.ious(counts, "truth"), [0.5, 1, np.nan, np.nan])
    several = np.stack([counts, counts.T])
    np.testing.assert_array_equal(evaluation.ious(several)[1], [0.5, 1, 0, np.nan])
    with pytest.raises(ValueError, match="of='prediction'; 'either' or 'truth' is expected"):
        evaluation.ious(counts, "prediction")


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("bg", "other", "other"), ["bg", "other (1)", "other (2)"]),
        (("a", "a", "a (1)"), ["a (0)", "a (1) (1)", "a (1)"]),
        (("mean", "", ""), ["mean", " (1)", " (2)"]),
    ],
)
def test_classes_of_one_name_are_all_reported(names, keys):
    truth, found = np.array([[0, 1, 1, 2, 2]]), np.array([[0, 1, 2, 2, 2]])
    report = evaluate(Labelled([(truth, found)], 3, names), boundary=True)
    assert report["iou"] == dict(zip(keys, [1, 0.5, pytest.approx(2 / 3)], strict=True))
    assert len(report["boundary_iou"]) == 4
    assert report["boundary_iou"]["mean"] == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)
    assert len(evaluation.table(report).splitlines()) == 7


def test_a_class_that_no_mask_has_is_said():
    truth = np.array([[0, 0, 255]], np.uint8)
    masks = Labelled([(truth, np.zeros_like(truth))], 2, ("background", "object"))
    said = r'class 1 "object" occurs in none of 1 masks; ids found: 0 \(67 %\), 255 \(33 %, void\)'
    with pytest.warns(UserWarning, match=said):
        report = evaluation.evaluate(np.asarray, masks, verbose=False)
    assert report["miou"] == 1 and len(report["warnings"]) == 1
    assert "object            absent" in evaluation.table(report)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation.evaluate(np.asarray, Labelled(PAIRS, 4), verbose=False)


def test_masks_of_other_classes_are_said():
    shifted = [(np.where(truth == VOID, VOID, (truth + 1) % 4), found) for truth, found in PAIRS]
    with pytest.warns(UserWarning, match="do the ids of the masks mean the classes"):
        evaluation.evaluate(np.asarray, Labelled(shifted, 4), verbose=False)


def test_a_trimap_holds_the_pixels_near_another_label():
    widths = (1, 2, 4)
    report = evaluate(Labelled(PAIRS, 4), widths)
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
    report = evaluate(Labelled(PAIRS, 4), boundary=True)
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
    report = evaluate(Labelled(pairs, 5), (2,), True)
    assert report["miou"] == report["pixel_accuracy"] == 1
    assert report["trimap_miou"] == {2: 1} and report["boundary_iou"]["mean"] == 1
    lines = evaluation.table(report).splitlines()
    assert lines[4].split() == ["class", "4", "absent"]
    assert lines[-1].split() == ["mean", "boundary", "IoU", "100.00", "%"]


def test_an_image_that_is_void_throughout_counts_for_nothing():
    void = np.full((8, 8), VOID, np.uint8)
    pairs = [*PAIRS, (void, np.zeros_like(void))]
    report = evaluate(Labelled(pairs, 4), (2,), True)
    assert report["image_miou"][-1] is None
    fewer = evaluate(Labelled(PAIRS, 4), (2,), True)
    for key in ("miou", "trimap_miou", "boundary_iou"):
        assert report[key] == fewer[key]
    with pytest.raises(ValueError, match="every pixel of every label map is void"):
        evaluate(Labelled(pairs[-1:], 4))


def test_predictions_that_do_not_fit_are_named():
    truth, found = PAIRS[0]
    with pytest.raises(ValueError, match=r"image 0: predicted \(40, 55\), but its truth is"):
        evaluation.evaluate(lambda x: x[:, 1:], Labelled(PAIRS, 4), verbose=False)
    with pytest.raises(ValueError, match="image 0: predicted float64 values; integer ids are"):
        evaluation.evaluate(lambda x: x / 2, Labelled(PAIRS, 4), verbose=False)
    with pytest.raises(ValueError, match=r"image 0: predicted class id 3, .* has 2 classes"):
        evaluate(Labelled([(truth % 2, found)], 2))


def test_several_threads_give_the_same_report():
    reports = [evaluate(Labelled(PAIRS, 5), (2,), True, threads=threads) for threads in (1, 3)]
    np.testing.assert_array_equal(*(report.pop("confusion") for report in reports))
    assert reports[0] == reports[1]


@pytest.mark.parametrize("ratio", [2, 3, 16, 64])
def test_borders_on_the_grid_are_those_between_windows(ratio):
    label_map, _ = blobs(0, (37, 50))
    on_grid = borders = 0
    for i, j in np.ndindex(label_map.shape):
        for below in ((i + 1, j), (i, j + 1)):
            if np.less(below, label_map.shape).all() and label_map[below] != label_map[i, j]:
                borders += 1
                on_grid += any(a // ratio != b // ratio for a, b in zip(below, (i, j), strict=True))
    assert evaluation.block_borders(label_map, ratio) == (on_grid, borders)
    assert borders > 300


def test_blocks_are_reported_beside_the_truth_and_chance():
    truth, _ = blobs(0, (48, 64))
    windows = np.kron(np.arange(48).reshape(6, 8) % 4, np.ones((8, 8), np.uint8))
    report = evaluate(Labelled([(truth, windows), (truth, windows)], 4), grid=8)
    on_grid, borders = evaluation.block_borders(truth, 8)
    blocks = report["blocks"]
    assert (blocks["ratio"], blocks["chance"], blocks["predicted"]) == (8, 1 / 8, 1)
    assert blocks["predicted_over_chance"] == 8
    assert blocks["truth"] == pytest.approx(on_grid / borders)
    assert blocks["truth_over_chance"] == pytest.approx(8 * on_grid / borders)
    lines = evaluation.table(report).splitlines()
    assert [line.split("  ")[0] for line in lines if "grid" in line] == [
        "predicted borders on the 8 px grid",
        "true borders on the 8 px grid",
        "borders on the 8 px grid by chance",
    ]
    one_class = np.zeros_like(truth)
    without = evaluate(Labelled([(one_class, one_class)], 4), grid=8)["blocks"]
    assert without["predicted"] is None and without["predicted_over_chance"] is None
    with pytest.raises(ValueError, match="ratio=1; at least 2 is expected"):
        evaluation.block_borders(truth, 1)


def test_dice_precision_and_recall_are_those_of_the_counts():
    report = evaluate(Labelled(PAIRS, 5))
    counts = np.array(report["confusion"])
    for k, name in enumerate(report["iou"]):
        right, true, found = counts[k, k], counts[k].sum(), counts[:, k].sum()
        if k == 4:  # in neither
            assert (
                report["dice"][name] is report["precision"][name] is report["recall"][name] is None
            )
            continue
        assert report["precision"][name] == right / found
        assert report["recall"][name] == right / true
        assert report["dice"][name] == pytest.approx(2 * right / (true + found))
    present = [value for value in report["dice"].values() if value is not None]
    assert report["mean_dice"] == pytest.approx(np.mean(present))


def test_two_models_are_compared_on_the_same_draws_of_images():
    truth, wrong = np.array([[0, 0, 0, 1]], np.uint8), np.zeros((1, 4), np.uint8)
    # ours is always right, theirs misses class 1 in every second image
    pairs = [(truth, truth if i % 2 else wrong) for i in range(40)]
    other = iter([truth] * 40)
    report = evaluation.evaluate(
        lambda image: next(other), Labelled(pairs, 2), against=np.asarray, verbose=False
    )
    theirs = evaluation.evaluate(np.asarray, Labelled(pairs, 2), verbose=False)
    assert report["against"] == theirs and report["miou"] == 1
    difference = report["difference"]
    assert difference["miou"][0] == 1 - theirs["miou"]
    assert difference["pixel_accuracy"][0] == 0.125
    # 20 of 40, give or take: a binomial with a standard deviation of 3.16
    expected = [0.5, 0.5 - 1.96 * 0.079, 0.5 + 1.96 * 0.079]
    np.testing.assert_allclose(difference["iou"]["class 1"], expected, atol=0.03)
    lines = evaluation.table(report).splitlines()
    assert lines[0].split()[:2] == ["model", "against"]
    assert lines[2].split()[2:6] == ["100.00", "%", "50.00", "%"] and "+50.00  [+3" in lines[2]
    same = evaluate(Labelled(PAIRS, 5), against=np.asarray)["difference"]
    assert same["miou"] == [0, 0, 0] and same["iou"]["class 4"] is None
