"""W whose first rows are the constant windows: exact for them, PCA for the rest."""

import numpy as np
import pytest
import reference
from label_maps import CLASSES, RATIO, VOID, voronoi

from keras_dup import projection
from keras_dup.projection import _label_projection

CHANNELS = 12
ROUNDED = 1e-6  # sums of some 16 float32 products below 1
SHAPE = {"num_classes": CLASSES, "ratio": RATIO, "channels": CHANNELS}


@pytest.fixture(scope="module")
def label_maps():
    rng = np.random.default_rng(0)
    return [voronoi(rng, 32, 24, void=False) for _ in range(8)]


@pytest.fixture(scope="module")
def fitted(label_maps):
    return projection.fit(label_maps, **SHAPE, constant_windows=True)


def windows(label_maps):
    cut = [w for y in label_maps for w in reference.label_windows(y, RATIO, CLASSES, VOID)]
    return np.array([window for window, _ in cut])


def constants():
    return np.tile(np.eye(CLASSES) / RATIO, RATIO**2)


def test_the_first_rows_are_the_constant_windows_and_all_are_orthonormal(fitted):
    np.testing.assert_array_equal(fitted.matrix[:CLASSES], constants().astype(np.float32))
    rows = fitted.matrix.astype(float)
    np.testing.assert_allclose(rows @ rows.T, np.eye(CHANNELS), atol=1e-6)
    assert fitted.matrix.dtype == fitted.mean.dtype == np.float32


def test_the_other_rows_are_pca_of_what_the_constant_windows_leave(label_maps, fitted):
    v = windows(label_maps)
    centre = v.mean(0) @ constants().T @ constants()
    np.testing.assert_allclose(fitted.mean, centre, atol=1e-7)
    rest = v - v @ constants().T @ constants()
    values, vectors = np.linalg.eigh(rest.T @ rest / len(v))
    values, vectors = values[::-1], vectors.T[::-1]
    count, total = CHANNELS - CLASSES, ((v - centre) ** 2).sum(1).mean()
    assert np.diff(values[: count + 1]).max() < -1e-3 * values[0]
    cosines = np.abs((vectors[:count] * fitted.matrix[CLASSES:]).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    shares = fitted.explained_variance_ratio
    np.testing.assert_allclose(shares[CLASSES:], values[:count] / total, atol=1e-9)
    along = (((v - centre) @ constants().T) ** 2).mean(0) / total
    np.testing.assert_allclose(shares[:CLASSES], along, atol=1e-9)


@pytest.mark.parametrize("channels", [CLASSES, CLASSES + 1, CHANNELS])
def test_a_constant_window_is_rebuilt_to_rounding(fitted, channels):
    first = fitted.first(channels)
    for k in range(CLASSES):
        label_map = np.full((RATIO, RATIO), k)
        rebuilt = first.reconstruct(first.compress(label_map))
        np.testing.assert_allclose(rebuilt, np.eye(CLASSES)[label_map], atol=ROUNDED)
    scores = np.random.default_rng(0).standard_normal((9, CLASSES)) @ constants() * RATIO
    codes = (scores - first.mean) @ first.p.T
    np.testing.assert_allclose(first.reconstruct_windows(codes), scores, atol=5 * ROUNDED)
    residual = first.mean - first.mean @ first.p.T @ first.matrix
    np.testing.assert_allclose(residual, 0, atol=ROUNDED)


def test_what_is_rebuilt_is_the_nearest_in_the_span(label_maps, fitted):
    v = windows(label_maps)
    compressed = np.concatenate([fitted.compress(y).reshape(-1, CHANNELS) for y in label_maps])
    wanted = v @ fitted.matrix.T.astype(float) @ fitted.matrix
    np.testing.assert_allclose(fitted.reconstruct_windows(compressed), wanted, atol=5 * ROUNDED)
    plain = projection.fit(label_maps, **SHAPE)
    error = ((wanted - v) ** 2).sum()
    assert (
        error
        > (
            (
                plain.reconstruct_windows(
                    plain.compress_windows(v.reshape(len(v), -1, CLASSES).argmax(-1))
                )
                - v
            )
            ** 2
        ).sum()
    )
    # no worse than PCA with the rows that the constant windows replace, but one: the all-one row
    fewer = plain.first(CHANNELS - CLASSES + 1)
    assert fitted.explained_variance_ratio.sum() > fewer.explained_variance_ratio.sum()


@pytest.mark.parametrize("float16", [False, True])
def test_they_survive_saving(tmp_path, fitted, float16):
    loaded = projection.load(fitted.save(tmp_path / "w", float16=float16))
    np.testing.assert_array_equal(loaded.matrix[:CLASSES], fitted.matrix[:CLASSES])
    np.testing.assert_allclose(loaded.matrix @ loaded.matrix.T, np.eye(CHANNELS), atol=1e-6)
    np.testing.assert_allclose(loaded.matrix, fitted.matrix, atol=1e-3 if float16 else 0)


def test_a_share_of_the_variance_counts_the_constant_windows(label_maps, fitted):
    reached = fitted.explained_variance_ratio.cumsum()
    for channels in (CLASSES, CLASSES + 1, CHANNELS):
        share = float(reached[channels - 1] - 1e-6)
        found = projection.fit(label_maps, CLASSES, RATIO, share, constant_windows=True)
        assert found.channels == channels
        np.testing.assert_allclose(found.matrix, fitted.matrix[:channels], atol=1e-6)
    everything = projection.fit(label_maps, CLASSES, RATIO, 1.0, constant_windows=True)
    assert everything.explained_variance_ratio.sum() == pytest.approx(1, abs=1e-12)
    assert projection.reconstruction_miou(everything, label_maps) == 1


def test_balanced_classes_keep_the_constant_windows(label_maps):
    found = projection.fit(label_maps, **SHAPE, class_balance=0.5, constant_windows=True)
    np.testing.assert_array_equal(found.matrix[:CLASSES], constants().astype(np.float32))
    v = windows(label_maps)
    scale = np.tile(v.reshape(-1, CLASSES).mean(0) ** -0.5, RATIO**2)
    rest = (v - v @ constants().T @ constants()) * scale
    rows = np.linalg.eigh(rest.T @ rest)[1].T[::-1][: CHANNELS - CLASSES] / scale
    basis = np.linalg.qr(rows.T)[0]
    matrix = found.matrix[CLASSES:].astype(float)
    np.testing.assert_allclose(matrix.T @ matrix, basis @ basis.T, atol=1e-5)
    assert (np.diff(found.explained_variance_ratio[CLASSES:]) <= 0).all()


def test_from_all_rows_without_they_are_those_of_a_fit_with(label_maps, fitted):
    plain = projection.fit(label_maps, CLASSES, RATIO, 1.0)
    found = plain.with_constant_windows(CHANNELS)
    shares = fitted.explained_variance_ratio
    np.testing.assert_allclose(found.explained_variance_ratio, shares, atol=1e-6)
    np.testing.assert_allclose(found.mean, fitted.mean, atol=1e-6)
    matrix, wanted = found.matrix.astype(float), fitted.matrix.astype(float)
    np.testing.assert_allclose(matrix.T @ matrix, wanted.T @ wanted, atol=1e-4)
    few = plain.first(CHANNELS).with_constant_windows()
    np.testing.assert_array_equal(few.matrix[:CLASSES], constants().astype(np.float32))
    assert few.channels == CHANNELS
    np.testing.assert_allclose(few.matrix @ few.matrix.T, np.eye(CHANNELS), atol=1e-6)
    assert 0.9 * shares.sum() < few.explained_variance_ratio.sum() <= shares.sum() + 1e-6
    with pytest.raises(ValueError, match=r"channels is 4; 5 .* to 18 are expected"):
        plain.first(CHANNELS).with_constant_windows(4)
    with pytest.raises(ValueError, match="is not of method"):
        _label_projection.nearest(CLASSES, RATIO).with_constant_windows()


@pytest.mark.parametrize("label_map", [np.arange(5)[None], np.arange(5)[:, None] // 3])
def test_where_all_windows_are_constant_these_rows_are_all(label_map):
    found = projection.fit([label_map], CLASSES, 1, CLASSES, constant_windows=True)
    np.testing.assert_array_equal(found.matrix, np.eye(CLASSES))
    with pytest.raises(ValueError, match="give at most 5"):
        projection.fit([label_map], CLASSES, 1, CLASSES + 1, constant_windows=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"channels": 4},
            "channels is 4; a whole number of 5, the constant windows",
        ),
        ({"channels": 66}, "channels is 66, but ratio 4 and 5 classes give at most 65"),
        ({"method": "sgd"}, "constant_windows is of method 'pca'"),
    ],
)
def test_what_does_not_go_with_constant_windows_is_refused(label_maps, changes, message):
    with pytest.raises(ValueError, match=message):
        projection.fit(label_maps, **{**SHAPE, **changes}, constant_windows=True)
