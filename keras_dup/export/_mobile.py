"""LiteRT (TFLite) files for phones: built-in operations, in float32, float16 or 8-bit integers."""

import collections
import io
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dup._backend import need_backend
from keras_dup._labelled import label_files
from keras_dup._native_lines import hidden
from keras_dup.export import _agreement, _signatures
from keras_dup.export._folding import fold
from keras_dup.export._precision import in_float32
from keras_dup.inference import one_size

__all__ = ["answer", "delegated", "interpreter", "litert"]

_INPUT_SIZE = (513, 513)
# share of pixels that keep their class, largest difference of a probability
_BOUNDS = {
    None: (0.999, 1e-3),
    "float16": (0.99, 0.1),
    "dynamic": (0.9, None),
    "int8": (0.9, None),
}
# what the converter and the interpreter say of every model, whatever their level of messages
_UNASKED = rb"INFO: Created TensorFlow Lite XNNPACK delegate|fully_quantize: \d"


def litert(
    model: keras.Model,
    path: str | os.PathLike,
    quantize: str | None = None,
    input_size: tuple[int, int] | None = _INPUT_SIZE,
    output: str = "label_map",
    images: Sequence[np.ndarray] | None = None,
    calibration: Sequence[np.ndarray] | None = None,
    min_agreement: float | None = None,
    verbose: bool = True,
) -> dict[str, Any]:
    """Writes a .tflite file that uses only built-in operations, and PATH.report.json.

    Input: image (1, H, W, 3) in 0..255, float32; for "int8" uint8 with scale 1 and zero point 0.
    Output: label_map (1, H, W) uint8, or probabilities (1, H, W, K) float32.
    The values of the image are not checked: what comes out for NaN or infinity means nothing.

    The file is compared with the model before it is written. A model in mixed precision is
    exported, and compared, in float32. Names and colours of the classes are in the file as well,
    classes.txt and colours.txt in a ZIP archive at its end: `unzip -p FILE classes.txt`.

    Args:
        model: a model from `keras_dup.models.build`. It is not changed.
        path: the file.
        quantize: None; "float16": weights of half the size; "dynamic": 8-bit weights with one
            scale per channel; "int8": 8-bit weights and activations.
        input_size: (H, W); of a model for one size, that one. None: the caller of the file sets it
            (`resize_tensor_input`).
        output: "label_map" or "probabilities".
        images: images (H, W, 3) in 0..255 to compare on, as well as on built-in ones of the full
            range. They are cut or padded to `input_size`.
        calibration: for "int8", about 100 images (H, W, 3) like those that the file will see. The
            ranges of the activations come from them. None takes the images compared on.
        min_agreement: the smallest share of pixels with the class that the model gives. None:
            0.999, for "float16" 0.99, for integers 0.9.
        verbose: print the report.

    Returns: the report: what was compared, the share of equal pixels, size, input and output, and
        how many operations XNNPACK runs on CPUs.

    Raises:
        ImportError: the interpreter that checks the file is missing (extra `litert`).
        RuntimeError: the exported model disagrees with `model`. Nothing is left at `path`.
        ValueError: unknown `quantize` or `output`; "int8" without an `input_size`; an `input_size`
            that the model does not take; another backend than TensorFlow.
    """
    need_backend("litert", "tensorflow")
    if quantize not in _BOUNDS:
        known = tuple(_BOUNDS)
        raise ValueError(f"litert: quantize={quantize!r}; it must be one of {known}")
    if quantize == "int8" and input_size is None and one_size(model) is None:
        raise ValueError("litert: quantize='int8' needs an input_size: ranges belong to one size")
    reader = interpreter()
    if quantize == "int8" and images is None and calibration is None:
        warnings.warn("litert: int8 is calibrated on drawings; give images", stacklevel=2)
    model = in_float32(model)
    input_size = _input_size(model, input_size)
    images = _agreement.compared_images(model, images, input_size)
    ranges = images
    if calibration is not None:
        ranges = [_agreement.fit(image, input_size) for image in _agreement.as_pixels(calibration)]
    content = _convert(fold(model, output), quantize, input_size, ranges)
    content = _with_files(content, label_files(model))
    runner = reader(model_content=content)
    name = f"litert_{quantize}" if quantize else "litert"
    least, most = _BOUNDS[quantize]
    least = least if min_agreement is None else min_agreement
    runs: dict[str, Callable] = {name: lambda image: [answer(runner, image)]}
    report = _agreement.compare(name, model, runs, images, least, most)
    details = {"input": runner.get_input_details(), "output": runner.get_output_details()}
    for key, (detail,) in details.items():
        shape = detail["shape_signature"].tolist()
        dtype = np.dtype(detail["dtype"]).name
        report[key] = {"name": detail["name"], "shape": shape, "dtype": dtype}
    if quantize == "int8":
        report["input"]["scale"], report["input"]["zero_point"] = details["input"][0][
            "quantization"
        ]
    report["xnnpack"] = delegated(runner)
    return _agreement.write(report, content, path, verbose)


def _input_size(model, asked):
    """The size of the file's input; that of the model, if it takes one alone."""
    size = one_size(model)
    if size is None or asked in (None, _INPUT_SIZE):
        return size or asked
    if tuple(asked) != size:
        raise ValueError(
            f"litert: input_size={tuple(asked)}; the model takes images of {size[0]} x {size[1]} "
            "alone"
        )
    return size


def delegated(runner: Any) -> dict[str, Any]:
    """How many operations of a file XNNPACK runs on a CPU, and how many of each kind it does not.

    Args: runner, an interpreter whose tensors are allocated.
    """
    operations = runner._get_ops_details()
    parts = [one for one in operations if one["op_name"] == "DELEGATE"]
    others = {one["index"]: one for one in operations if one["op_name"] != "DELEGATE"}
    total, sources = len(others), {tensor: i for i in others for tensor in others[i]["outputs"]}
    for part in parts:  # what it replaces lies between its outputs and its inputs
        tensors = list(part["outputs"])
        while tensors:
            tensor = tensors.pop()
            source = others.get(sources.get(tensor))
            if source and tensor not in part["inputs"]:
                del others[source["index"]]
                tensors += list(source["inputs"])
    kinds = collections.Counter(one["op_name"] for one in others.values())
    return {"operations": total, "delegated": total - len(others), "others": dict(kinds)}


def answer(runner: Any, image: np.ndarray) -> np.ndarray:
    """The output of an interpreter for (1, H, W, 3) in 0..255. It is resized to that size."""
    (given,), (found,) = runner.get_input_details(), runner.get_output_details()
    if tuple(given["shape"]) != image.shape:
        runner.resize_tensor_input(given["index"], image.shape)
    with hidden(_UNASKED):
        runner.allocate_tensors()
    runner.set_tensor(given["index"], image.astype(given["dtype"]))
    runner.invoke()
    return runner.get_tensor(found["index"])


def interpreter() -> Any:
    """The class `Interpreter` of LiteRT; ImportError, with the extra to install, without it."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError("litert needs ai-edge-litert: pip install 'keras-dup[litert]'") from error
    return Interpreter


def _convert(network, quantize, input_size, calibration):
    spec = tf.TensorSpec((1, *(input_size or (None, None)), 3), tf.float32, "image")

    def answer(image):
        return {network.output_names[0]: network(image, training=False)}

    with tempfile.TemporaryDirectory() as folder:
        _signatures.write(network, folder, {"serving_default": (answer, spec)})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if quantize:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            batches = [[_full_range(image)[None].astype("float32")] for image in calibration]
            converter.representative_dataset = lambda: iter(batches)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
        with hidden(_UNASKED):
            return converter.convert()


def _with_files(content, files):
    """The bytes of a model with files in a ZIP archive at their end, where TFLite's tools look."""
    if not files:
        return content
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)  # without the time: equal bytes again
    return stream.getvalue()


def _full_range(image):
    """A copy with 0 at the first pixel and 255 at the last: the input's range is then 0..255."""
    image = image.copy()
    image[0, 0], image[-1, -1] = 0, 255
    return image
