"""A trained model on whole pictures of any size: several scales, mirrored, in windows.

NumPy around `model.predict_on_batch`, so every backend of Keras runs it.
"""

import warnings

import numpy as np


def predict(model, image, scales=(1.0,), flip=False, window=None):
    """The class of every pixel.

    At several scales, and mirrored, probabilities are averaged at the size of the image (Tian et
    al. 2019, Sec. 4.2: 0.5 to 1.75 in steps of 0.25, and mirrored).

    Args:
        model: what `keras_dup.models.build` returns; faster is what
            `keras_dup.export.fold(model, "probabilities")` makes of it, once it is trained.
        image: (H, W, 3) in 0..255, uint8 or float; or a list of such images of any sizes, or
            (B, H, W, 3).
        scales: a side of n pixels becomes (n - 1) * scale + 1, as DeepLab resizes.
        flip: also run the image mirrored left to right, at each scale.
        window: None runs the whole image at once. A side in pixels, or (height, width), runs
            windows of that size that overlap by a quarter or more and are weighted down towards
            their borders: memory is that of a row of windows, whatever the height of the image.

    Returns: (H, W) class ids, of the smallest unsigned integer type that holds the classes; a list
        of them for several images.

    Raises:
        ValueError: an image that is not (H, W, 3), is empty or not finite (names its place in a
            list); a scale or window that is not positive.
    """
    if isinstance(image, (list, tuple)) or np.ndim(image) == 4:
        return [
            predict(model, _checked(one, f"image {i}"), scales, flip, window)
            for i, one in enumerate(image)
        ]
    id_type = np.min_scalar_type(model.output_shape[-1] - 1)
    bands = _bands(model, _checked(image, "image"), scales, flip, window)
    return np.concatenate([band.argmax(-1).astype(id_type) for band in bands])


def probabilities(model, image, scales=(1.0,), flip=False, window=None):
    """What `predict` takes the largest of: (H, W, 3) -> (H, W, K) float32, for one image."""
    return np.concatenate(list(_bands(model, _checked(image, "image"), scales, flip, window)))


def _checked(image, name):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"{name} has shape {image.shape}; (height, width, 3) is expected")
    if not np.isfinite(image).all():
        raise ValueError(f"{name} has values that are not finite")
    if image.dtype.kind == "f" and 0 < image.max() <= 1:
        warnings.warn(f"{name} has values of 0..1; the model takes 0..255", stacklevel=3)
    return image


def _bands(model, image, scales, flip, window):
    """Yields probabilities (rows, W, K) from the top down; together they are the image."""
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales={scales}; positive numbers are expected")
    height, width = _window(window, image.shape)
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
        scaled = resized(image, *size)
        for mirrored in (False, True) if flip else (False,):
            step = -1 if mirrored else 1
            found = model.predict_on_batch(np.ascontiguousarray(scaled[None, :, ::step]))
            total = total + resized(np.asarray(found)[0, :, ::step], height, width)
    return total / np.float32(len(scales) * (1 + flip))


def resized(image, height, width):
    """(h, w, C) -> (height, width, C) float32, bilinear with aligned corners, as DeepLab does."""
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
