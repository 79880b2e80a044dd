"""What an exported file answers, beside what the model answers; the report that lies next to it."""

import pathlib

import keras
import numpy as np

from keras_dup.data import Shapes
from keras_dup.whole import write_json, writing


def drawn():
    """Three pictures (H, W, 3): square, not square, and of one colour."""
    pictures = [Shapes(1, size, seed=i).image(0) for i, size in enumerate(((96, 96), (97, 131)))]
    return [*pictures, np.full((65, 48, 3), 200, np.uint8)]


def compare(name, model, run, images, least):
    """Runs both on every image, at batch 1.

    Args:
        name: of the format, for the error.
        model: the Keras model, giving probabilities.
        run: (1, H, W, 3) float32 -> class ids (1, H, W), or probabilities (1, H, W, K).
        images: list of (H, W, 3).
        least: the smallest share of equal class ids.

    Returns: {"pictures", "pixels", "equal_pixels", "max_difference"}; the last is of probabilities;
        for class ids it is by how much the model finds the given class less probable than its own.

    Raises:
        RuntimeError: fewer class ids are equal, or the shapes differ.
    """
    largest, equal, pixels = 0.0, 0, 0
    for image in images:
        image = np.asarray(image, "float32")[None]
        expected, got = model.predict_on_batch(image), run(image)
        if got.shape not in (expected.shape, expected.shape[:3]):
            raise RuntimeError(f"{name}: output {got.shape}, the model's is {expected.shape}")
        ids = got if got.ndim == 3 else got.argmax(-1)
        if got.ndim == 4:
            difference = np.abs(got - expected)
        else:
            given = np.take_along_axis(expected, ids[..., None].astype(int), -1)
            difference = expected.max(-1, keepdims=True) - given
        largest = max(largest, float(difference.max()))
        equal += int((ids == expected.argmax(-1)).sum())
        pixels += ids.size
    if not equal >= least * pixels:
        raise RuntimeError(
            f"{name}: {100 * equal / pixels:.2f} % of {pixels} class ids in {len(images)} pictures "
            f"are the model's (at least {100 * least:g} % expected, see min_agreement); "
            f"probabilities differ by up to {largest:.2g}; nothing was written"
        )
    share = equal / pixels
    return {
        "pictures": len(images),
        "pixels": pixels,
        "equal_pixels": share,
        "max_difference": largest,
    }


def write(report, content, path, verbose):
    """Writes the bytes of a model to `path`, and its report beside it; returns the report."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with writing(path) as temporary:
        temporary.write_bytes(content)
    report["bytes"] = len(content)
    return finish(report, path, path.with_name(f"{path.name}.report.json"), verbose)


def finish(report, path, file, verbose):
    """Adds versions to a report, writes it to `file`, prints it; returns it."""
    import tensorflow as tf

    from keras_dup import __version__

    versions = {"keras-dup": __version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    report = {"path": str(path), **report, "versions": versions}
    write_json(report, file)
    if verbose:
        print(
            f"{path}: {100 * report['equal_pixels']:.3f} % of {report['pixels']} pixels equal in "
            f"{report['pictures']} pictures, largest difference {report['max_difference']:.1e}, "
            f"{report['bytes'] / 1e6:.1f} MB"
        )
    return report
