"""From a data set to batches: an exactly resumable stream to train on, a pass to evaluate on.

A data set is any `keras_dup.data.Dataset`; here its `len()`, `image` and `label_map` are enough.
Batches are made by tf.data on the TensorFlow backend, by Python threads elsewhere.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_dup._augmentations import check_augmentation
from keras_dup.data._crop import crop_shape
from keras_dup.data._protocol import Dataset

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["epoch_order", "eval_batches", "streams", "train_batches"]


def train_batches(
    data: Dataset,
    batch_size: int,
    crop_size: int | tuple[int, int],
    seed: int = 0,
    start_step: int = 0,
    scale_range: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    shard: tuple[int, int] = (0, 1),
    augmentation: Sequence[str] = (),
) -> "tf.data.Dataset | keras.utils.PyDataset":
    """Returns endless augmented batches for `model.fit`.

    They are a `tf.data.Dataset` on the TensorFlow backend and a `keras.utils.PyDataset` on others,
    which `fit` reads ahead in threads.

    Element k of the stream (step k // batch_size) is item k % n of epoch k // n, in that epoch's
    own order, augmented with seed (seed, k). It depends on nothing else, so a run that was cut
    off after s steps goes on with `start_step=s` exactly as if it had not been, and reads
    nothing of what it skips. Batches run across the end of an epoch. (TensorFlow draws other
    numbers from a seed than NumPy, which the other backends take.)

    Args:
        data: the data set.
        batch_size: over all replicas and workers together.
        crop_size, scale_range, flip: as in `augment`.
        seed: an integer >= 0.
        start_step: the number of batches to skip.
        shard: (worker, workers): yields that worker's part of every batch and reads nothing else;
            the parts of workers 0, 1, ... one after the other are the batch of one process. For
            `tf.distribute.Strategy.distribute_datasets_from_function`, which shards no more.
        augmentation: names of more effects, each drawn anew for every element. Void stays void.
            "color_jitter": brightness +-32 of 255, contrast and saturation x 0.75 to 1.25, hue +-18
            degrees; "grayscale": one image in five; "gaussian_blur": every second image, 0.1 to 1.5
            pixels; "rotation": by up to 10 degrees, corners become mid-grey and void; "erasing":
            every second image loses up to four rectangles, whose labels stay.

    Yields: image float32 (B, height, width, 3) in 0..255, label map int32 (B, height, width), with
    B = batch_size / workers. Errors from reading an item reach the consumer with their message.
    """
    _check_positive(data, batch_size)
    crop_shape(crop_size)
    check_augmentation(augmentation)
    part = _part(batch_size, shard)
    order = lru_cache(4)(lambda epoch: epoch_order(len(data), seed, epoch))

    def item(k):
        epoch, place = divmod(int(k), len(data))
        return _read_pair(data, order(epoch)[place])

    def of_whole(number):
        """k of an element of this worker's part; `number` may be a tensor."""
        return number // part * batch_size + shard[0] * part + number % part

    window = crop_size, scale_range, flip, augmentation
    whole = shard[1] == 1
    return streams().train_stream(item, of_whole, part, start_step, seed, window, whole)


def eval_batches(
    data: Dataset, batch_size: int = 1, size: tuple[int, int] | None = None
) -> "tf.data.Dataset | keras.utils.PyDataset":
    """Returns batches of all items once, in order, as they are; of a kind as `train_batches`.

    Args:
        data: the data set.
        batch_size: more than 1 needs `size`.
        size: (height, width), at least that of the largest item, to which all are padded at the
            bottom and the right, images with mid-grey, label maps with void; None for no padding.

    Yields: image float32 (B, H, W, 3) in 0..255, label map int32 (B, H, W).
    """
    _check_positive(data, batch_size)
    if batch_size > 1 and size is None:
        raise ValueError("batch_size > 1 needs size=(height, width): items may differ in size")
    return streams().eval_stream(lambda i: _read_pair(data, int(i)), len(data), batch_size, size)


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of the n items in an epoch, a permutation (n,), the same every time."""
    return np.random.default_rng((seed, epoch)).permutation(n)


def streams() -> Any:
    """The module that makes batches on this backend."""
    if keras.backend.backend() == "tensorflow":
        from keras_dup.data import _streams_tensorflow

        return _streams_tensorflow
    from keras_dup.data import _streams_python

    return _streams_python


def _part(batch_size, shard):
    """The size of a worker's part of a batch; ValueError if there is no such part."""
    worker, workers = shard
    if not 0 <= worker < workers:
        raise ValueError(f"shard is (worker, workers) with worker 0..workers - 1, not {shard}")
    if batch_size % workers:
        raise ValueError(f"batch_size {batch_size} does not divide among {workers} workers")
    return batch_size // workers


def _read_pair(data, i):
    image, label_map = data.image(i), data.label_map(i)
    if image.shape[:2] != label_map.shape:
        raise ValueError(f"item {i}: image {image.shape}, but label map {label_map.shape}")
    return image, label_map


def _check_positive(data, batch_size):
    if len(data) < 1 or batch_size < 1:
        raise ValueError(f"{len(data)} items in batches of {batch_size}: both must be positive")
