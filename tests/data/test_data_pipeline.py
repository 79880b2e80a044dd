"""From a data set to batches."""

import os
import subprocess
import sys
import time
from itertools import islice

import numpy as np
import pytest
import tensorflow as tf
from coded import Coded, Numbered, assert_same_batches
from PIL import Image

from keras_dup.data import (
    VOID,
    Folder,
    eval_batches,
    save_label_map,
    train_batches,
)
from keras_dup.data._augment import augment

# Batches to train on


def test_training_batches_have_static_shapes():
    batches = train_batches(Coded(5), 4, (32, 48))
    image, label_map = batches.element_spec
    assert image.shape == (4, 32, 48, 3) and image.dtype == tf.float32
    assert label_map.shape == (4, 32, 48) and label_map.dtype == tf.int32
    assert train_batches(Coded(5), 4, 32).element_spec[1].shape == (4, 32, 32)
    assert batches.cardinality() == tf.data.INFINITE_CARDINALITY


def test_a_process_that_ends_does_not_wait_for_autotuning():
    for batches in (train_batches(Coded(5), 4, (32, 48)), eval_batches(Coded(5))):
        assert batches.options().autotune.enabled is False


def test_a_stream_resumed_at_a_step_goes_on_as_if_it_had_not_stopped():
    data = Coded(5)
    full = list(islice(train_batches(data, 4, 32, seed=7), 8))
    resumed = list(islice(train_batches(data, 4, 32, seed=7, start_step=3), 5))
    assert_same_batches(full[3:], resumed)
    other = next(iter(train_batches(data, 4, 32, seed=8)))
    assert (other[0] != full[0][0]).numpy().any()


def test_resuming_reads_nothing_of_what_it_skips():
    class Counting(Coded):
        reads = 0

        def image(self, i):
            self.reads += 1
            return super().image(i)

    data = Counting(5)
    next(iter(train_batches(data, 2, 8, start_step=100_000)))
    assert data.reads < 100  # a few batches ahead


def test_every_epoch_visits_every_item_once_in_an_order_of_its_own():
    batches = train_batches(Numbered(9), 6, 8, seed=1, scale_range=(1.0, 1.0))
    items = np.concatenate([label_map[:, 0, 0] for _, label_map in islice(batches, 6)])
    epochs = items.reshape(4, 9)
    assert (np.sort(epochs, 1) == np.arange(9)).all()
    assert len(np.unique(epochs, axis=0)) == 4


def test_items_that_take_longer_to_read_keep_their_place():
    class Uneven(Numbered):
        def image(self, i):
            time.sleep(0.02 * (i % 3 == 0))
            return super().image(i)

    batches = eval_batches(Uneven(12), size=(8, 8))  # the other paths are fused with batch()
    assert [int(label_map[0, 0, 0]) for _, label_map in batches] == list(range(12))
    stream = train_batches(Uneven(12), 12, 8, seed=2, scale_range=(1.0, 1.0))
    order = np.random.default_rng((2, 0)).permutation(12)
    np.testing.assert_array_equal(next(iter(stream))[1][:, 0, 0], order)


def test_element_k_is_item_k_of_the_epochs_permutation_augmented_with_seed_and_k():
    data = Coded(3)
    images, label_maps = zip(*islice(train_batches(data, 2, 40, seed=11), 4), strict=True)
    images, label_maps = np.concatenate(images), np.concatenate(label_maps)
    for k in range(8):
        i = np.random.default_rng((11, k // 3)).permutation(3)[k % 3]
        image, label_map = augment(data.image(i), data.label_map(i), 40, (11, k))
        np.testing.assert_array_equal(label_maps[k], label_map)
        np.testing.assert_allclose(images[k], image, atol=1e-3)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_parts_of_all_workers_make_the_batch_of_one_process(workers):
    data = Coded(5)
    whole = islice(train_batches(data, 6, 32, seed=7, start_step=2), 3)
    shards = [(worker, workers) for worker in range(workers)]
    streams = [train_batches(data, 6, 32, seed=7, start_step=2, shard=shard) for shard in shards]
    assert streams[0].element_spec[0].shape == (6 // workers, 32, 32, 3)
    parts = zip(*streams, strict=True)
    joined = [
        [np.concatenate(each) for each in zip(*step, strict=True)] for step in islice(parts, 3)
    ]
    assert_same_batches(whole, joined)


def test_a_worker_reads_its_own_part_alone():
    class Watched(Numbered):
        def __init__(self, count):
            super().__init__(count)
            self.read = set()

        def image(self, i):
            self.read.add(int(i))
            return super().image(i)

    data = Watched(200)
    next(iter(train_batches(data, 4, 8, shard=(1, 2))))
    order = np.random.default_rng((0, 0)).permutation(200)
    assert data.read <= {int(i) for step in range(0, 200, 4) for i in order[step + 2 : step + 4]}


def test_a_shard_that_is_none_is_an_error():
    for shard in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match=r"shard is \(worker, workers\)"):
            train_batches(Coded(5), 4, 8, shard=shard)
    with pytest.raises(ValueError, match="batch_size 4 does not divide among 3 workers"):
        train_batches(Coded(5), 4, 8, shard=(0, 3))


def test_an_empty_data_set_or_batch_is_an_error():
    for data, batch_size in ((Coded(0), 2), (Coded(2), 0)):
        with pytest.raises(ValueError, match="must be positive"):
            train_batches(data, batch_size, 8)
        with pytest.raises(ValueError, match="must be positive"):
            eval_batches(data, batch_size)


@pytest.fixture
def faulty(tmp_path):
    for name in "ab":
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.jpg")
        save_label_map(tmp_path / f"{name}.png", np.full((32, 32), 37 if name == "b" else 1))
    (tmp_path / "images").mkdir()
    for name in "ab":
        (tmp_path / f"{name}.jpg").rename(tmp_path / "images" / f"{name}.jpg")
    return Folder(tmp_path / "images", tmp_path, num_classes=21)


def test_a_fault_in_a_file_reaches_the_user_with_its_name(faulty):
    for batches in (train_batches(faulty, 2, 16), eval_batches(faulty)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"b\.png: class id 37"):
            list(islice(batches, 3))


def test_an_image_and_a_label_map_of_different_sizes_are_an_error():
    class Crooked(Coded):
        def image(self, i):
            return super().image(i)[1:]

    with pytest.raises(tf.errors.InvalidArgumentError, match=r"item 0: image \(59, 80, 3\)"):
        next(iter(eval_batches(Crooked(1))))


# Batches to evaluate on


def test_evaluation_visits_every_item_once_in_order_as_it_is():
    data = Coded(5)
    batches = eval_batches(data)
    assert [spec.shape.as_list() for spec in batches.element_spec] == [
        [1, None, None, 3],
        [1, None, None],
    ]
    got = list(batches)
    assert len(got) == 5
    for i, (image, label_map) in enumerate(got):
        np.testing.assert_array_equal(image[0], data.image(i))
        np.testing.assert_array_equal(label_map[0], data.label_map(i))
        assert image.dtype == tf.float32 and label_map.dtype == tf.int32


def test_evaluation_in_batches_pads_with_void_and_mid_grey():
    data = Coded(5)
    (first, first_labels), (_, last_labels) = eval_batches(data, batch_size=3, size=(101, 90))
    assert first.shape == (3, 101, 90, 3) and last_labels.shape == (2, 101, 90)
    np.testing.assert_array_equal(first[0, :60, :80], data.image(0))
    np.testing.assert_array_equal(last_labels[1, :80, :80], data.label_map(4))
    assert (first.numpy()[0, 60:] == 127).all() and (first.numpy()[0, :, 80:] == 127).all()
    assert (last_labels.numpy()[1, 80:] == VOID).all()
    assert (first_labels.numpy()[:, :, 80:] == VOID).all()
    with pytest.raises(ValueError, match="needs size"):
        eval_batches(data, batch_size=2)


def test_two_replicas_train_on_the_stream():
    script = """
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from keras_dup.data import Shapes, eval_batches, train_batches
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
with strategy.scope():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(7, 1)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(keras.optimizers.SGD(1e-6), loss)
data = Shapes(6, (64, 64))
batches = strategy.experimental_distribute_dataset(train_batches(data, 4, 32))
parts = strategy.experimental_local_results(next(iter(batches))[1])
whole = next(iter(train_batches(data, 4, 32)))[1]
np.testing.assert_array_equal(np.concatenate(parts), whole)
history = model.fit(train_batches(data, 4, 32), steps_per_epoch=3, verbose=0)
assert np.isfinite(history.history["loss"][0])
print("trained on", strategy.num_replicas_in_sync)
"""
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert "trained on 2" in done.stdout, done.stderr
