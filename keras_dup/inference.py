"""Runs a trained model on whole images of any size: several scales, mirrored, in windows.

NumPy around `model.predict_on_batch`, so every backend of Keras runs it.
"""

import functools
import glob
import os
import pathlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

__all__ = ["predict", "probabilities"]

MAX_PIXELS = 2**28
"""Of an image, or a window of it, after scaling."""
_BATCH_PIXELS = 2**17  # in a batch: larger images take no less time together


def predict(
    model: keras.Model | str | os.PathLike,
    image: np.ndarray | str | os.PathLike | Sequence[np.ndarray | str | os.PathLike],
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: int | tuple[int, int] | None = None,
) -> np.ndarray | list[np.ndarray]:
    """Returns the class of every pixel.

    At several scales, and mirrored, probabilities are averaged at the size of the image (Tian et
    al. 2019, Sec. 4.2: 0.5 to 1.75 in steps of 0.25, and mirrored).

    Args:
        model: a model from `keras_dup.models.build`, a `.keras` file, or the name of a model of the
            package ("voc_animals"). Files and names are loaded once, and folded. For speed, pass
            `keras_dup.export.fold(model, "probabilities")` of a model of yours once it is trained.
        image: (H, W, 3), values 0..255 of any number type; booleans become 0 and 255. Or the path
            of an image file. Or several of any sizes: a list of arrays and paths, (B, H, W, 3), a
            folder, whose images are taken in order of name, or a pattern like "photos/*.jpg".
        scales: a side of n pixels becomes (n - 1) * scale + 1, as DeepLab resizes.
        flip: also run the image mirrored left to right, at each scale.
        window: None runs the whole image at once. A side in pixels, or (height, width), runs
            windows of that size that overlap by a quarter or more and count less towards their
            borders. Memory is then that of a row of windows, whatever the height of the image. A
            model that takes one size alone always runs in such windows.

    Returns: (H, W) class ids, of the smallest unsigned integer type that holds the classes; a list
        of them for several images.

    Raises:
        ValueError: an image that is not (H, W, 3), is empty, or has values outside 0..255 (names
            its place in a list); a file that is no image or no model; a scale or window that is
            not positive, or a scale that makes more than 2**28 pixels; scales or a window that a
            model for one size does not take.
        FileNotFoundError: a file, folder or pattern without a file.
    """
    model = network(model)
    images, several = _listed(image)
    results = summaries(model, images, [class_ids(model)], scales, flip, window)
    found = [label_map for (label_map,) in results]
    return found if several else found[0]


def probabilities(
    model: keras.Model | str | os.PathLike,
    image: np.ndarray | str | os.PathLike,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: int | tuple[int, int] | None = None,
) -> np.ndarray:
    """Returns (H, W, K) float32, what `predict` takes the largest of, for one image."""
    image = _read(image) if isinstance(image, (str, os.PathLike)) else checked(image, "image")
    (found,) = next(summaries(network(model), [image], [lambda y: y], scales, flip, window))
    return found


def class_ids(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """The function (..., K) probabilities -> (...) class ids, of the smallest type for them."""
    id_type = np.min_scalar_type(model.output_shape[-1] - 1)
    return lambda found: found.argmax(-1).astype(id_type)


def summaries(
    model: keras.Model,
    images: Iterable[np.ndarray],
    functions: Sequence[Callable[[np.ndarray], np.ndarray]],
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: int | tuple[int, int] | None = None,
) -> Iterator[list[np.ndarray]]:
    """Yields for each image what each function makes of its probabilities.

    Small images of one size that follow each other are run together.

    Args:
        images: arrays (H, W, 3) of 0..255; read as they are needed.
        functions: of probabilities (rows, W, K), applied to rows at a time.
    """
    size = one_size(model)
    if size is not None:
        _check_one_size(size, scales, window)
        window = size
    for batch in _batches(images, window, size):
        if len(batch) == 1:
            height, width = batch[0].shape[:2]
            image = batch[0] if size is None else _at_least(batch[0], size)
            bands = _bands(model, image, scales, flip, window)
            parts = [[function(band) for function in functions] for band in bands]
            whole = [np.concatenate(part) for part in zip(*parts, strict=True)]
            yield [one[:height, :width] for one in whole]
            continue
        _check_scales(scales, *batch[0].shape[:2])
        for found in _averaged(model, np.stack(batch), scales, flip):
            yield [function(found) for function in functions]


def one_size(model: keras.Model) -> tuple[int, int] | None:
    """(height, width) of a model that takes no other images, else None."""
    size: Any = getattr(model, "input_shape", (None,) * 4)[1:3]  # a stand-in may have none
    return None if None in size else size


def _check_one_size(size, scales, window):
    height, width = size
    if tuple(scales) != (1,) or window not in (None, size, height if height == width else size):
        raise ValueError(
            f"scales={scales}, window={window}: the model takes images of {height} x {width} alone"
        )


def _at_least(image, size):
    """The image, its last row and column repeated until it has the size."""
    missing = [(0, max(0, a - b)) for a, b in zip(size, image.shape, strict=False)]
    return np.pad(image, [*missing, (0, 0)], mode="edge")


def _batches(images, window, size):
    """Lists of images that are run together: small ones of one size, without windows."""
    batch = []
    for image in images:
        height, width = image.shape[:2]
        whole = _window(window, image.shape) == (height, width)
        whole = whole and size in (None, (height, width))
        most = _BATCH_PIXELS // (height * width) if whole else 1
        if batch and batch[0].shape != image.shape:
            yield batch
            batch = []
        batch.append(image)
        if len(batch) >= most:
            yield batch
            batch = []
    if batch:
        yield batch


def network(model: keras.Model | str | os.PathLike) -> keras.Model:
    """The model itself, or the folded one of a file or a name."""
    if not isinstance(model, (str, os.PathLike)):
        return model
    changed = os.stat(model).st_mtime_ns if os.path.exists(model) else None
    return _loaded(str(model), changed)


@functools.lru_cache(maxsize=1)
def _loaded(path_or_name, changed):
    from keras_dup import models
    from keras_dup.export._folding import fold

    return fold(models.load(path_or_name), "probabilities")


def _listed(image):
    """The images that are meant, read as they are needed, and whether they may be several.

    Raises ValueError for a bad one before the first is given.
    """
    if isinstance(image, (str, os.PathLike)):
        files = files_of([image])
        several = [pathlib.Path(image)] != files
        return map(_read, _decodable(files)), several
    if not isinstance(image, (list, tuple)) and np.ndim(image) != 4:
        return [checked(image, "image")], False
    listed = []
    for i, one in enumerate(image):
        if isinstance(one, (str, os.PathLike)):
            listed += _decodable(files_of([one]))
        else:
            listed.append(checked(one, f"image {i}"))
    return (_read(one) if isinstance(one, pathlib.Path) else one for one in listed), True


def files_of(paths: Iterable[str | os.PathLike], recursive: bool = False) -> list[pathlib.Path]:
    """The image files that paths name: files, folders, and patterns like "photos/*.jpg"."""
    from keras_dup.data import _listing

    files: list[pathlib.Path] = []
    for path in paths:
        text = os.fspath(path)
        if not os.path.lexists(text) and glob.has_magic(text):
            matching = sorted(glob.glob(text, recursive=True))
            if not matching:
                raise FileNotFoundError(f"{text}: no file matches")
            files += _listing.image_files(matching, recursive)
        else:
            files += _listing.image_files([text], recursive)
    return files


def _decodable(files):
    """The files; ValueError if one of several cannot be decoded, not after all before it."""
    from keras_dup.data import _images

    for file in files if len(files) > 1 else ():
        _images.check_image(file)
    return files


def _read(file):
    from keras_dup.data import _images

    return _images.read_image(file)


def checked(image: object, name: object) -> np.ndarray:
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
    height, width = _window(window, image.shape)
    _check_scales(scales, height, width)
    rows, columns = _starts(image.shape[0], height), _starts(image.shape[1], width)
    weight = np.outer(_tent(height), _tent(width))[..., None]
    total = np.zeros((height, image.shape[1], model.output_shape[-1]), np.float32)
    weights = np.zeros((height, image.shape[1], 1), np.float32)
    for top, following in zip(rows, [*rows[1:], image.shape[0]], strict=True):
        for left in columns:
            piece = image[top : top + height, left : left + width]
            place = np.s_[:, left : left + width]
            total[place] += weight * _averaged(model, piece[None], scales, flip)[0]
            weights[place] += weight
        done = following - top
        yield total[:done] / weights[:done]
        for array in (total, weights):  # what windows further down add to moves up
            array[: height - done] = array[done:]
            array[height - done :] = 0


def _check_scales(scales, height, width):
    if not len(scales) or not all(0 < scale < np.inf for scale in scales):
        raise ValueError(f"scales={scales}; positive numbers are expected")
    if height * width * max(scales) ** 2 > MAX_PIXELS:
        raise ValueError(
            f"scales={scales}: {height} x {width} pixels become more than {MAX_PIXELS}; "
            "smaller scales or a smaller window are expected"
        )


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


def _averaged(model, images, scales, flip):
    """(B, h, w, 3) -> (B, h, w, K): the mean over scales and mirror images."""
    total, (height, width) = 0, images.shape[1:3]
    for scale in scales:
        size = [max(1, int((side - 1) * scale) + 1) for side in (height, width)]
        scaled = _resized(images, *size)
        for mirrored in (False, True) if flip else (False,):
            step = -1 if mirrored else 1
            found = model.predict_on_batch(np.ascontiguousarray(scaled[:, :, ::step]))
            total = total + _resized(np.asarray(found)[:, :, ::step], height, width)
    return total / np.float32(len(scales) * (1 + flip))


def _resized(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns (B, height, width, C) float32, bilinear with aligned corners, as DeepLab does."""
    for axis, size in ((1, height), (2, width)):
        old = images.shape[axis]
        if size == old:
            continue
        place = np.linspace(0, old - 1, size) if size > 1 else np.zeros(1)
        first = np.minimum(place.astype(int), max(old - 2, 0))
        share = (place - first).astype(np.float32)
        share = share.reshape([-1, 1, 1] if axis == 1 else [-1, 1])
        following = np.minimum(first + 1, old - 1)
        lower, upper = images.take(first, axis), images.take(following, axis)
        images = lower * (1 - share) + upper * share
    return np.asarray(images, np.float32)
