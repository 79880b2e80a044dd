"""LiteRT (TFLite) files for phones: built-in operations alone, whole and half floats, integers."""

import functools
import tempfile
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_dup.export import agreement
from keras_dup.export.folding import fold

# share of pixels that keep their class; integers: None, how many depends on the training
MIN_AGREEMENT = {None: 0.999, "float16": 0.99, "dynamic": None, "int8": None}


def litert(
    model,
    path,
    quantize=None,
    input_size=(513, 513),
    output="label_map",
    images=None,
    calibration=None,
    min_agreement=None,
    verbose=True,
):
    """Writes a .tflite file of built-in operations alone, and PATH.report.json.

    Input: image (1, H, W, 3) in 0..255, float32, with "int8" uint8.
    Output: label_map (1, H, W) uint8, or probabilities (1, H, W, K) float32.

    Args:
        model: what `keras_dup.models.build` returns. It stays as it is.
        path: the file.
        quantize: None; "float16": weights of half the size; "dynamic": weights of 8 bits, a scale a
            channel; "int8": weights and activations of 8 bits.
        input_size: (H, W); None lets the caller of the file set it (`resize_tensor_input`).
        output: "label_map" or "probabilities".
        images: list of (H, W, 3) arrays to compare with `model` on; None takes drawn ones. They
            are cut or padded to `input_size`.
        calibration: for "int8", a hundred or so images (H, W, 3) like those that the file will
            see; the ranges of the activations come from them. None takes `images`.
        min_agreement: the share of pixels whose class must be the model's; None asks for 0.999,
            with "float16" 0.99, and with integers for nothing: see what the report says.
        verbose: print the report.

    Returns: the report: what was compared, the share of equal pixels, size, input and output.

    Raises:
        ImportError: the interpreter that checks the file is missing (the extra `litert`).
        RuntimeError: the exported model disagrees with `model`; nothing is left at `path`.
        ValueError: unknown `quantize` or `output`; "int8" without an `input_size`.
    """
    if quantize not in MIN_AGREEMENT:
        known = tuple(MIN_AGREEMENT)
        raise ValueError(f"litert: quantize={quantize!r}; it must be one of {known}")
    if quantize == "int8" and input_size is None:
        raise ValueError("litert: quantize='int8' needs an input_size: ranges belong to one size")
    reader = interpreter()
    if quantize == "int8" and images is None and calibration is None:
        warnings.warn("litert: int8 calibrated on drawn pictures; give some", stacklevel=2)
    images = agreement.drawn() if images is None else images
    ranges = [fit(image, input_size) for image in (images if calibration is None else calibration)]
    images = [fit(image, input_size) for image in images]
    content = _convert(fold(model, output), quantize, input_size, ranges)
    runner = reader(model_content=content)
    name = f"litert_{quantize}" if quantize else "litert"
    least = MIN_AGREEMENT[quantize] if min_agreement is None else min_agreement
    run = functools.partial(answer, runner)
    report = agreement.compare(name, model, run, images, least or 0)
    details = {"input": runner.get_input_details(), "output": runner.get_output_details()}
    for key, (detail,) in details.items():
        shape = detail["shape_signature"].tolist()
        dtype = np.dtype(detail["dtype"]).name
        report[key] = {"name": detail["name"], "shape": shape, "dtype": dtype}
    return agreement.write(report, content, path, verbose)


def answer(runner, image):
    """What an interpreter gives for (1, H, W, 3) in 0..255, whose size it takes on."""
    (given,), (found,) = runner.get_input_details(), runner.get_output_details()
    if tuple(given["shape"]) != image.shape:
        runner.resize_tensor_input(given["index"], image.shape)
    runner.allocate_tensors()
    runner.set_tensor(given["index"], image.astype(given["dtype"]))
    runner.invoke()
    return runner.get_tensor(found["index"])


def interpreter():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError("litert needs ai-edge-litert: pip install 'keras-dup[litert]'") from error
    return Interpreter


def _convert(network, quantize, input_size, calibration):
    spec = tf.TensorSpec((1, *(input_size or (None, None)), 3), tf.float32, "image")
    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.add_endpoint(
            "serving_default",
            lambda image: {network.output_names[0]: network(image, training=False)},
            input_signature=[spec],
        )
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            batches = [[image[None].astype("float32")] for image in calibration]
            converter.representative_dataset = lambda: iter(batches)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
        return converter.convert()


def fit(image, size):
    """The image cut at the right and the bottom, or padded there with grey, to (H, W)."""
    if size is None:
        return np.asarray(image)
    image = np.asarray(image)[: size[0], : size[1]]
    missing = [(0, size[axis] - image.shape[axis]) for axis in (0, 1)]
    return np.pad(image, [*missing, (0, 0)], constant_values=127)
