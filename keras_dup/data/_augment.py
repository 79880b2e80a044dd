"""The paper's augmentation: random scale, left-right flip, random crop (Sec. 4); more by name.

In TensorFlow's graph; `_augment_numpy.py` has it for the other backends.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_dup._augmentations import check_augmentation
from keras_dup._label_maps import VOID
from keras_dup.data._crop import MEAN_COLOUR, crop_shape
from keras_dup.data._effects import change_colours, change_places, uniform

__all__ = ["augment"]


def augment(
    image: np.ndarray | tf.Tensor,
    label_map: np.ndarray | tf.Tensor,
    crop_size: int | tuple[int, int],
    seed: tuple[int, int] | tf.Tensor,
    scale_range: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    augmentation: Sequence[str] = (),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales, flips and crops an image and its label map alike (Tian et al. 2019, Sec. 4).

    The crop is cut first, a window of whole pixels, and scaled alone, so the cost does not grow
    with the image and the scale is the drawn one up to half a pixel of the window. The image is
    scaled bilinearly, the label map by nearest neighbour, both on the grid of `tf.image.resize`.
    Where the scaled image is smaller than the crop it lies at random within it, the rest is
    mid-grey (127) in the image and void (255) in the label map.

    Args:
        image: (H, W, 3), 0..255, any number type.
        label_map: (H, W) class ids, 255 = void, any integer type that holds 255.
        crop_size: an integer, or (height, width).
        seed: two integers; the outcome is a pure function of the arguments and these.
        scale_range: smallest and largest scale, drawn uniformly.
        flip: whether every second crop, at random, is flipped left-right.
        augmentation: names of more effects, as in `train_batches`.

    Returns: image float32 (height, width, 3) in 0..255, label map int32 (height, width).
    """
    crop = crop_shape(crop_size)
    check_augmentation(augmentation)
    window = _draw_window(tf.shape(label_map), crop, seed, scale_range, flip)
    scaled = change_colours(_scale_image(image, window), augmentation, seed)
    padded = _pad(scaled, window, crop, MEAN_COLOUR)
    return change_places(padded, _scale_label_map(label_map, window, crop), augmentation, seed)


class _Window(NamedTuple):
    """What of a picture a crop shows and where: int32 (2,) each, rows and columns."""

    begin: tf.Tensor  # first source pixel
    size: tf.Tensor  # source pixels
    scaled_size: tf.Tensor  # pixels of the crop that show them
    padding: tf.Tensor  # pixels of the crop before those
    flipped: tf.Tensor  # a truth value


def _draw_window(size, crop, seed, scale_range, flip):
    draws = uniform([4], seed)
    scale = scale_range[0] + draws[0] * (scale_range[1] - scale_range[0])
    size, crop = tf.cast(size, tf.float32), tf.constant(crop, tf.float32)
    whole = tf.maximum(1.0, tf.round(size * scale))
    scaled = tf.minimum(whole, crop)
    taken = tf.maximum(1.0, tf.round(scaled * size / whole))
    places = (_place(size - taken, draws[1:3]), taken, scaled, _place(crop - scaled, draws[1:3]))
    return _Window(*(tf.cast(place, tf.int32) for place in places), flip & (draws[3] < 0.5))


def _place(slack, draws):
    # Of slack + 1 places each is as likely; a draw just below 1 may round up to one more.
    return tf.minimum(tf.floor(draws * (slack + 1.0)), slack)


def _scale_image(image, window):
    begin, size = tf.concat([window.begin, [0]], 0), tf.concat([window.size, [3]], 0)
    taken = tf.slice(image, begin, size)
    taken = tf.cond(window.flipped, lambda: tf.reverse(taken, [1]), lambda: taken)
    return tf.image.resize(taken, window.scaled_size)


def _scale_label_map(label_map, window, crop):
    rows, columns = _nearest(window, 0), _nearest(window, 1)
    columns = tf.cond(window.flipped, lambda: columns[::-1], lambda: columns)
    taken = tf.slice(label_map, window.begin, window.size)
    # Columns first: most scales enlarge, so there are fewer rows now than later.
    scaled = tf.gather(tf.gather(taken, columns, axis=1), rows)
    return tf.cast(_pad(scaled, window, crop, VOID), tf.int32)


def _nearest(window, axis):
    """Which pixel of the window each of the scaled ones is: (scaled_size[axis],) int32."""
    size, scaled = window.size[axis], window.scaled_size[axis]
    step = tf.cast(size, tf.float32) / tf.cast(scaled, tf.float32)
    nearest = tf.cast((tf.range(scaled, dtype=tf.float32) + 0.5) * step, tf.int32)
    return tf.minimum(nearest, size - 1)


def _pad(scaled, window, crop, value):
    padding = tf.stack([window.padding, crop - window.scaled_size - window.padding], 1)
    colours = scaled.shape[2:]
    padding = tf.pad(padding, [[0, len(colours)], [0, 0]])
    padded = tf.pad(scaled, padding, constant_values=tf.constant(value, scaled.dtype))
    return tf.ensure_shape(padded, (*crop, *colours))
