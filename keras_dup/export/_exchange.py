"""ONNX files."""

import importlib.util
import json
import logging
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dup._backend import need_backend
from keras_dup._labelled import LabelledModel
from keras_dup.export import _agreement
from keras_dup.export._folding import fold
from keras_dup.export._precision import in_float32

__all__ = ["check_installed", "onnx"]

_OPSET = 17


def onnx(
    model: keras.Model,
    path: str | os.PathLike,
    output: str = "label_map",
    images: Sequence[np.ndarray] | None = None,
    min_agreement: float = 0.999,
    verbose: bool = True,
) -> dict[str, Any]:
    """Writes an .onnx file, checked in onnxruntime, and PATH.report.json.

    Input: image (B, H, W, 3) float32 in 0..255, any sizes that the model takes.
    Output: label_map (B, H, W) uint8 (int32 over 256 classes), or probabilities (B, H, W, K).
    The values of the image are not checked: what comes out for NaN or infinity means nothing.

    A model in mixed precision is exported, and compared, in float32. Names and colours of the
    classes are metadata of the file, as JSON: `class_names`, `colours`.

    Args:
        model: a model from `keras_dup.models.build`. It is not changed.
        path: the file.
        output: "label_map" or "probabilities".
        images: images (H, W, 3) in 0..255 to compare on, as well as on built-in ones.
        min_agreement: the smallest share of pixels with the class that the model gives.
        verbose: print the report.

    Returns: the report: what was compared, the share of equal pixels, size, input and output.

    Raises:
        ImportError: tf2onnx or onnxruntime is missing (extra `onnx`).
        RuntimeError: the exported model disagrees with `model`. Nothing is left at `path`.
        ValueError: unknown `output`; another backend than TensorFlow.
    """
    need_backend("onnx", "tensorflow")
    check_installed()
    import onnxruntime
    import tf2onnx

    logging.getLogger("tf2onnx.optimizer").setLevel(logging.ERROR)  # what it leaves as it is
    model = in_float32(model)
    network = fold(model, output)

    @tf.function
    def serve(image):
        return {output: network(image, training=False)}

    spec = tf.TensorSpec(network.input_shape, tf.float32, "image")
    graph, _ = tf2onnx.convert.from_function(
        serve, [spec], opset=_OPSET, custom_op_handlers={"Erfc": (_erfc, [])}
    )
    _keep_constants(graph.graph, serve.get_concrete_function(spec).graph)
    if isinstance(model, LabelledModel):
        for key in ("class_names", "colours"):
            text = json.dumps(getattr(model, key), ensure_ascii=False)
            graph.metadata_props.add(key=key, value=text)
    content = graph.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(image):
        return session.run(None, {"image": image.astype("float32")})

    images = _agreement.compared_images(model, images)
    report = _agreement.compare("onnx", model, {"onnx": run}, images, min_agreement, 1e-3)
    for key, (tensor,) in (("input", session.get_inputs()), ("output", session.get_outputs())):
        report[key] = {"name": tensor.name, "shape": str(tensor.shape), "dtype": tensor.type}
    return _agreement.write(report, content, path, verbose)


def _erfc(graph, node, name, _):
    """1 - Erf, for tf2onnx: Keras's GELU computes by Erfc, which ONNX does not have."""
    erf = graph.make_node("Erf", node.input)
    one = graph.make_const(f"{name}_one", np.float32(1))
    graph.replace_inputs(node, [one.output[0], erf.output[0]])
    node.type, node.domain = "Sub", ""
    return node


def _keep_constants(graph, traced):
    """Puts the tensors that layers hold into the file; tf2onnx asks its caller for them."""
    from onnx import numpy_helper

    read = {name for node in graph.node for name in node.input}
    for value, inner in traced.captures:
        for asked in [one for one in graph.input if one.name == inner.name]:
            graph.input.remove(asked)
            if asked.name in read:
                graph.initializer.append(numpy_helper.from_array(value.numpy(), asked.name))


def check_installed() -> None:
    """Raises ImportError, with the extra to install, if ONNX files cannot be written."""
    for module in ("tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(module) is None:
            raise ImportError(f"onnx needs {module}: pip install 'keras-dup[onnx]'")
