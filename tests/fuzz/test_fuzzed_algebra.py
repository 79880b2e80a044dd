"""The algebra of labels against float64: fit, compress, reconstruct, recode, losses."""

import keras
import numpy as np
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import watched

from keras_dup import projection
from keras_dup.losses import PixelCrossentropy

FEWER = settings(max_examples=max(40, settings.default.max_examples // 10))  # they take longer
ROUNDED = 2e-5  # sums of up to 2 * 100 float32 products below 1


@st.composite
def label_maps(draw, void=False):
    """-> a few label maps, mixed in size, and how many classes and which ratio they are for."""
    num_classes, ratio = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    maps = []
    for _ in range(draw(st.integers(1, 4))):
        shape, coarse = draw(st.tuples(*[st.integers(1, 12)] * 2)), draw(st.integers(1, 4))
        ids = rng.integers(0, num_classes, shape).astype(np.uint8)
        ids = ids.repeat(coarse, 0).repeat(coarse, 1)[: shape[0], : shape[1]]
        maps.append(np.where(rng.random(shape) < 0.2, 255, ids) if void else ids)
    return maps, num_classes, ratio


@FEWER
@given(given_maps=label_maps(), share=st.floats(0, 1))
def test_fit_finds_what_a_dense_eigendecomposition_does(given_maps, share):
    maps, num_classes, ratio = given_maps
    values, _, mean = reference.label_pca(maps, ratio, num_classes, 255)
    rank = int((values > 1e-12 * max(values.sum(), 1e-12)).sum())
    channels = 1 + int(share * rank)
    found = watched(projection.fit, maps, num_classes, ratio, channels)
    if channels > rank:
        assert isinstance(found, ValueError)
        return
    shares = values[:channels] / values.sum()
    np.testing.assert_allclose(found.explained_variance_ratio, shares, atol=1e-9)
    np.testing.assert_allclose(found.matrix @ found.matrix.T, np.eye(channels), atol=ROUNDED)
    np.testing.assert_allclose(found.mean, mean, atol=ROUNDED)


@FEWER
@given(given_maps=label_maps(void=True), constant_windows=st.booleans())
def test_all_of_the_variance_rebuilds_every_label(given_maps, constant_windows):
    maps, num_classes, ratio = given_maps
    shape = num_classes, ratio, 1.0
    found = watched(projection.fit, maps, *shape, constant_windows=constant_windows)
    if isinstance(found, ValueError):  # nothing but void, or windows all alike
        return
    for ids in maps:
        rebuilt = found.reconstruct(found.compress(ids))[: ids.shape[0], : ids.shape[1]]
        valid = ids != 255
        assert (rebuilt.argmax(-1) == ids)[valid].all()
        np.testing.assert_allclose(rebuilt[valid], np.eye(num_classes)[ids[valid]], atol=1e-3)


@FEWER
@given(given_maps=label_maps(), share=st.floats(1e-3, 1))
def test_compress_and_reconstruct_are_their_formulas(given_maps, share):
    maps, num_classes, ratio = given_maps
    found = watched(projection.fit, maps, num_classes, ratio, share)
    if isinstance(found, ValueError):
        return
    matrix, mean = found.matrix.astype(float), found.mean.astype(float)
    for ids in maps:
        windows = np.array([v for v, _ in reference.label_windows(ids, ratio, num_classes, 255)])
        rows = found.compress(ids)
        wanted = (windows - mean) @ matrix.T
        np.testing.assert_allclose(rows.reshape(wanted.shape), wanted, atol=ROUNDED)
        scores = reference.dupsampling(rows[None], matrix, mean, ratio, num_classes)[0]
        np.testing.assert_allclose(found.reconstruct(rows), scores, atol=ROUNDED)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.floats(0, 50),
    hard=st.sampled_from([None, 0.1, 0.5, 1]),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
    weighted=st.booleans(),
)
def test_losses_are_those_of_float64(seed, size, hard, smoothing, weighted):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, size, (2, 4, 5, 3)).astype(np.float32)
    labels = np.where(rng.random((2, 4, 5)) < 0.3, 255, rng.integers(0, 3, (2, 4, 5)))
    weights = [1.0, 0.25, 4.0] if weighted else None
    loss = PixelCrossentropy(255, weights, hard, smoothing, from_logits=True)
    found = float(keras.ops.convert_to_numpy(loss(labels, logits)))
    wanted = loss64(labels, logits.astype(float), weights, hard, smoothing)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def loss64(labels, logits, class_weights, hard, smoothing):
    shifted = logits - logits.max(-1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(-1, keepdims=True)) - shifted
    valid = labels != 255
    ids = np.where(valid, labels, 0)
    picked = np.take_along_axis(losses, ids[..., None], -1)[..., 0]
    losses = (1 - smoothing) * picked + smoothing * losses.mean(-1)
    weights = valid * np.array(class_weights or [1.0] * 3)[ids]
    if hard not in (None, 1):
        for image in range(len(labels)):
            weights[image] *= hardest(losses[image], valid[image], hard)
    return (losses * weights).sum() / weights.sum() if weights.any() else 0.0


def hardest(losses, valid, share):
    """1 for the labelled pixels of the largest losses, as many as the share of all pixels."""
    count = min(max(1, round(share * losses.size)), valid.sum())
    kept = np.zeros(losses.shape)
    order = np.argsort(-np.where(valid, losses, -np.inf), axis=None, kind="stable")[:count]
    kept.ravel()[order] = 1
    return kept
