"""Compressed label maps as Keras operations: the same as in NumPy, and a network learns them."""

import keras
import numpy as np
import pytest
from label_maps import voronoi

from keras_dup import projection
from keras_dup.projection._compression import LabelCompression

CLASSES, RATIO, VOID = 5, 8, 255


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    return projection.fit([voronoi(rng, 64, 72) for _ in range(8)], CLASSES, RATIO, 12)


def assert_equal_to_numpy(fitted, batch):
    wanted = np.stack([fitted.compress(label_map) for label_map in batch])
    found = keras.ops.convert_to_numpy(LabelCompression(fitted)(batch))
    # sums of r*r + 1 float32 numbers below 1 and of another order
    np.testing.assert_allclose(found, wanted, atol=RATIO**2 * 2e-7)


@pytest.mark.parametrize("size", [(64, 64), (61, 50), (7, 9), (16, 1)])
def test_it_equals_compress_on_label_maps_with_bands_of_void(fitted, size):
    rng = np.random.default_rng(1)
    assert_equal_to_numpy(fitted, np.stack([voronoi(rng, *size) for _ in range(3)]))


def test_it_equals_compress_where_labels_are_few_and_ties_many(fitted):
    rng = np.random.default_rng(2)
    for share in (0.3, 0.9, 0.99, 0.999):
        batch = rng.integers(0, CLASSES, (4, 45, 52)).astype(np.uint8)
        batch[rng.random(batch.shape) < share] = VOID
        assert_equal_to_numpy(fitted, batch)


def test_it_equals_compress_on_a_batch_without_void_and_on_void_alone(fitted):
    batch = voronoi(np.random.default_rng(3), 32, 40, void=False)[None]
    assert_equal_to_numpy(fitted, batch)
    assert not keras.ops.any(LabelCompression(fitted)(np.full((1, 20, 20), VOID)))


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="in tf.data run operations of TensorFlow only"
)
def test_a_pipeline_of_unknown_sizes_compresses_too(fitted):
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(4)
    label_maps = [voronoi(rng, *size) for size in ((30, 41), (64, 20))]
    spec = tf.TensorSpec((None, None, None), tf.uint8)
    batches = tf.data.Dataset.from_generator(
        lambda: (y[None] for y in label_maps), output_signature=spec
    )
    for label_map, found in zip(label_maps, batches.map(LabelCompression(fitted)), strict=True):
        np.testing.assert_allclose(found[0], fitted.compress(label_map), atol=2e-5)


def test_a_network_learns_compressed_labels_by_regression(fitted):
    label_maps = np.stack([voronoi(np.random.default_rng(i), 32, 32, void=False) for i in range(4)])
    images = np.eye(CLASSES, dtype=np.float32)[label_maps]
    image = keras.Input((32, 32, CLASSES))
    compressed = keras.layers.Conv2D(12, RATIO, RATIO, name="compressed")(image)
    features = keras.Model(image, compressed)
    features.compile(keras.optimizers.Adam(1e-2), "mse", jit_compile=False)
    targets = LabelCompression(fitted)(label_maps)
    losses = features.fit(images, targets, epochs=60, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 10  # P itself is among what this network can be


def test_an_auto_encoder_is_refused():
    with pytest.raises(TypeError, match="a LabelProjection is expected, not int"):
        LabelCompression(3)
