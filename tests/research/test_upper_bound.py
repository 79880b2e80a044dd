"""Networks that are fed label maps: what they see, what they are, a run from masks alone."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_dup import data, models, training
from keras_dup.training import _distribution
from research import upper_bound

TINY = training.Recipe(
    name="tiny",
    num_classes=7,
    train_count=8,
    val_count=2,
    network="research.upper_bound:network",
    datasets="research.upper_bound:datasets",
    decoder="dupsampling",
    channels=8,
    crop_size=(32, 32),
    batch_size=4,
    steps=4,
    steps_per_epoch=4,
    learning_rate=0.01,
    devices=("cpu:0",),
)


def test_class_ids_become_one_hot_and_void_becomes_nothing():
    ids = np.array([[0, 2], [6, 255]])
    image = np.repeat(ids[None, :, :, None], 3, -1).astype("float32")
    expected = np.zeros((1, 2, 2, 7))
    for row, column in ((0, 0), (0, 1), (1, 0)):
        expected[0, row, column, ids[row, column]] = 1
    np.testing.assert_array_equal(upper_bound.OneHot(7)(image), expected)


@pytest.mark.parametrize("devices", [("cpu:0",), ("cpu:0", "cpu:1")])
def test_images_of_batches_are_their_label_maps_whatever_augmentation_did(devices):
    strategy = _distribution.strategy(devices)
    dataset = upper_bound.LabelImages(data.Shapes(4, (64, 64)))
    batches = _distribution.train_batches(strategy, dataset, 4, crop_size=(48, 40))
    image, label_map = (
        np.concatenate([part.numpy() for part in strategy.experimental_local_results(parts)])
        for parts in next(iter(batches))
    )
    assert image.shape == (4, 48, 40, 3) and set(np.unique(label_map)) <= {*range(7), 255}
    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], label_map)


def test_pictures_to_validate_on_are_their_label_maps():
    truth = data.Shapes(2, (32, 32), seed=1)
    _, val = training.datasets(TINY)
    assert len(val) == 2 and val.class_names == truth.class_names
    np.testing.assert_array_equal(val.image(1)[..., 2], truth.label_map(1))
    np.testing.assert_array_equal(list(val.label_maps())[1], val.label_map(1))


@pytest.mark.parametrize("decoder", ["dupsampling", "bilinear"])
@pytest.mark.parametrize(("stride", "convolutions"), [(16, 4), (32, 5)])
def test_the_network_is_strided_convolutions_and_the_upsampling(decoder, stride, convolutions):
    config = dataclasses.replace(TINY, decoder=decoder, output_stride=stride)
    model = training.build_network(config)
    kernels = [x.kernel_size for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert kernels == [(3, 3)] * convolutions + [(1, 1)]
    y = model(np.full((1, 50, 70, 3), 255, "float32"))
    assert y.shape == (1, 50, 70, 7)
    np.testing.assert_allclose(keras.ops.sum(y, -1), 1, rtol=1e-5)


def test_its_layers_are_all_new():
    config = dataclasses.replace(TINY, num_classes=21, new_layers_variance=0.01)
    model = training.build_network(config)
    for name in ("label_encoder_1_conv", "label_encoder_4_conv", "compressed"):
        assert model.get_layer(name).kernel.numpy().std() == pytest.approx(0.1, rel=0.05)


def test_masks_alone_are_enough_for_a_run(tmp_path, monkeypatch):
    shapes = data.Shapes(8, (40, 40))
    for i in range(8):
        data.save_label_map(tmp_path / f"{i}.png", shapes.label_map(i))
    (tmp_path / "val.txt").write_text("6\n7\n")
    monkeypatch.setenv("KERAS_DUP_DATA", str(tmp_path))
    config = dataclasses.replace(TINY, train_masks=".", val_names="val.txt")
    report = training.train(config, tmp_path / "run")
    assert report["images"] == 2 and 0 <= report["miou"] <= 1
    model = models.load(tmp_path / "run" / "model.keras")
    assert model.name == "label_encoder_dupsampling"
