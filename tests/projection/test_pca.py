"""The eigensolver, on windows and on matrices whose answer is known."""

import numpy as np
import pytest
import reference

from keras_dup import projection
from keras_dup.projection import _covariance, _pca

CLASSES, RATIO = 4, 3


def enough(k):
    return lambda values: k if len(values) >= k else None


class Dense:
    """A matrix of given eigenvalues."""

    def __init__(self, values):
        self.size = len(values)
        rng = np.random.default_rng(0)
        self.vectors = np.linalg.qr(rng.standard_normal((self.size, self.size)))[0]
        self.matrix = (self.vectors * values) @ self.vectors.T

    def __matmul__(self, block):
        return self.matrix @ block


def one_hot(windows):
    return np.eye(CLASSES)[windows].reshape(len(windows), -1)


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    return rng.integers(0, CLASSES, (300, RATIO * RATIO)).astype(np.uint8), rng.integers(1, 9, 300)


@pytest.mark.parametrize("memory", [0, 10**9])
def test_covariance_equals_the_dense_one(windows, memory, monkeypatch):
    monkeypatch.setattr(_covariance, "_CHUNK", 32)
    ids, counts = windows
    wanted = np.cov(one_hot(ids), rowvar=False, fweights=counts, bias=True)
    found = _covariance.Covariance(ids, counts, CLASSES, RATIO, memory)
    assert found.resident == (memory > 0)
    np.testing.assert_allclose(found @ np.eye(found.size), wanted, atol=1e-12)
    np.testing.assert_allclose(found.mean, np.average(one_hot(ids), 0, counts), atol=1e-14)
    assert found.variance == pytest.approx(np.trace(wanted), abs=1e-12)


@pytest.mark.parametrize("ratio", [1, 2, 5])
def test_differences_summed_up_give_the_windows_back(ratio):
    ids = np.random.default_rng(1).integers(0, 3, (200, ratio * ratio)).astype(np.uint8)
    sums = _covariance._differences(ids, 3, ratio).toarray().reshape(-1, ratio, ratio, 3)
    np.testing.assert_array_equal(
        sums.cumsum(1).cumsum(2), np.eye(3)[ids.reshape(-1, ratio, ratio)]
    )


@pytest.mark.parametrize("block_size", [1, 4, 16, 100])
def test_eigenpairs_equal_the_known_ones(block_size):
    dense = Dense(0.8 ** np.arange(80))
    values, vectors = _pca.principal(dense, enough(7), block_size)
    np.testing.assert_allclose(values, 0.8 ** np.arange(7), rtol=1e-9)
    cosines = np.abs((vectors * dense.vectors.T[:7]).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-12)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(7), atol=1e-12)


@pytest.mark.parametrize("count", [1, 4, 5, 6, 8, 10, 48])
def test_equal_eigenvalues_and_a_rank_below_the_block_are_no_trouble(count):
    dense = Dense(np.repeat([3.0, 2.0, 0.0], [5, 3, 40]))
    values, vectors = _pca.principal(dense, enough(count), 4)
    wanted = np.repeat([3.0, 2.0, 0.0], [5, 3, 40])[:count]
    np.testing.assert_allclose(values, wanted, atol=1e-12)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(count), atol=1e-12)
    np.testing.assert_allclose(dense @ vectors.T, vectors.T * values, atol=1e-9)


def test_values_that_repeat_at_random_are_found_as_often_as_they_are_there():
    rng = np.random.default_rng(1)
    for _ in range(25):
        size, different = rng.integers(5, 80), rng.integers(1, 8)
        spread = [rng.random(different), 10.0 ** -rng.integers(0, 9, different)]
        spread.append(1 + 1e-9 * rng.random(different))  # nearly equal
        dense = Dense(rng.choice(spread[rng.integers(3)], size))
        count = int(rng.integers(1, size + 1))
        values, vectors = _pca.principal(dense, enough(count), int(rng.integers(1, 20)))
        wanted = np.linalg.eigvalsh(dense.matrix)[::-1][:count]
        np.testing.assert_allclose(values, wanted, atol=1e-9 * wanted[0])
        np.testing.assert_allclose(vectors @ vectors.T, np.eye(count), atol=1e-12)


def alike(num_classes, ordered):
    """One map per class and one per pair, left and right; `ordered`: each pair both ways round."""
    pairs = [(a, b) for a in range(num_classes) for b in range(num_classes) if a == b or ordered]
    pairs += [] if ordered else [(a, b) for a in range(num_classes) for b in range(a)]
    return [np.repeat([[a, b]], 2, axis=1).repeat(4, axis=0) for a, b in pairs]


@pytest.mark.parametrize(("num_classes", "ordered"), [(21, True), (40, False)])
def test_classes_that_are_all_alike_are_all_found(num_classes, ordered):
    label_maps = alike(num_classes, ordered)
    channels = 2 * (num_classes - 1)  # the rank: two halves
    values = reference.label_pca(label_maps, 4, num_classes, 255)[0]
    for count in (num_classes - 1, channels):
        fitted = projection.fit(label_maps, num_classes, 4, count)
        shares = fitted.explained_variance_ratio
        np.testing.assert_allclose(shares, values[:count] / values.sum(), atol=1e-12)
    with pytest.raises(ValueError, match=f"give at most {channels}"):
        projection.fit(label_maps, num_classes, 4, channels + 1)
    assert projection.fit(label_maps, num_classes, 4, 1.0).channels == channels


def test_what_it_returns_is_within_its_tolerance(windows):
    operator = _covariance.Covariance(*windows, CLASSES, RATIO, 10**9)
    values, vectors = _pca.principal(operator, enough(5), 4)
    missed = np.linalg.norm(operator @ vectors.T - vectors.T * values, axis=0)
    assert missed.max() <= 2 * _pca.TOLERANCE * values[0]
