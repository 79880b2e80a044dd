"""Runs a trained model on whole images of any size: several scales, mirrored, in windows.

NumPy around `model.predict_on_batch`, so every backend of Keras runs it.
"""

import warnings
from collections.abc import Sequence

import keras
import numpy as np

__all__ = ["predict", "probabilities"]

MAX_PIXELS = 2**28
"""Of an image, or a window of it, after scaling."""


def predict(
    model: keras.Model,
    image: np.ndarray | Sequence[np.ndarray],
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: int | tuple[int, int] | None = None,
) -> np.ndarray | list[np.ndarray]:
    """Returns the class of every pixel.

    At several scales, and mirrored, probabilities are averaged at the size of the image (Tian et
    al. 2019, Sec. 4.2: 0.5 to 1.75 in steps of 0.25, and mirrored).

    Args:
        model: a model from `keras_dup.models.build`. For speed, pass
            `keras_dup.export.fold(model, "probabilities")` once it is trained.
        image: (H, W, 3), values 0..255 of any number type; booleans become 0 and 255. Or a list
            of such images of any sizes, or (B, H, W, 3).
        scales: a side of n pixels becomes (n - 1) * scale + 1, as DeepLab resizes.
        flip: also run the image mirrored left to right, at each scale.
        window: None runs the whole image at once. A side in pixels, or (height, width), runs
            windows of that size that overlap by a quarter or more and count less towards their
            borders. Memory is then that of a row of windows, whatever the height of the image.

    Returns: (H, W) class ids, of the smallest unsigned integer type that holds the classes; a list
        of them for several images.

    Raises:
        ValueError: an image that is not (H, W, 3), is empty, or has values outside 0..255 (names
            its place in a list); a scale or window that is not positive, or a scale that makes
            more than 2**28 pixels.
    """
    if isinstance(image, (list, tuple)) or np.ndim(image) == 4:
        images = [_checked(one, f"image {i}") for i, one in enumerate(image)]
        return [_label_map(model, one, scales, flip, window) for one in images]
    return _label_map(model, _checked(image, "image"), scales, flip, window)


def _label_map(model, image, scales, flip, window):
    id_type = np.min_scalar_type(model.output_shape[-1] - 1)
    bands = _bands(model, image, scales, flip, window)
    return np.concatenate([band.argmax(-1).astype(id_type) for band in bands])


def probabilities(
    model: keras.Model,
    image: np.ndarray,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: int | tuple[int, int] | None = None,
) -> np.ndarray:
    """Returns (H, W, K) float32, what `predict` takes the largest of, for one image."""
    return np.concatenate(list(_bands(model, _checked(image, "image"), scales, flip, window)))


def _checked(image, name):
    """The image as numbers of 0..255; the dtypes are those in `keras_dup.data._formats.ARRAYS`."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"{name} has shape {image.shape}; (height, width, 3) is expected")
    if image.dtype == bool:
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype.kind not in "iuf":
        raise ValueError(f"{name} has dtype {image.dtype}; numbers of 0..255 are expected")
    if image.dtype == np.uint8:
        return image
    low, high = image.min(), image.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{name} has values that are not finite")
    if low < 0 or high > 255:
        raise ValueError(
            f"{name} has values of {low:g}..{high:g} ({image.dtype}); the model takes 0..255: "
            "scale it (16 bits: image / 257) or clip it"
        )
    if image.dtype.kind == "f" and 0 < high <= 1:
        warnings.warn(f"{name} has values of 0..1; the model takes 0..255", stacklevel=3)
    return image


def _bands(model, image, scales, flip, window):
    """Yields probabilities (rows, W, K) from the top down; together they are the image."""
    if not len(scales) or not all(0 < scale < np.inf for scale in scales):
        raise ValueError(f"scales={scales}; positive numbers are expected")
    height, width = _window(window, image.shape)
    if height * width * max(scales) ** 2 > MAX_PIXELS:
        raise ValueError(
            f"scales={scales}: {height} x {width} pixels become more than {MAX_PIXELS}; "
            "smaller scales or a smaller window are expected"
        )
    rows, columns = _starts(image.shape[0], height), _starts(image.shape[1], width)
    weight = np.outer(_tent(height), _tent(width))[..., None]
    total = np.zeros((height, image.shape[1], model.output_shape[-1]), np.float32)
    weights = np.zeros((height, image.shape[1], 1), np.float32)
    for top, following in zip(rows, [*rows[1:], image.shape[0]], strict=True):
        for left in columns:
            piece = image[top : top + height, left : left + width]
            place = np.s_[:, left : left + width]
            total[place] += weight * _averaged(model, piece, scales, flip)
            weights[place] += weight
        done = following - top
        yield total[:done] / weights[:done]
        for array in (total, weights):  # what windows further down add to moves up
            array[: height - done] = array[done:]
            array[height - done :] = 0


def _window(window, shape):
    height, width = (window, window) if np.ndim(window) == 0 else window
    sides = [
        side if asked is None else asked
        for asked, side in zip((height, width), shape, strict=False)
    ]
    if min(sides) < 1 or any(side != int(side) for side in sides):
        raise ValueError(f"window={window}; a side in pixels or (height, width) is expected")
    return min(int(sides[0]), shape[0]), min(int(sides[1]), shape[1])


def _starts(length, window):
    """Where windows begin so that they cover `length` evenly and overlap by a quarter."""
    count = 1 + -(-(length - window) // max(1, window * 3 // 4))
    return np.linspace(0, length - window, count).round().astype(int).tolist()


def _tent(length):
    """(length,): 1 in the middle, falling to both ends, nowhere zero."""
    distance = np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1))
    return (distance / distance.max()).astype(np.float32)


def _averaged(model, image, scales, flip):
    """(h, w, 3) -> (h, w, K): the mean over scales and mirror images."""
    total, (height, width) = 0, image.shape[:2]
    for scale in scales:
        size = [max(1, int((side - 1) * scale) + 1) for side in (height, width)]
        scaled = _resized(image, *size)
        for mirrored in (False, True) if flip else (False,):
            step = -1 if mirrored else 1
            found = model.predict_on_batch(np.ascontiguousarray(scaled[None, :, ::step]))
            total = total + _resized(np.asarray(found)[0, :, ::step], height, width)
    return total / np.float32(len(scales) * (1 + flip))


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns (height, width, C) float32, bilinear with aligned corners, as DeepLab does."""
    for axis, size in ((0, height), (1, width)):
        old = image.shape[axis]
        if size == old:
            continue
        place = np.linspace(0, old - 1, size) if size > 1 else np.zeros(1)
        first = np.minimum(place.astype(int), max(old - 2, 0))
        share = (place - first).astype(np.float32)
        share = share.reshape([-1, 1, 1] if axis == 0 else [-1, 1])
        following = np.minimum(first + 1, old - 1)
        lower, upper = image.take(first, axis), image.take(following, axis)
        image = lower * (1 - share) + upper * share
    return np.asarray(image, np.float32)
