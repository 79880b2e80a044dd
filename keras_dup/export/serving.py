"""SavedModel and LiteRT (TFLite) files, each checked against the Keras model before it is there."""

import os
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from keras_dup.data import Shapes

QUANTIZE = (None, "float16")
# what rounding may do: largest difference of a probability, smallest share of equal class ids
TOLERANCES = {
    "saved_model": (1e-3, 0.999),
    "litert": (1e-3, 0.999),
    "litert_float16": (5e-2, 0.99),
}


def saved_model(model, path, images=None, version=None, verbose=True):
    """Writes path/VERSION/, the versioned folder that TensorFlow Serving loads.

    The signature `serving_default` takes `image`, (B, H, W, 3) float32 in 0..255, any sizes, and
    gives `label_map`, (B, H, W) uint8 class ids, and `probabilities`, (B, H, W, K) float32.

    Args:
        model: what `keras_dup.models.build` returns, K at most 256.
        path: the model's folder.
        images: list of (H, W, 3) arrays to compare with `model` on; None takes drawn ones.
        version: a positive integer; None takes the next one.
        verbose: print the report.

    Returns: {"path", "max_difference", "equal_pixels"}.

    Raises:
        FileExistsError: the version exists.
        ValueError: the model has more than 256 classes.
        RuntimeError: the exported model disagrees with `model`; nothing is left at `path`.
    """
    if model.output_shape[-1] > 256:
        raise ValueError(f"saved_model: {model.output_shape[-1]} classes do not fit into uint8 ids")
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    version = version or _next_version(path)
    if (path / str(version)).exists():
        raise FileExistsError(f"{path / str(version)} exists; give another version")
    # a name that is no number: TensorFlow Serving does not see it
    with tempfile.TemporaryDirectory(prefix="part-", dir=path) as part:
        folder = os.path.join(part, "model")
        _write_saved_model(model, folder)
        serve = tf.saved_model.load(folder).signatures["serving_default"]

        def run(image):
            return serve(image=tf.constant(image))["probabilities"].numpy()

        report = _compare("saved_model", model, run, images)
        os.rename(folder, path / str(version))
    return _finish(report, path / str(version), verbose)


def litert(model, path, quantize=None, input_size=(513, 513), images=None, verbose=True):
    """Writes a .tflite file of built-in operations alone: one image -> probabilities.

    Input: (1, H, W, 3) float32 in 0..255.  Output: (1, H, W, K) float32.

    Args:
        model: what `keras_dup.models.build` returns.
        path: the file.
        quantize: None, or "float16" for weights of half the size.
        input_size: (H, W); None lets the caller of the file set it (`resize_tensor_input`).
        images: list of (H, W, 3) arrays to compare with `model` on; None takes drawn ones. They
            are cut or padded to `input_size`.
        verbose: print the report.

    Returns: {"path", "max_difference", "equal_pixels", "bytes"}.

    Raises:
        ImportError: the interpreter that checks the file is missing (the extra `litert`).
        RuntimeError: the exported model disagrees with `model`; nothing is left at `path`.
        ValueError: unknown `quantize`.
    """
    if quantize not in QUANTIZE:
        raise ValueError(f"litert: quantize={quantize!r}; it must be one of {QUANTIZE}")
    interpreter = _interpreter()
    content = _convert(model, quantize, input_size)
    runner = interpreter(model_content=content)

    def run(image):
        index = runner.get_input_details()[0]["index"]
        runner.resize_tensor_input(index, image.shape)
        runner.allocate_tensors()
        runner.set_tensor(index, image)
        runner.invoke()
        return runner.get_tensor(runner.get_output_details()[0]["index"])

    name = f"litert_{quantize}" if quantize else "litert"
    images = [_fit(image, input_size) for image in images or _drawn()]
    report = {**_compare(name, model, run, images), "bytes": len(content)}
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part.{path.name}")
    part.write_bytes(content)
    part.replace(path)
    return _finish(report, path, verbose)


def _write_saved_model(model, folder):
    def serve(image):
        probabilities = model(image, training=False)
        label_map = tf.cast(tf.argmax(probabilities, -1), tf.uint8)
        return {"label_map": label_map, "probabilities": probabilities}

    _archive(model, folder, serve, (None, None, None, 3))


def _archive(model, folder, serve, shape):
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = [tf.TensorSpec(shape, tf.float32, name="image")]
    archive.add_endpoint("serving_default", serve, input_signature=signature)
    archive.write_out(folder, verbose=False)


def _next_version(path):
    return 1 + max((int(f.name) for f in path.iterdir() if f.name.isdigit()), default=0)


def _interpreter():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError("litert needs ai-edge-litert: pip install 'keras-dup[litert]'") from error
    return Interpreter


def _convert(model, quantize, input_size):
    shape = (1, *(input_size or (None, None)), 3)
    with tempfile.TemporaryDirectory() as folder:
        _archive(model, folder, lambda image: model(image, training=False), shape)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def _drawn():
    sizes = ((96, 96), (97, 131))
    return [Shapes(1, size, seed=i).image(0) for i, size in enumerate(sizes)]


def _fit(image, size):
    """The image cut at the right and the bottom, or padded there with grey, to (H, W)."""
    if size is None:
        return image
    image = np.asarray(image)[: size[0], : size[1]]
    missing = [(0, size[axis] - image.shape[axis]) for axis in (0, 1)]
    return np.pad(image, [*missing, (0, 0)], constant_values=127)


def _compare(name, model, run, images):
    """Runs both on every image; raises RuntimeError where they differ by more than rounding."""
    largest, equal, pixels = 0.0, 0, 0
    for image in images or _drawn():
        image = np.asarray(image, "float32")[None]
        expected, got = np.asarray(model(image, training=False)), run(image)
        if got.shape != expected.shape:
            raise RuntimeError(f"{name}: output {got.shape}, the model's is {expected.shape}")
        largest = max(largest, float(np.abs(got - expected).max()))
        equal += int((got.argmax(-1) == expected.argmax(-1)).sum())
        pixels += got[..., 0].size
    difference, share = TOLERANCES[name]
    if not (largest <= difference and equal >= share * pixels):
        raise RuntimeError(
            f"{name}: probabilities differ by up to {largest:.2g} (at most {difference} expected) "
            f"and {100 * equal / pixels:.2f} % of {pixels} class ids are equal (at least "
            f"{100 * share} % expected); nothing was written"
        )
    return {"max_difference": largest, "equal_pixels": equal / pixels}


def _finish(report, path, verbose):
    if verbose:
        print(
            f"{path}: largest difference {report['max_difference']:.1e}, "
            f"{100 * report['equal_pixels']:.3f} % of pixels equal"
        )
    return {"path": str(path), **report}
