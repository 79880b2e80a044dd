"""ONNX files."""

import importlib.util

import tensorflow as tf

from keras_dup.export import agreement
from keras_dup.export.folding import fold

OPSET = 17


def onnx(model, path, output="label_map", images=None, min_agreement=0.999, verbose=True):
    """Writes an .onnx file, checked in onnxruntime, and PATH.report.json.

    Input: image (B, H, W, 3) float32 in 0..255, any sizes.
    Output: label_map (B, H, W) uint8 (int32 over 256 classes), or probabilities (B, H, W, K).

    Args:
        model: what `keras_dup.models.build` returns. It stays as it is.
        path: the file.
        output: "label_map" or "probabilities".
        images: list of (H, W, 3) arrays to compare with `model` on; None takes drawn ones.
        min_agreement: the share of pixels whose class must be the model's.
        verbose: print the report.

    Returns: the report: what was compared, the share of equal pixels, size, input and output.

    Raises:
        ImportError: tf2onnx or onnxruntime is missing (the extra `onnx`).
        RuntimeError: the exported model disagrees with `model`; nothing is left at `path`.
        ValueError: unknown `output`.
    """
    for module in ("tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(module) is None:
            raise ImportError(f"onnx needs {module}: pip install 'keras-dup[onnx]'")
    import onnxruntime
    import tf2onnx

    network = fold(model, output)

    def serve(image):
        return {output: network(image, training=False)}

    spec = tf.TensorSpec((None, None, None, 3), tf.float32, "image")
    graph, _ = tf2onnx.convert.from_function(tf.function(serve), [spec], opset=OPSET)
    content = graph.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(image):
        return session.run(None, {"image": image})[0]

    images = agreement.drawn() if images is None else images
    report = agreement.compare("onnx", model, run, images, min_agreement)
    for key, (tensor,) in (("input", session.get_inputs()), ("output", session.get_outputs())):
        report[key] = {"name": tensor.name, "shape": str(tensor.shape), "dtype": tensor.type}
    return agreement.write(report, content, path, verbose)
