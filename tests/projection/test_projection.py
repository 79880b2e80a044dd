import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import reference
from label_maps import CHANNELS, CLASSES, RATIO, VOID, assert_same, fields, fit, voronoi

from keras_dup import projection
from keras_dup.projection import _label_projection

# What is computed in float64 and rounded to float32 once: entries are below 1.
ROUNDED = 2e-7


def test_values_equal_a_dense_pca(label_maps, fitted):
    values, vectors, mean = reference.label_pca(label_maps, RATIO, CLASSES, VOID)
    shares = values / values.sum()
    np.testing.assert_allclose(fitted.mean, mean, atol=ROUNDED)
    np.testing.assert_allclose(fitted.explained_variance_ratio, shares[:CHANNELS], rtol=1e-9)
    gap = (values[CHANNELS - 1] - values[CHANNELS]) / values[0]
    assert gap > 1e-3  # else the subspace itself would be ill-defined
    wanted = vectors[:CHANNELS].T @ vectors[:CHANNELS]
    found = fitted.matrix.T.astype(float) @ fitted.matrix
    np.testing.assert_allclose(found, wanted, atol=CHANNELS * ROUNDED)


@pytest.mark.parametrize("balance", [0.25, 0.5])
def test_balanced_classes_span_what_a_dense_pca_of_scaled_labels_finds(label_maps, fitted, balance):
    cut = [w for y in label_maps for w in reference.label_windows(y, RATIO, CLASSES, VOID)]
    windows = np.array([one_hot for one_hot, void in cut if not void])
    windows = windows.reshape(-1, RATIO * RATIO, CLASSES)
    scale = windows.mean((0, 1)) ** -balance
    covariance = np.cov(windows.reshape(len(windows), -1), rowvar=False, bias=True)
    scaled = np.cov((windows * scale).reshape(len(windows), -1), rowvar=False, bias=True)
    rows = np.linalg.eigh(scaled)[1].T[::-1][:CHANNELS] / np.tile(scale, RATIO * RATIO)
    basis = np.linalg.qr(rows.T)[0]
    found = fit(label_maps, class_balance=balance)
    matrix = found.matrix.astype(float)
    np.testing.assert_allclose(matrix.T @ matrix, basis @ basis.T, atol=1e-5)
    inside = matrix @ covariance @ matrix.T  # uncorrelated, falling, less than PCA's own
    shares = found.explained_variance_ratio
    np.testing.assert_allclose(inside, np.diag(shares) * np.trace(covariance), atol=1e-5)
    assert (np.diff(shares) <= 0).all()
    assert 0.9 * fitted.explained_variance_ratio.sum() < shares.sum()
    assert shares.sum() < fitted.explained_variance_ratio.sum()


def test_balanced_classes_keep_more_of_a_rare_one():
    rng = np.random.default_rng(0)
    maps = np.stack([voronoi(rng, 64, 64, 3, void=False) for _ in range(40)])
    for label_map in maps[::2]:
        row, column = rng.integers(0, 60, 2)
        label_map[row : row + 4, column : column + 4] = 3  # 0.2 % of the pixels
    shape = {"num_classes": 5, "ratio": 8, "channels": 24}  # class 4 never occurs
    recall, accuracy, ramps = [], [], []
    for balance in (0, 0.25):
        found = projection.fit(maps, **shape, class_balance=balance)
        rebuilt = [found.reconstruct(found.compress(label_map)).argmax(-1) for label_map in maps]
        right = np.stack(rebuilt) == maps
        recall.append(right[maps == 3].mean())
        accuracy.append(right.mean())
        ramps.append(found.class_ramps)
    assert recall[0] < 0.1 < 0.8 < recall[1]
    assert ramps[0][3] < 0.1 < 0.3 < ramps[1][3]
    assert min(ramps[0][:3]) > 0.85 and ramps[1][4] == pytest.approx(0, abs=1e-9)
    assert min(accuracy) > 0.995


def test_rows_are_the_eigenvectors_one_by_one(label_maps, fitted):
    values, vectors, _ = reference.label_pca(label_maps, RATIO, CLASSES, VOID)
    assert np.diff(values[: CHANNELS + 1]).max() < -1e-3 * values[0]
    cosines = np.abs((fitted.matrix * vectors[:CHANNELS]).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_rows_are_orthonormal_and_their_largest_entry_is_positive(fitted):
    rows = fitted.matrix.astype(float)
    np.testing.assert_allclose(rows @ rows.T, np.eye(CHANNELS), atol=1e-6)
    assert np.all(rows.max(1) > 0.998 * np.abs(rows).max(1))


def test_arrays_have_the_documented_types_and_shapes(fitted):
    size = RATIO * RATIO * CLASSES
    assert fitted.matrix.shape == (CHANNELS, size) and fitted.matrix.dtype == np.float32
    assert fitted.mean.shape == (size,) and fitted.mean.dtype == np.float32
    assert fitted.explained_variance_ratio.shape == (CHANNELS,)
    assert fields(fitted)[3:] == [CLASSES, RATIO, CHANNELS, VOID]


def test_the_order_of_the_label_maps_does_not_matter(label_maps, fitted):
    assert_same(fit(label_maps[::-1]), fitted)


def test_a_generator_and_wider_integers_give_the_same(label_maps, fitted):
    assert_same(fit(y.astype(np.int64) for y in label_maps), fitted)


def test_merged_counts_equal_counts_of_the_whole(label_maps, fitted):
    parts = [projection.count_windows(p, CLASSES, RATIO) for p in (label_maps[:3], label_maps[3:])]
    assert_same(projection.fit_counts(parts[0] + parts[1], CLASSES, RATIO, CHANNELS), fitted)


def test_a_mirrored_pair_of_label_maps_keeps_its_signs():
    rng = np.random.default_rng(3)
    maps = [voronoi(rng, 32, 32, void=False) for _ in range(4)]
    symmetric = fit([*maps, *(y[:, ::-1] for y in maps)])
    reordered = fit([*(y[:, ::-1] for y in maps[::-1]), *maps])
    assert_same(symmetric, reordered)


def test_columns_are_ordered_row_column_class():
    ids = np.zeros((4, 4), np.uint8)
    ids[1, 2] = 3
    fitted = fit([ids, np.zeros_like(ids)], channels=1)
    column = (1 * RATIO + 2) * CLASSES
    expected = np.zeros(RATIO * RATIO * CLASSES)
    expected[column], expected[column + 3] = -0.5, 0.5
    np.testing.assert_allclose(np.abs(fitted.matrix[0]), np.abs(expected) * 2**0.5, atol=1e-6)
    np.testing.assert_allclose(fitted.mean[[column, column + 3]], [0.5, 0.5], atol=ROUNDED)
    assert fitted.reconstruct(fitted.compress(ids))[1, 2].argmax() == 3


def test_void_takes_the_nearest_label_of_the_label_map(fitted):
    v = VOID
    label_map = [
        [1, 1, v, v, 1, v, v, 2],
        [1, 1, v, v, v, v, v, 2],
        [1, 1, v, v, v, v, v, 2],
        [1, 1, v, v, 3, v, v, 2],
    ]
    filled = [  # column 3 takes its 3 from the window to the right
        [1, 1, 1, 1, 1, 1, 2, 2],
        [1, 1, 1, 1, 1, 1, 2, 2],
        [1, 1, 1, 3, 3, 3, 2, 2],
        [1, 1, 1, 3, 3, 3, 2, 2],
    ]
    for turn in range(4):  # each side of the label map in turn
        turned, wanted = (np.rot90(np.array(y), turn) for y in (label_map, filled))
        np.testing.assert_array_equal(fitted.compress(turned), fitted.compress(wanted))


def test_windows_void_throughout_do_not_count_and_become_zeros(label_maps, fitted):
    void = np.full((RATIO, 3 * RATIO), VOID, np.uint8)
    assert_same(fit([void, *label_maps]), fitted)
    np.testing.assert_array_equal(fitted.compress(void), np.zeros((1, 3, CHANNELS)))
    half = void.copy()
    half[:, 0] = 1
    compressed = fitted.compress(half)
    assert np.any(compressed[0, 0]) and not np.any(compressed[0, 1:])


def test_sizes_not_divisible_by_the_ratio_repeat_the_edge(fitted):
    label_map = voronoi(np.random.default_rng(1), 14, 9, void=False)
    padded = np.pad(label_map, ((0, 2), (0, 3)), mode="edge")
    assert fitted.compress(label_map).shape == (4, 3, CHANNELS)
    np.testing.assert_array_equal(fitted.compress(label_map), fitted.compress(padded))


def test_without_void_no_id_is_special(label_maps):
    maps = [y % VOID for y in label_maps]
    fitted = fit(maps, ignore_class=None)
    np.testing.assert_array_equal(fitted.matrix, fit(maps, ignore_class=-1).matrix)
    with pytest.raises(ValueError, match="class id 255"):
        fitted.compress(np.full((4, 4), VOID))


def test_ids_beyond_one_byte_give_the_same_values_at_other_columns():
    rng = np.random.default_rng(2)
    maps = [voronoi(rng, 19, 19, void=False).astype(int) for _ in range(6)]
    few = fit(maps, channels=3, ignore_class=None)
    many = fit([65 * y for y in maps], channels=3, num_classes=261, ignore_class=None)
    size = (4, RATIO, RATIO)
    few = np.concatenate([few.matrix, few.mean[None]]).reshape(*size, CLASSES)
    many = np.concatenate([many.matrix, many.mean[None]]).reshape(*size, 261)
    np.testing.assert_allclose(many[..., ::65], few, atol=1e-6)
    assert np.abs(many).sum() == pytest.approx(np.abs(few).sum(), rel=1e-5)


def test_compress_and_reconstruct_equal_the_formulas(fitted, label_maps):
    matrix, mean = fitted.matrix.astype(float), fitted.mean.astype(float)
    for y in label_maps[:4]:
        h, w = -(-y.shape[0] // RATIO), -(-y.shape[1] // RATIO)
        windows = reference.label_windows(y, RATIO, CLASSES, VOID)
        x = np.array([np.zeros(CHANNELS) if void else matrix @ (v - mean) for v, void in windows])
        compressed = fitted.compress(y)
        assert compressed.dtype == np.float32
        # sums of r*r + N float32 products below 1, each rounded
        np.testing.assert_allclose(compressed, x.reshape(h, w, CHANNELS), atol=1e-5)
        scores = fitted.reconstruct(compressed)
        assert scores.dtype == np.float32
        wanted = reference.dupsampling(x.reshape(1, h, w, CHANNELS), matrix, mean, RATIO, CLASSES)
        np.testing.assert_allclose(scores, wanted[0], atol=1e-5)


def test_all_channels_rebuild_the_label_maps_exactly():
    rng = np.random.default_rng(4)
    maps = [rng.integers(0, 3, (2, 2)) for _ in range(200)]
    rank = 2 * 2 * (3 - 1)  # the labels of a pixel sum to 1
    fitted = fit(maps, num_classes=3, ratio=2, channels=rank)
    assert fitted.explained_variance_ratio.sum() == pytest.approx(1, abs=1e-12)
    for y in maps[:20]:
        one_hot = np.eye(3)[y]
        np.testing.assert_allclose(fitted.reconstruct(fitted.compress(y)), one_hot, atol=1e-5)
    assert projection.reconstruction_miou(fitted, maps) == 1.0


def test_ratio_one_is_pca_of_the_classes():
    fitted = fit([np.array([[0, 1, 2, 2]])], num_classes=3, ratio=1, channels=2)
    np.testing.assert_allclose(fitted.mean, [0.25, 0.25, 0.5])
    assert fitted.explained_variance_ratio.sum() == pytest.approx(1, abs=1e-12)


def test_reconstruction_miou_equals_a_loop_over_pixels(label_maps, fitted):
    predicted = [fitted.reconstruct(fitted.compress(y)).argmax(-1) for y in label_maps]
    wanted = reference.mean_iou(label_maps, predicted, VOID)
    found = projection.reconstruction_miou(fitted, iter(label_maps))
    assert 0.5 < wanted < 1  # a perfect score would test nothing
    assert found == pytest.approx(wanted, abs=1e-12)


def test_nearest_rebuilds_windows_of_one_class_and_the_shares_of_others():
    nearest = _label_projection.nearest(num_classes=3, ratio=4)
    label_map = np.zeros((4, 8), np.uint8)
    label_map[:, 4:], label_map[0, 4:] = 2, 1
    rebuilt = nearest.reconstruct(nearest.compress(label_map))
    np.testing.assert_allclose(rebuilt[:, :4], np.broadcast_to([1, 0, 0], (4, 4, 3)), atol=1e-6)
    np.testing.assert_allclose(rebuilt[:, 4:], np.broadcast_to([0, 1 / 4, 3 / 4], (4, 4, 3)))
    np.testing.assert_allclose(nearest.matrix @ nearest.matrix.T, np.eye(3), atol=1e-6)


def test_ramps_of_a_class_are_held_as_far_as_w_spans_them():
    np.testing.assert_allclose(_label_projection.nearest(3, ratio=4).class_ramps, 0, atol=1e-9)
    np.testing.assert_array_equal(_label_projection.nearest(3, ratio=1).class_ramps, 1)
    rng = np.random.default_rng(4)
    maps = [rng.integers(0, 3, (2, 2)) for _ in range(200)]
    everything = fit(maps, num_classes=3, ratio=2, channels=8)
    np.testing.assert_allclose(everything.class_ramps, 1, atol=1e-6)
    # class 0 rises to the right where 1 falls: half of either's ramps, in one of two directions
    row = np.tile([-3, -1, 1, 3], (4, 1)) / np.sqrt(80)
    matrix = np.stack([row, -row, 0 * row], -1).reshape(1, -1) / np.sqrt(2)
    mean = np.full(48, 1 / 3, np.float32)
    one = projection.LabelProjection(matrix.astype(np.float32), mean, np.ones(1), 3, ratio=4)
    np.testing.assert_allclose(one.class_ramps, [3 / 8, 3 / 8, 0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(
    "KERAS_DUP_DATA" not in os.environ, reason="KERAS_DUP_DATA, the folder with voc2012, is not set"
)
def test_voc_is_fitted_within_the_bounds_and_rebuilt():
    from keras_dup.data import read_label_map

    folder = Path(os.environ["KERAS_DUP_DATA"]) / "voc2012"
    train, val = (
        [folder / f"SegmentationClass/{name}.png" for name in (folder / part).read_text().split()]
        for part in ("train.txt", "val.txt")
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, of the tests before
    for channels, miou in ((64, 0.9988), (128, 0.9997)):
        start = time.process_time()  # not the wall clock: others may use the machine
        fitted = projection.fit((read_label_map(p, 21) for p in train), 21, 16, channels)
        assert time.process_time() - start < 40
        found = projection.reconstruction_miou(fitted, (read_label_map(p, 21) for p in val))
        assert found > miou
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss <= max(2e6, peak)
