"""Compares an exported model with the Keras model, and writes the report that lies beside it."""

import os
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import ndimage

from keras_dup._whole import write_json, writing
from keras_dup.data import Shapes
from keras_dup.inference import one_size

__all__ = ["as_pixels", "compare", "compared_images", "finish", "fit", "reference_images", "write"]

_SIDE_CLASSES = 0.05  # the pixels, as a share, that a model has to give to a second class
# of the search for such an image: the first step, in units of 0..255, and how steps grow
_STEPS, _STEP, _GROWTH = 8, 4.0, 1.6


def compared_images(
    model: keras.Model,
    images: Sequence[np.ndarray] | None,
    size: tuple[int, int] | None = None,
) -> list[np.ndarray]:
    """The images and the reference images, uint8, in (H, W) or in the one size of the model."""
    size = size or one_size(model)
    return [fit(image, size) for image in as_pixels(images or ())] + reference_images(model, size)


def fit(image: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """The image cut at the right and the bottom, or padded there with grey, to (H, W)."""
    if size is None:
        return np.asarray(image)
    image = np.asarray(image)[: size[0], : size[1]]
    missing = [(0, size[axis] - image.shape[axis]) for axis in (0, 1)]
    return np.pad(image, [*missing, (0, 0)], constant_values=127)


def reference_images(model: keras.Model, size: tuple[int, int] | None = None) -> list[np.ndarray]:
    """Images (H, W, 3) uint8 to compare on: full range and not square; square and of one colour.

    Together the model answers them with several classes. If noise does not bring that about, it is
    changed along the gradients of the probabilities of other classes, in at most 8 steps.

    Args: model; size, (H, W) of all images, or None for two different sizes.
    """
    large, small = size or (97, 131), size or (64, 64)  # few sizes: each is compiled once
    noise = np.random.default_rng(0).normal(size=(*large, 3))
    images = [_full_range(ndimage.gaussian_filter(noise, (8, 8, 0)))]
    if not _has_several_classes(_probabilities(model, images[0])):
        images.append(_climbed(model, images[0]))
    shapes = _full_range(Shapes(1, large).image(0))
    return [*images, shapes, np.full((*small, 3), 200, np.uint8)]


def _full_range(image):
    """The image with each channel stretched to 0..255, uint8."""
    low, high = (end(image, axis=(0, 1)) for end in (np.min, np.max))
    return np.rint(255 * (image - low) / (high - low)).astype(np.uint8)


def _probabilities(model, image):
    return np.asarray(model.predict_on_batch(image[None].astype("float32")))


def _has_several_classes(probabilities):
    counts = np.bincount(probabilities.argmax(-1).ravel())
    return np.sort(counts)[:-1].sum() >= _SIDE_CLASSES * counts.sum()


def _climbed(model, image):
    """The image changed until the model sees several classes; the last try if it never does."""
    found = _probabilities(model, image)
    likely = np.argsort(-found.mean((0, 1, 2)))[:4]
    columns = np.arange(image.shape[1]) * len(likely) // image.shape[1]
    wanted = tf.one_hot(likely[columns], found.shape[-1])  # (W, K): four bands, a class each
    pixels = tf.constant(image[None], tf.float32)
    for i in range(_STEPS):
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            found = model(pixels, training=False)
            likelihood = tf.reduce_mean(wanted * tf.math.log(tf.cast(found, tf.float32) + 1e-30))
        slope = tape.gradient(likelihood, pixels)
        if slope is None or _has_several_classes(np.asarray(found)):
            break
        pixels = tf.clip_by_value(pixels + _STEP * _GROWTH**i * tf.sign(slope), 0.0, 255.0)
    return np.rint(pixels.numpy()[0]).astype(np.uint8)


def compare(
    name: str,
    model: keras.Model,
    runs: dict[str, Callable[[np.ndarray], list[np.ndarray]]],
    images: Sequence[np.ndarray],
    min_agreement: float,
    max_difference: float | None,
) -> dict[str, Any]:
    """Runs the model and each signature of its export on every image, one at a time.

    Args:
        name: of the format, for errors.
        model: the Keras model, which gives probabilities.
        runs: {signature: function}, each (1, H, W, 3) uint8 -> a list of class ids (1, H, W) and
            of probabilities (1, H, W, K), or of one of them.
        images: (H, W, 3) uint8.
        min_agreement: the smallest share of equal class ids.
        max_difference: the largest difference of a probability; None for any.

    Returns: {"images", "pixels", "classes" that the model answers with, "equal_pixels",
        "max_difference"}, the last two of the worst signature. The difference of class ids is by
        how much the model finds the given class less probable than its own.

    Raises:
        RuntimeError: the export disagrees with the model in a signature, or it gives other shapes,
            ids that are no classes or values that are not finite.
    """
    answers = [_probabilities(model, image) for image in images]
    if not all(np.isfinite(answer).all() for answer in answers):
        raise RuntimeError(f"{name}: the model itself gives probabilities that are not finite")
    pixels = sum(answer[..., 0].size for answer in answers)
    worst_share, worst_difference = 1.0, 0.0
    for signature, run in runs.items():
        where = name if len(runs) == 1 else f"{name}, {signature}"
        equal, largest = 0, 0.0
        for image, answer in zip(images, answers, strict=True):
            found = [_compared(where, answer, output) for output in run(image[None])]
            equal += min(same for same, _ in found)
            largest = max(largest, *(difference for _, difference in found))
        share = equal / pixels
        _demand(where, share, min_agreement, largest, max_difference, pixels, len(images))
        worst_share = min(worst_share, share)
        worst_difference = max(worst_difference, largest)
    classes = len(np.unique(np.concatenate([answer.argmax(-1).ravel() for answer in answers])))
    if classes == 1 and answers[0].shape[-1] > 1:
        warnings.warn(
            f"{name}: the model answers all {len(images)} reference images with one class, so "
            "equal class ids say little; give images=",
            stacklevel=3,
        )
    return {
        "images": len(images),
        "pixels": pixels,
        "classes": classes,
        "equal_pixels": worst_share,
        "max_difference": worst_difference,
    }


def _compared(name, expected, found):
    """(number of equal class ids, largest difference of a probability)."""
    if found.shape not in (expected.shape, expected.shape[:3]):
        raise RuntimeError(f"{name}: output {found.shape}, the model's is {expected.shape}")
    if not np.isfinite(found).all():
        raise RuntimeError(
            f"{name}: the output has values that are not finite; nothing was written"
        )
    ids = found if found.ndim == 3 else found.argmax(-1)
    if ids.min() < 0 or ids.max() >= expected.shape[-1]:
        raise RuntimeError(f"{name}: class id {ids.max()} of {expected.shape[-1]} classes")
    if found.ndim == 4:
        difference = np.abs(found - expected)
    else:
        given = np.take_along_axis(expected, ids[..., None].astype(int), -1)
        difference = expected.max(-1, keepdims=True) - given
    return int((ids == expected.argmax(-1)).sum()), float(difference.max())


def _demand(name, share, min_agreement, difference, max_difference, pixels, images):
    """Raises RuntimeError where too few class ids are equal or a probability differs too much."""
    found = (
        f"{100 * share:.2f} % of {pixels} class ids in {images} images are the model's (at least "
        f"{100 * min_agreement:g} % expected, see min_agreement); probabilities differ by up to "
        f"{difference:.2g}"
    )
    if not share >= min_agreement:
        raise RuntimeError(f"{name}: {found}; nothing was written")
    if max_difference is not None and not difference <= max_difference:
        raise RuntimeError(f"{name}: {found} (at most {max_difference:g}); nothing was written")


def as_pixels(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Images of any type in 0..255, as uint8."""
    return [np.clip(np.rint(image), 0, 255).astype(np.uint8) for image in images]


def write(
    report: dict[str, Any], content: bytes, path: str | os.PathLike, verbose: bool
) -> dict[str, Any]:
    """Writes the bytes of a model to `path`, and its report beside it; returns the report."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as temporary:
        temporary.write_bytes(content)
    report["bytes"] = len(content)
    return finish(report, path, path.with_name(f"{path.name}.report.json"), verbose)


def finish(
    report: dict[str, Any], path: pathlib.Path, file: pathlib.Path, verbose: bool
) -> dict[str, Any]:
    """Adds versions to a report, writes it to `file`, prints it; returns it."""
    from keras_dup import __version__

    versions = {"keras-dup": __version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    report = {"path": str(path), **report, "versions": versions}
    write_json(report, file)
    if verbose:
        line = (
            f"{path}: {100 * report['equal_pixels']:.3f} % of {report['pixels']} pixels equal in "
            f"{report['images']} images, largest difference {report['max_difference']:.1e}, "
            f"{report['bytes'] / 1e6:.1f} MB"
        )
        if "xnnpack" in report:
            line += ", {delegated} of {operations} operations in XNNPACK".format(
                **report["xnnpack"]
            )
        print(line)
    return report
