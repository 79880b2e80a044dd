"""Cross-entropy over the labelled pixels of a batch, against NumPy."""

import keras
import numpy as np
import pytest

from keras_dup.losses import PixelCrossentropy

K = 4


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, (3, 6, 5))
    labels[0, :4] = 255
    labels[2] = 255
    return labels, rng.normal(0, 3, (3, 6, 5, K)).astype("float32")


def log_softmax(logits):
    logits = logits.astype("float64")
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def pixel_losses(labels, logits):
    found = log_softmax(logits)
    return -np.take_along_axis(found, np.where(labels == 255, 0, labels)[..., None], -1)[..., 0]


def value(loss, labels, predictions):
    return float(keras.ops.convert_to_numpy(loss(labels, predictions)))


def test_every_labelled_pixel_counts_alike(batch):
    labels, logits = batch
    expected = pixel_losses(labels, logits)[labels != 255].mean()
    assert value(PixelCrossentropy(from_logits=True), *batch) == pytest.approx(expected, rel=1e-5)
    probabilities = keras.ops.softmax(logits)
    assert value(PixelCrossentropy(), labels, probabilities) == pytest.approx(expected, rel=1e-5)
    with_channel = labels[..., None]
    loss = PixelCrossentropy(from_logits=True)
    assert value(loss, with_channel, logits) == pytest.approx(expected, rel=1e-5)


def test_class_weights_are_a_weighted_mean(batch):
    labels, logits = batch
    table = np.array([1.0, 0.5, 3.0, 2.0])
    valid = labels != 255
    weights = table[labels[valid]]
    expected = (pixel_losses(labels, logits)[valid] * weights).sum() / weights.sum()
    loss = PixelCrossentropy(class_weights=table.tolist(), from_logits=True)
    assert value(loss, *batch) == pytest.approx(expected, rel=1e-5)


def test_hard_pixels_are_the_largest_losses_of_each_image(batch):
    labels, logits = batch
    losses = pixel_losses(labels, logits)
    count = round(0.2 * 30)
    hardest = [np.sort(losses[i][labels[i] != 255])[-count:] for i in range(3)]
    loss = PixelCrossentropy(hard_pixels=0.2, from_logits=True)
    assert value(loss, *batch) == pytest.approx(np.concatenate(hardest).mean(), rel=1e-5)
    everything = PixelCrossentropy(hard_pixels=1, from_logits=True)
    assert value(everything, *batch) == value(PixelCrossentropy(from_logits=True), *batch)


def mean_of_the_hardest(losses, count):
    """The mean over images (B, N) of the `count` largest losses of each."""
    return np.mean([np.sort(of_image)[-count:] for of_image in losses])


def test_hard_pixels_are_that_share_and_no_more_where_most_losses_are_equal():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, K, (2, 20, 20))
    logits = 200.0 * np.eye(K, dtype="float32")[labels]  # loss exactly 0
    wrong = rng.random(labels.shape) < 0.08
    logits[wrong] = rng.normal(0, 1, (wrong.sum(), K))
    losses = pixel_losses(labels, logits).reshape(2, -1)
    assert (losses == 0).mean() > 0.9
    expected = mean_of_the_hardest(losses, round(0.3 * 400))
    loss = PixelCrossentropy(hard_pixels=0.3, from_logits=True)
    assert value(loss, labels, logits) == pytest.approx(expected, rel=1e-5)
    # equal losses all over, then void instead of the equal ones: fewer labels than the share
    equal = value(loss, labels, np.zeros_like(logits))
    assert equal == pytest.approx(np.log(K), rel=1e-5)
    labels[~wrong] = 255
    assert value(loss, labels, logits) == pytest.approx(losses[wrong.reshape(2, -1)].mean())


def test_void_is_never_among_the_hard_pixels():
    labels = np.array([[[255, 255, 0, 0]]])
    logits = np.zeros((1, 1, 4, 2), "float32")
    logits[..., 0] = 200  # the labelled ones are right, with a loss of 0
    logits[0, 0, 3] = 0
    loss = PixelCrossentropy(hard_pixels=0.5, from_logits=True)
    assert value(loss, labels, logits) == pytest.approx(np.log(2) / 2, rel=1e-5)


@pytest.mark.parametrize("from_logits", [True, False])
def test_label_smoothing_is_cross_entropy_with_smoothed_targets(batch, from_logits):
    labels, logits = batch
    valid = labels != 255
    targets = 0.9 * np.eye(K)[labels[valid]] + 0.1 / K
    expected = -(targets * log_softmax(logits)[valid]).sum(-1).mean()
    predictions = logits if from_logits else keras.ops.softmax(logits)
    loss = PixelCrossentropy(label_smoothing=0.1, from_logits=from_logits)
    assert value(loss, labels, predictions) == pytest.approx(expected, rel=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others clip probabilities")
def test_smoothing_is_that_of_logits_where_probabilities_vanish():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, K, (2, 6, 5)), rng.normal(0, 40, (2, 6, 5, K))
    targets = 0.9 * np.eye(K)[labels] + 0.1 / K
    expected = -(targets * log_softmax(logits)).sum(-1).mean()
    assert expected > 30  # float32 probabilities are clipped at 16.1
    for from_logits in (True, False):
        predictions = keras.ops.convert_to_tensor(logits, "float32")
        if not from_logits:
            predictions = keras.activations.softmax(predictions)
        loss = PixelCrossentropy(label_smoothing=0.1, from_logits=from_logits)
        assert value(loss, labels, predictions) == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_void_gives_zero_and_another_void_may_be_named(batch):
    labels, logits = batch
    assert value(PixelCrossentropy(), np.full_like(labels, 255), logits) == 0
    renamed = np.where(labels == 255, 11, labels)
    loss = PixelCrossentropy(ignore_class=11, from_logits=True)
    assert value(loss, renamed, logits) == value(PixelCrossentropy(from_logits=True), *batch)


def test_a_saved_loss_comes_back(batch):
    loss = PixelCrossentropy(255, [1.0, 2.0, 1.0, 1.0], 0.5, 0.1, True)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert value(again, *batch) == value(loss, *batch)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"class_weights": [1.0, 0.0]}, "K positive numbers are expected"),
        ({"hard_pixels": 0}, "a share in .* is expected"),
        ({"label_smoothing": 1}, "label_smoothing=1; a number in"),
    ],
)
def test_bad_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        PixelCrossentropy(**argument)


def test_as_many_class_weights_as_classes(batch):
    with pytest.raises(ValueError, match="3 class_weights, 4 classes"):
        PixelCrossentropy(class_weights=[1.0, 2.0, 1.0])(*batch)


def test_sample_weights_are_refused(batch):
    with pytest.raises(ValueError, match="no sample weights"):
        PixelCrossentropy()(*batch, sample_weight=np.ones(3))
