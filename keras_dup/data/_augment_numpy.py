"""The augmentation of `_augment.py` in NumPy, for backends other than TensorFlow.

From the same draws it makes the same crops, up to rounding.
"""

from collections.abc import Sequence

import numpy as np

from keras_dup._label_maps import VOID
from keras_dup.data._crop import MEAN_COLOUR, crop_shape
from keras_dup.data._effects_numpy import change_colours, change_places, uniform

__all__ = ["augment"]


def augment(
    image: np.ndarray,
    label_map: np.ndarray,
    crop_size: int | tuple[int, int],
    seed: tuple[int, int],
    scale_range: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    augmentation: Sequence[str] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Scales, flips and crops an image and its label map alike; see `_augment.augment`.

    Returns: image float32 (height, width, 3) in 0..255, label map int32 (height, width).
    """
    crop = np.array(crop_shape(crop_size))
    draws = uniform(4, seed)
    begin, size, scaled_size, padding = _draw_window(
        np.array(label_map.shape), crop, draws, scale_range
    )
    window = tuple(slice(first, first + side) for first, side in zip(begin, size, strict=True))
    order = slice(None, None, -1 if flip and draws[3] < 0.5 else 1)
    scaled = _scaled(image[window][:, order], scaled_size)
    scaled = change_colours(scaled, augmentation, seed)
    rows, columns = (_nearest(side, length) for side, length in zip(size, scaled_size, strict=True))
    ids = label_map[window][:, columns[order]][rows].astype(np.int32)
    return change_places(
        _padded(scaled, padding, crop, MEAN_COLOUR),
        _padded(ids, padding, crop, VOID),
        augmentation,
        seed,
    )


def _draw_window(size, crop, draws, scale_range):
    """First source pixel, source pixels, pixels of the crop that show them, and before these."""
    scale = np.float32(scale_range[0]) + draws[0] * np.float32(scale_range[1] - scale_range[0])
    size, crop = size.astype(np.float32), crop.astype(np.float32)
    whole = np.maximum(1, np.round(size * scale))
    scaled = np.minimum(whole, crop)
    taken = np.maximum(1, np.round(scaled * size / whole))
    places = _place(size - taken, draws[1:3]), taken, scaled, _place(crop - scaled, draws[1:3])
    return [place.astype(int) for place in places]


def _place(slack, draws):
    # Of slack + 1 places each is as likely; a draw just below 1 may round up to one more.
    return np.minimum(np.floor(draws * (slack + 1)), slack)


def _scaled(image, size):
    """(H, W, 3) -> (*size, 3) float32, bilinear, without smoothing before it."""
    x = image.astype(np.float32)
    for axis in (1, 0):  # columns first: most scales enlarge, so there are fewer rows now
        x = _interpolated(x, size[axis], axis)
    return x


def _interpolated(x, length, axis):
    side = x.shape[axis]
    at = (np.arange(length, dtype=np.float32) + 0.5) * np.float32(side / length) - 0.5
    low = np.floor(at).astype(int)
    y = np.take(x, np.maximum(low, 0), axis)
    difference = np.take(x, np.minimum(low + 1, side - 1), axis)
    difference -= y
    difference *= (at - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
    y += difference
    return y


def _nearest(side, length):
    """Which of `side` pixels each of `length` ones is."""
    step = np.float32(side) / np.float32(length)
    nearest = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * step
    return np.minimum(nearest.astype(int), side - 1)


def _padded(pixels, before, crop, value):
    padded = np.full((*crop, *pixels.shape[2:]), value, pixels.dtype)
    height, width = pixels.shape[:2]
    padded[before[0] : before[0] + height, before[1] : before[1] + width] = pixels
    return padded
