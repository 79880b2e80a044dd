"""The paper's augmentation: random scale, left-right flip, random crop (Sec. 4)."""

import numpy as np
import tensorflow as tf

from keras_dup.data.files import VOID

MEAN_COLOUR = 127.0
"""What fills the image where there is none: mid-grey, near zero after preprocessing."""


def augment(image, label_map, crop_size, seed, scale_range=(0.5, 2.0), flip=True):
    """Scales, flips and crops an image and its label map alike (Tian et al. 2019, Sec. 4).

    Only the pixels of the crop are ever sampled, so the cost does not grow with the image. The
    image is sampled bilinearly, the label map by nearest neighbour, both on the grid of
    `tf.image.resize`. Where the scaled image is smaller than the crop it lies at random within
    it, the rest is mid-grey (127) in the image and void (255) in the label map.

    Args:
        image: (H, W, 3), 0..255, any number type.
        label_map: (H, W) class ids, 255 = void, any integer type.
        crop_size: an integer, or (height, width).
        seed: two integers; the outcome is a pure function of the arguments and these.
        scale_range: smallest and largest scale, drawn uniformly.
        flip: whether every second crop, at random, is flipped left-right.

    Returns: image float32 (height, width, 3) in 0..255, label map int32 (height, width).
    """
    height, width = crop_shape(crop_size)
    draws = tf.random.stateless_uniform([4], seed, alg="philox")
    scale = scale_range[0] + draws[0] * (scale_range[1] - scale_range[0])
    rows = _sample_grid(tf.shape(label_map)[0], height, scale, draws[1])
    columns = _sample_grid(tf.shape(label_map)[1], width, scale, draws[2])
    if flip:
        columns = tf.where(draws[3] < 0.5, columns[::-1], columns)
    return _bilinear(image, rows, columns), _nearest(label_map, rows, columns)


def crop_shape(crop_size):
    """Returns (height, width) of `crop_size`, an integer or a pair; ValueError if not positive."""
    shape = tuple(np.broadcast_to(crop_size, 2).tolist()) if np.size(crop_size) <= 2 else ()
    if not shape or min(shape) < 1:
        raise ValueError(f"crop_size is a positive integer or (height, width), not {crop_size}")
    return shape


def _sample_grid(length, crop, scale, draw):
    """Where in the source, in pixels, each of `crop` pixels samples: (crop,) float32."""
    scaled = tf.maximum(1.0, tf.round(tf.cast(length, tf.float32) * scale))
    slack = scaled - crop  # negative where the crop is larger
    low, high = tf.minimum(slack, 0.0), tf.maximum(slack, 0.0)
    offset = tf.minimum(tf.floor(low + draw * (high - low + 1.0)), high)
    return (tf.range(crop, dtype=tf.float32) + offset + 0.5) * (
        tf.cast(length, tf.float32) / scaled
    ) - 0.5


def _inside(positions, length):
    # A pixel is half a step wide on either side of its centre; the outermost count as inside.
    return (positions >= -0.5) & (positions < tf.cast(length, tf.float32) - 0.5)


def _nearest(label_map, rows, columns):
    height, width = tf.unstack(tf.shape(label_map))
    row = tf.clip_by_value(tf.cast(tf.floor(rows + 0.5), tf.int32), 0, height - 1)
    column = tf.clip_by_value(tf.cast(tf.floor(columns + 0.5), tf.int32), 0, width - 1)
    sampled = tf.cast(tf.gather(tf.gather(label_map, row), column, axis=1), tf.int32)
    inside = _inside(rows, height)[:, None] & _inside(columns, width)
    return tf.where(inside, sampled, VOID)


def _bilinear(image, rows, columns):
    height, width = tf.unstack(tf.shape(image)[:2])
    sampled = _blend(_blend(image, rows, height, axis=0), columns, width, axis=1)
    inside = _inside(rows, height)[:, None] & _inside(columns, width)
    return tf.where(inside[..., None], sampled, MEAN_COLOUR)


def _blend(image, positions, length, axis):
    """Samples (H, W, 3) at fractional positions along one axis, edge pixels repeated."""
    low = tf.floor(positions)
    weight = tf.reshape(positions - low, [-1, 1, 1] if axis == 0 else [1, -1, 1])
    low = tf.cast(low, tf.int32)
    before = tf.gather(image, tf.clip_by_value(low, 0, length - 1), axis=axis)
    after = tf.gather(image, tf.clip_by_value(low + 1, 0, length - 1), axis=axis)
    before, after = tf.cast(before, tf.float32), tf.cast(after, tf.float32)
    return before + weight * (after - before)
