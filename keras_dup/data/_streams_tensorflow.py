"""Batches by tf.data, for the TensorFlow backend."""

import tensorflow as tf

from keras_dup._label_maps import VOID
from keras_dup.data._augment import augment
from keras_dup.data._crop import MEAN_COLOUR

__all__ = ["augment", "eval_stream", "train_stream"]


def train_stream(item, of_whole, batch_size, start_step, seed, window, whole):
    """Endless augmented batches.

    Args:
        item: k -> image, label map.
        of_whole: number of an element of a worker's part -> k.
        batch_size, start_step, seed: as in `train_batches`; of a worker's part.
        window: crop_size, scale_range, flip, augmentation.
        whole: whether this is all of a batch, not a worker's part.
    """
    crop_size, *options = window

    def element(number):
        k = of_whole(number)
        image, label_map = _call(item, k)
        return augment(image, label_map, crop_size, tf.stack([seed, k]), *options)

    numbers = tf.data.Dataset.counter(start=start_step * batch_size)
    elements = numbers.map(element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _finish(elements.batch(batch_size, drop_remainder=True), whole)


def eval_stream(item, count, batch_size, size):
    """All items once; padded to a size, if there is one."""

    def element(i):
        image, label_map = _call(item, i)
        return tf.cast(image, tf.float32), tf.cast(label_map, tf.int32)

    numbers = tf.data.Dataset.range(count)
    elements = numbers.map(element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if size is None:
        return _finish(elements.batch(1, drop_remainder=True))
    shapes = ((*size, 3), tuple(size))
    return _finish(elements.padded_batch(batch_size, shapes, (MEAN_COLOUR, VOID)))


def _call(function, k):
    """Runs a Python function of a number inside the graph: -> image, label map, both uint8."""
    image, label_map = tf.numpy_function(function, [k], (tf.uint8, tf.uint8), stateful=False)
    return tf.ensure_shape(image, (None, None, 3)), tf.ensure_shape(label_map, (None, None))


def _finish(batches, whole=True):
    # One list of items for all replicas: sharding by files, the default, has no files to go by.
    policy = tf.data.experimental.AutoShardPolicy
    options = tf.data.Options()
    # Autotuning looks again every minute, and a process that ends waits for that. Without it there
    # is a call for each core.
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = policy.DATA if whole else policy.OFF
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)
