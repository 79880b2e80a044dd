"""Losses of regions and sums of losses, against their definitions in NumPy and against Keras."""

import keras
import numpy as np
import pytest
from gradients import gradients, on_two_replicas
from keras import ops

from keras_dup._packed_loss import packs
from keras_dup.losses import PixelCrossentropy, RegionLoss

K = 4
ALPHA_BETA = {"dice": (0.5, 0.5), "jaccard": (1, 1), "tversky": (0.3, 0.7)}


@pytest.fixture
def batch():
    """Labels with void and without class 3, and probabilities."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K - 1, (3, 6, 5))
    labels[0, :4] = 255
    labels[2] = 255
    return labels, probabilities(rng, labels.shape)


def probabilities(rng, shape):
    exponentials = np.exp(rng.normal(0, 1, (*shape, K)))
    return (exponentials / exponentials.sum(-1, keepdims=True)).astype("float32")


def value(loss, labels, predictions):
    return float(ops.convert_to_numpy(loss(labels, predictions)))


def overlaps(labels, found, alpha, beta):
    """The overlap of each class, NaN for those without a label."""
    valid = labels != 255
    p, t = found[valid].astype("float64"), np.eye(K)[labels[valid]]
    both, false_positives, false_negatives = (
        (x * y).sum(0) for x, y in ((p, t), (p, 1 - t), (1 - p, t))
    )
    return np.where(
        t.sum(0) > 0, both / (both + alpha * false_positives + beta * false_negatives), np.nan
    )


@pytest.mark.parametrize("region", ALPHA_BETA)
def test_a_region_loss_is_one_minus_the_mean_overlap_of_the_classes_that_occur(region, batch):
    labels, found = batch
    expected = overlaps(labels, found, *ALPHA_BETA[region])
    assert value(RegionLoss(region), *batch) == pytest.approx(1 - np.nanmean(expected), rel=1e-5)
    loss = RegionLoss(region, class_weights=[0, 1, 3, 5])
    weighted = 1 - (expected[1] + 3 * expected[2]) / 4
    assert value(loss, *batch) == pytest.approx(weighted, rel=1e-5)
    logits = np.log(found) + 3
    assert value(RegionLoss(region, from_logits=True), labels[..., None], logits) == pytest.approx(
        1 - np.nanmean(expected), rel=1e-5
    )


def test_without_void_and_absent_classes_the_values_are_those_of_keras():
    rng = np.random.default_rng(0)
    labels, found = rng.integers(0, K, (3, 6, 5)), probabilities(rng, (3, 6, 5))
    truth = np.eye(K, dtype="float32")[labels]
    pairs = {
        RegionLoss("dice"): keras.losses.Dice(axis=(0, 1, 2)),
        # Keras 3.15 has false positives and negatives the other way round than it says
        RegionLoss("tversky", 0.2, 0.9): keras.losses.Tversky(0.9, 0.2, axis=(0, 1, 2)),
        PixelCrossentropy(gamma=2.0): keras.losses.CategoricalFocalCrossentropy(1.0, 2.0),
    }
    for ours, theirs in pairs.items():
        # Keras adds 1e-7 to denominators, and clips probabilities
        assert value(ours, labels, found) == pytest.approx(value(theirs, truth, found), rel=2e-5)


def jaccard_loss(wrong, true):
    """1 - IoU of a class whose pixels are the set `true`, if the set `wrong` is mispredicted."""
    return 1 - len(true - wrong) / len(true | wrong)


def test_lovasz_is_the_extension_of_one_minus_iou_from_sets_of_wrong_pixels_to_errors(batch):
    labels, found = batch
    valid = labels != 255
    p, y = found[valid].astype("float64"), labels[valid]
    of_class = []
    for k in np.unique(y):
        true = set(np.flatnonzero(y == k))
        errors = np.abs((y == k) - p[:, k])
        wrong, total, before = set(), 0.0, jaccard_loss(set(), true)
        for pixel in np.argsort(-errors):
            wrong.add(pixel)
            now = jaccard_loss(wrong, true)
            total, before = total + errors[pixel] * (now - before), now
        of_class.append(total)
    loss = RegionLoss("lovasz")
    assert value(loss, *batch) == pytest.approx(np.mean(of_class), rel=1e-5)
    # of predictions without doubt it is 1 - IoU itself
    sure = np.eye(K)[found.argmax(-1)]
    hard = 1 - overlaps(labels, sure, 1, 1)
    assert value(loss, labels, sure) == pytest.approx(np.nanmean(hard), rel=1e-5)


@pytest.mark.parametrize("region", [*ALPHA_BETA, "lovasz"])
def test_void_gets_no_gradient_and_a_batch_of_void_none_at_all(region, batch):
    labels, found = batch
    loss = RegionLoss(region)
    _, slopes = gradients(lambda found: loss(labels, found), [found])
    assert np.isfinite(slopes).all()
    assert not slopes[labels == 255].any() and np.abs(slopes[labels != 255]).max(-1).min() > 0
    void = np.full_like(labels, 255)
    result, slopes = gradients(lambda found: loss(void, found), [found])
    assert result == 0 and not slopes.any()
    renamed = RegionLoss(region, ignore_class=11)
    assert value(renamed, np.where(labels == 255, 11, labels), found) == value(loss, *batch)


def test_float16_predictions_are_summed_in_float32():
    labels = np.zeros((1, 300, 300), "int64")  # 90,000 ones are more than float16 counts
    labels[:, 200:] = 1
    found = np.eye(K, dtype="float16")[labels]
    for region in (*ALPHA_BETA, "lovasz"):
        assert value(RegionLoss(region), labels, found) == pytest.approx(0, abs=1e-6)


def test_losses_add_up_with_weights_and_are_saved(batch):
    pixels, regions = PixelCrossentropy(label_smoothing=0.1), RegionLoss("jaccard")
    loss = pixels + 0.5 * regions + 2 * (0.5 * regions)
    assert [weight for weight, _ in loss.terms] == [1, 0.5, 1]
    expected = value(pixels, *batch) + 1.5 * value(regions, *batch)
    assert value(loss, *batch) == pytest.approx(expected, rel=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert value(again, *batch) == value(loss, *batch)
    with pytest.raises(ValueError, match="the weight of a loss is 0"):
        0 * regions
    with pytest.raises(TypeError):
        regions + 1
    with pytest.raises(ValueError, match="LossSum takes no sample weights"):
        loss(*batch, sample_weight=np.ones(3))


def test_what_has_to_sort_all_pixels_is_not_packed():
    pixels, regions = PixelCrossentropy(), RegionLoss("dice")
    assert packs(pixels + regions + RegionLoss("jaccard")) and packs(regions)
    assert not packs(pixels + RegionLoss("lovasz"))
    assert not packs(pixels + PixelCrossentropy(gamma=2.0))
    assert not packs(pixels + RegionLoss("dice", ignore_class=None))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"region": "iou"}, "region='iou'; it must be one of"),
        ({"region": "tversky", "alpha": 0}, "alpha=0, beta=0.7; positive"),
        ({"class_weights": [0, 0]}, "none negative, not all 0"),
        ({"class_weights": [1, 1]}, "2 class_weights, 4 classes"),
    ],
)
def test_bad_arguments_are_named(arguments, message, batch):
    with pytest.raises(ValueError, match=message):
        RegionLoss(**arguments)(*batch)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
@pytest.mark.parametrize("region", ["jaccard", "lovasz"])
def test_two_replicas_have_the_loss_and_the_gradient_of_one_with_both_their_images(region, batch):
    """Of Lovasz the mean of both, which it says."""
    import tensorflow as tf

    labels, found = (tf.constant(x) for x in (batch[0][:2], batch[1][:2]))
    loss = PixelCrossentropy(gamma=2.0) + RegionLoss(region)
    scale = tf.Variable(1.0)

    def step(labels, found):
        with tf.GradientTape() as tape:
            value = loss(labels, found**scale)
        return value, tape.gradient(value, scale)

    if region == "lovasz":
        loss = RegionLoss(region)
        parts = [step(labels[i : i + 1], found[i : i + 1]) for i in range(2)]
        expected = np.mean(parts, axis=0)
    else:
        expected = step(labels, found)
    np.testing.assert_allclose(on_two_replicas(step, labels, found), expected, rtol=1e-5)
