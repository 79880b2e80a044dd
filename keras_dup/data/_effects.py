"""Augmentation that is asked for by name: of colours, by rotation, by erasing; in TensorFlow.

Keras's random layers and `tf.image` have the same effects. What changes places is written here with
TensorFlow's own operations: it fills label maps with void, which Keras fills with class 0, and each
draw depends on a seed alone, so that a run goes on after a stop as if there had been none.
"""

import zlib
from collections.abc import Callable, Iterable

import tensorflow as tf

from keras_dup._label_maps import VOID
from keras_dup.data._crop import MEAN_COLOUR

__all__ = ["COLOUR", "PLACE", "change_colours", "change_places", "uniform"]

_REACH = 4  # pixels of the blur, on either side
_HOLES = 4


def change_colours(image: tf.Tensor, names: Iterable[str], seed: tf.Tensor) -> tf.Tensor:
    """An image (H, W, 3) in 0..255, float32, after the effects of `COLOUR` that are named."""
    for name, effect in COLOUR.items():
        if name in names:
            image = effect(image, _seed(seed, name))
    return image


def change_places(
    image: tf.Tensor, label_map: tf.Tensor, names: Iterable[str], seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """An image and its label map, int32, after the effects of `PLACE` that are named."""
    for name, effect in PLACE.items():
        if name in names:
            image, label_map = effect(image, label_map, _seed(seed, name))
    return image, label_map


def _seed(seed, name):
    """A seed for one effect, so that the draws of one do not hang on the others."""
    number = zlib.crc32(name.encode()) & 0x7FFFFFFF
    return tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int32), number, "philox")


def uniform(shape, seed):
    """Draws of [0, 1), the same for the same seed."""
    return tf.random.stateless_uniform(shape, seed, alg="philox")


def _color_jitter(image, seed):
    """Brightness +-32 of 255, contrast and saturation x 0.75..1.25, hue +-18 degrees."""
    draws = tf.unstack(uniform([4], seed))
    brightness, contrast, saturation, hue = (2 * draw - 1 for draw in draws)
    image = image / 255 + brightness * 32 / 255
    mean = tf.reduce_mean(image, (0, 1))
    image = tf.clip_by_value((image - mean) * (1 + 0.25 * contrast) + mean, 0.0, 1.0)
    image = tf.image.adjust_saturation(image, 1 + 0.25 * saturation)
    return 255 * tf.clip_by_value(tf.image.adjust_hue(image, 0.05 * hue), 0.0, 1.0)


def _grayscale(image, seed):
    """One image in five becomes grey."""
    grey = uniform([], seed) < 0.2
    return tf.cond(grey, lambda: tf.repeat(tf.image.rgb_to_grayscale(image), 3, 2), lambda: image)


def _gaussian_blur(image, seed):
    """Every second image, with a standard deviation of 0.1 to 1.5 pixels."""
    draws = uniform([2], seed)
    return tf.cond(draws[0] < 0.5, lambda: _blurred(image, 0.1 + 1.4 * draws[1]), lambda: image)


def _blurred(image, deviation):
    places = tf.range(-_REACH, _REACH + 1, dtype=tf.float32)
    kernel = tf.nn.softmax(-0.5 * (places / deviation) ** 2)  # a Gaussian whose sum is 1
    for axis in (0, 1):
        size = tf.shape(image)[axis]
        beyond = tf.clip_by_value(tf.range(-_REACH, size + _REACH), 0, size - 1)
        shape = [1, 1, 1, 1]
        shape[axis] = 2 * _REACH + 1
        weights = tf.tile(tf.reshape(kernel, shape), [1, 1, 3, 1])
        padded = tf.gather(image, beyond, axis=axis)[None]
        image = tf.nn.depthwise_conv2d(padded, weights, (1, 1, 1, 1), "VALID")[0]
    return image


def _rotation(image, label_map, seed):
    """By up to 10 degrees about the centre; corners become mid-grey and void."""
    angle = (2 * uniform([], seed) - 1) * 3.14159265 / 18
    sine, cosine = tf.sin(angle), tf.cos(angle)
    height, width = (tf.cast(side, tf.float32) for side in label_map.shape)
    y, x = (height - 1) / 2, (width - 1) / 2
    row, column = (
        [cosine, -sine, x - cosine * x + sine * y],
        [sine, cosine, y - sine * x - cosine * y],
    )
    transform = tf.stack([*row, *column, 0.0, 0.0])[None]

    def turned(pixels, fill, interpolation):
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels[None],
            transforms=transform,
            output_shape=tf.shape(pixels)[:2],
            fill_value=fill,
            interpolation=interpolation,
            fill_mode="CONSTANT",
        )[0]

    ids = turned(label_map[..., None], float(VOID), "NEAREST")[..., 0]
    return turned(image, MEAN_COLOUR, "BILINEAR"), ids


def _erasing(image, label_map, seed):
    """Every second image loses up to four rectangles with sides of 1/16 to 1/4 of its own.

    They are mid-grey. The labels stay: the network is to tell from what is around.
    """
    draws = uniform([1 + 4 * _HOLES], seed)
    erased = tf.zeros(label_map.shape, tf.bool)
    for hole in tf.unstack(tf.reshape(draws[1:], (_HOLES, 4))):
        within = []
        for axis, side in enumerate(label_map.shape):
            length = (1 / 16 + 3 / 16 * hole[axis]) * side
            first = hole[2 + axis] * (side - length)
            place = tf.range(side, dtype=tf.float32)
            within.append((place >= first) & (place < first + length))
        erased |= within[0][:, None] & within[1][None]
    erased &= draws[0] < 0.5
    return tf.where(erased[..., None], MEAN_COLOUR, image), label_map


COLOUR: dict[str, Callable] = {
    "color_jitter": _color_jitter,
    "grayscale": _grayscale,
    "gaussian_blur": _gaussian_blur,
}
PLACE: dict[str, Callable] = {"rotation": _rotation, "erasing": _erasing}
