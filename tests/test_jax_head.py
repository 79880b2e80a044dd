"""The head in tiles on JAX, interpreted on a CPU: the ids, loss and gradients of the plain one."""

import functools

import keras
import numpy as np
import pytest
from gradients import gradients

jax = pytest.importorskip("jax")
from keras_dup import _packed_loss, export  # noqa: E402
from keras_dup._jax import head  # noqa: E402
from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling  # noqa: E402
from keras_dup.losses import PixelCrossentropy  # noqa: E402

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="of the JAX backend")
CHANNELS, CELLS = 6, (3, 5)


@pytest.fixture
def tiles(monkeypatch):
    """Runs the kernels, and what is given for other devices not at all."""
    used = []

    def on_gpu(tiled, elsewhere):
        used.append(tiled)
        return tiled()

    monkeypatch.setattr(head, "on_gpu", on_gpu)
    for name in ("class_ids", "loss_and_slopes"):
        monkeypatch.setattr(head, name, functools.partial(getattr(head, name), interpret=True))
    return used


def layers(classes, ratio):
    upsampling, softmax = DUpsampling(classes, ratio), AdaptiveTemperatureSoftmax(0.3)
    softmax(upsampling(np.zeros((1, 1, 1, CHANNELS), "float32")))
    upsampling.bias.assign(np.random.default_rng(2).normal(0, 1, upsampling.bias.shape))
    return upsampling, softmax


def features():
    return np.random.default_rng(0).normal(0, 1, (2, *CELLS, CHANNELS)).astype("float32")


@pytest.mark.parametrize(("classes", "ratio"), [(21, 8), (150, 4), (2, 32)])
def test_class_ids_are_those_of_the_path_without_a_kernel(classes, ratio, tiles):
    x = keras.Input((*CELLS, CHANNELS))
    upsampling, softmax = layers(classes, ratio)
    model = export.fold(keras.Model(x, softmax(upsampling(x))))
    packed = model.layers[1]
    expected = np.argmax(upsampling(features()), axis=-1)
    np.testing.assert_array_equal(model(features()), expected)
    assert tiles
    np.testing.assert_array_equal(packed._in_rows(features())[..., 0], expected)


def test_of_equal_scores_the_first_class_counts(tiles):
    ids = head.class_ids(np.zeros((2, 4), "f4"), np.ones((3, 4, 4), "f4"), np.ones((3, 4), "f4"))
    assert not ids.any()


@pytest.mark.parametrize(
    ("classes", "ratio", "options"),
    [
        (21, 4, {}),
        (5, 16, {"label_smoothing": 0.1}),
        (3, 8, {"hard_pixels": 0.3, "class_weights": [1, 2, 0.5]}),
    ],
)
def test_the_loss_and_its_gradients_are_those_of_windows_in_parts(
    classes, ratio, options, tiles, monkeypatch
):
    upsampling, softmax = layers(classes, ratio)
    size = [cells * ratio - 3 for cells in CELLS]
    labels = np.random.default_rng(1).integers(0, classes, (2, *size))
    labels[0, :5] = 255
    loss = PixelCrossentropy(from_logits=True, **options)

    def packed(x, log_temperature):
        with keras.StatelessScope([(softmax.log_temperature, log_temperature)]):
            return _packed_loss.packed_loss(loss, upsampling, softmax, labels, x)

    values = [features(), np.float32(-1.2)]
    found = gradients(packed, values)
    assert tiles
    monkeypatch.setattr(_packed_loss._Windows, "_tiles", lambda *arguments: False)
    expected = gradients(packed, values)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def test_a_program_for_a_gpu_has_the_kernel_and_one_for_a_cpu_has_not():
    upsampling, softmax = layers(3, 4)
    x = keras.Input((*CELLS, CHANNELS))
    model = export.fold(keras.Model(x, softmax(upsampling(x))))
    labels = np.zeros((2, *(4 * cells for cells in CELLS)), "int32")
    loss = PixelCrossentropy(from_logits=True)

    def packed(x):
        return _packed_loss.packed_loss(loss, upsampling, softmax, labels, x)

    for function in (lambda x: model(x), jax.grad(packed)):
        for platform, kernels in (("cuda", 1), ("cpu", 0)):
            traced = jax.jit(function).trace(features())
            program = traced.lower(lowering_platforms=(platform,)).as_text()
            assert program.count("@__gpu$xla.gpu.triton") == kernels, platform


def test_focal_loss_a_trained_w_many_channels_and_several_devices_take_the_path_without_a_kernel(
    tiles, monkeypatch
):
    assert not head.fits(np.zeros((1, 1, 1, 256))) and head.fits(np.zeros((1, 1, 1, 128)))
    labels = np.zeros((2, *(4 * cells for cells in CELLS)), "int32")
    for trainable, gamma in ((True, 0.0), (False, 2.0)):
        upsampling, softmax = layers(3, 4)
        upsampling.trainable = trainable
        loss = PixelCrossentropy(from_logits=True, gamma=gamma)
        _packed_loss.packed_loss(loss, upsampling, softmax, labels, features())
    assert not tiles
    several = keras.distribution.DataParallel(devices=keras.distribution.list_devices()[:1])
    monkeypatch.setattr(keras.distribution, "distribution", lambda: several)
    assert not head.fits(features())
