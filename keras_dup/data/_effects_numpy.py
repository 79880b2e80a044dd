"""The effects of `_effects.py` in NumPy and SciPy, for backends other than TensorFlow."""

import zlib
from collections.abc import Callable, Iterable

import numpy as np
from scipy import ndimage

from keras_dup._label_maps import VOID
from keras_dup.data._crop import MEAN_COLOUR

__all__ = ["COLOUR", "PLACE", "change_colours", "change_places", "uniform"]

_REACH = 4  # pixels of the blur, on either side
_HOLES = 4


def change_colours(image: np.ndarray, names: Iterable[str], seed: tuple[int, int]) -> np.ndarray:
    """An image (H, W, 3) in 0..255, float32, after the effects of `COLOUR` that are named."""
    for name, effect in COLOUR.items():
        if name in names:
            image = effect(image, _seed(seed, name)).astype(np.float32)
    return image


def change_places(
    image: np.ndarray, label_map: np.ndarray, names: Iterable[str], seed: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """An image and its label map, int32, after the effects of `PLACE` that are named."""
    for name, effect in PLACE.items():
        if name in names:
            image, label_map = effect(image, label_map, _seed(seed, name))
    return image, label_map


def _seed(seed, name):
    """A seed for one effect, so that the draws of one do not hang on the others."""
    return (*seed, zlib.crc32(name.encode()))


def uniform(count: int, seed: tuple[int, ...]) -> np.ndarray:
    """Draws of [0, 1), float32, the same for the same seed."""
    return np.random.default_rng(seed).random(count, np.float32)


def _color_jitter(image, seed):
    brightness, contrast, saturation, hue = 2 * uniform(4, seed) - 1
    image = image / 255 + brightness * 32 / 255
    mean = image.mean((0, 1))
    image = np.clip((image - mean) * (1 + 0.25 * contrast) + mean, 0, 1)
    return 255 * np.clip(_saturated_and_turned(image, 1 + 0.25 * saturation, 0.05 * hue), 0, 1)


def _saturated_and_turned(image, saturation, turn):
    """An RGB image in 0..1 whose saturation is multiplied, and whose hue is turned, in turns."""
    value, least = image.max(-1), image.min(-1)
    chroma = value - least
    red, green, blue = np.moveaxis(image, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sixths = np.select(
            [value == red, value == green],
            [(green - blue) / chroma, 2 + (blue - red) / chroma],
            4 + (red - green) / chroma,
        )
    sixths = np.where(chroma > 0, sixths, 0) + 6 * turn
    chroma = np.minimum(chroma * saturation, value)
    k = (np.array([5, 3, 1]) + sixths[..., None]) % 6
    return value[..., None] - chroma[..., None] * np.clip(np.minimum(k, 4 - k), 0, 1)


def _grayscale(image, seed):
    if uniform(1, seed)[0] >= 0.2:
        return image
    return np.repeat((image @ np.array([0.2989, 0.5870, 0.1140]))[..., None], 3, 2)


def _gaussian_blur(image, seed):
    draws = uniform(2, seed)
    if draws[0] >= 0.5:
        return image
    places = np.arange(-_REACH, _REACH + 1)
    kernel = np.exp(-0.5 * (places / (0.1 + 1.4 * draws[1])) ** 2)
    for axis in (0, 1):
        image = ndimage.correlate1d(image, kernel / kernel.sum(), axis, mode="nearest")
    return image


def _rotation(image, label_map, seed):
    angle = (2 * uniform(1, seed)[0] - 1) * np.pi / 18
    sine, cosine = np.sin(angle), np.cos(angle)
    matrix = np.array([[cosine, sine], [-sine, cosine]])
    centre = (np.array(label_map.shape) - 1) / 2
    at = {"matrix": matrix, "offset": centre - matrix @ centre, "mode": "grid-constant"}
    ids = ndimage.affine_transform(label_map, order=0, cval=VOID, **at)
    turned = np.empty_like(image)
    for channel in range(3):
        ndimage.affine_transform(
            image[..., channel], order=1, cval=MEAN_COLOUR, output=turned[..., channel], **at
        )
    return turned, ids


def _erasing(image, label_map, seed):
    draws = uniform(1 + 4 * _HOLES, seed)
    if draws[0] >= 0.5:
        return image, label_map
    for hole in draws[1:].reshape(_HOLES, 4):
        within = []
        for axis, side in enumerate(label_map.shape):
            length = (1 / 16 + 3 / 16 * hole[axis]) * side
            first = hole[2 + axis] * (side - length)
            within.append(slice(int(np.ceil(first)), int(np.ceil(first + length))))
        image[tuple(within)] = MEAN_COLOUR
    return image, label_map


COLOUR: dict[str, Callable] = {
    "color_jitter": _color_jitter,
    "grayscale": _grayscale,
    "gaussian_blur": _gaussian_blur,
}
PLACE: dict[str, Callable] = {"rotation": _rotation, "erasing": _erasing}
