"""The SavedModel that TensorFlow Serving loads: signatures, class names, warm-up requests."""

import importlib.util
import io
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dup._backend import need_backend
from keras_dup._labelled import label_files, labelled
from keras_dup.export import _agreement, _encoded, _signatures
from keras_dup.export._folding import fold
from keras_dup.export._precision import in_float32
from keras_dup.inference import one_size

__all__ = ["MAX_PIXELS", "WARM_UP", "saved_model"]

MAX_PIXELS = 2048 * 2048
WARM_UP = "assets.extra/tf_serving_warmup_requests"
# share of pixels that keep their class, largest difference of a probability
_BOUNDS = {None: (0.999, 1e-3), "bfloat16": (0.99, None)}


def saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    class_names: Sequence[str] | None = None,
    probabilities: bool = False,
    images: Sequence[np.ndarray] | None = None,
    version: int | None = None,
    dtype: str | None = None,
    min_agreement: float | None = None,
    max_pixels: int = MAX_PIXELS,
    verbose: bool = True,
) -> dict[str, Any]:
    """Writes path/VERSION/, the versioned folder that TensorFlow Serving loads, and a report.

    Signatures, for images of any size that the model takes:

        serving_default  image (B, H, W, 3) float32 in 0..255 -> label_map (B, H, W) uint8
        serve_uint8      image (B, H, W, 3) uint8 -> label_map (B, H, W) uint8
        serve_encoded    image_bytes (B,), JPEG, PNG, BMP or GIF files of any sizes
                         -> label_map_bytes (B,), grey PNGs of class ids at the sizes of the images,
                         and error (B,), "" if all is well; a bad image does not affect the others

    `serve_encoded` reads a file as `keras-dup predict` does, EXIF orientation included, or answers
    with an error. It refuses by the header, before decoding: an image of more than `max_pixels`
    (a side shorter than 64 counts as 64), and the images that bring a request above four times
    `max_pixels`.

    `serving_default` refuses a batch with a value outside 0..255, NaN or infinite, as
    `keras_dup.inference.predict` does: INVALID_ARGUMENT, "finite values in 0..255 are expected".
    A batch of no images (B = 0) gets an empty answer.

    Every signature is compared with the model before anything is written. A model in mixed
    precision is exported, and compared, in float32.

    Args:
        model: a model from `keras_dup.models.build` with at most 256 classes. It is not changed.
        path: the folder of the model.
        class_names: K strings; None takes those of the model. They are stored as the asset
            `classes.txt`, and with their colours as `colours.txt`.
        probabilities: the first two signatures also return `probabilities`, (B, H, W, K) float32.
        images: images (H, W, 3) in 0..255 to compare on, as well as on built-in ones.
        version: a positive integer; None takes the next one.
        dtype: "bfloat16" stores and computes all but the head in bfloat16, see `fold`; for servers
            whose processors multiply it.
        min_agreement: the smallest share of pixels with the class that the model gives. None:
            0.999, with "bfloat16" 0.99.
        max_pixels: the largest image that `serve_encoded` accepts.
        verbose: print the report.

    Returns: the report, which is also in path/VERSION.report.json: what was compared, the share of
        equal pixels, sizes of the files and of an answer, signatures.

    Raises:
        FileExistsError: the version exists.
        ValueError: the model has more than 256 classes, or not as many as there are names; unknown
            `dtype`; another backend than TensorFlow.
        RuntimeError: the exported model disagrees with `model`. Nothing is left at `path`.
    """
    need_backend("saved_model", "tensorflow")
    _check(model, class_names, dtype)
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    version = version or _next_version(path)
    if (path / str(version)).exists():
        raise FileExistsError(f"{path / str(version)} exists; give another version")
    model = in_float32(model)
    if class_names is not None:
        model = labelled(model, class_names, getattr(model, "colours", None))
    images = _agreement.compared_images(model, images)
    least, most = _BOUNDS[dtype]
    least = least if min_agreement is None else min_agreement
    # a name that is no number: TensorFlow Serving does not see it
    with tempfile.TemporaryDirectory(prefix="part-", dir=path) as part:
        folder = pathlib.Path(part) / "model"
        network = fold(model, "probabilities" if probabilities else "label_map", dtype)
        _write(network, folder, probabilities, max_pixels)
        signatures = tf.saved_model.load(str(folder)).signatures
        runs = _runs(signatures)
        report = _agreement.compare("saved_model", model, runs, images, least, most)
        report["signatures"] = {name: _interface(f) for name, f in signatures.items()}
        report["max_pixels"] = {"image": max_pixels, "request": 4 * max_pixels}
        report["answer_bytes"] = _answer_bytes(signatures["serve_encoded"], images, model)
        report["warm_up"] = _write_warm_up(folder, images[0])
        report["bytes"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        folder.rename(path / str(version))
    return _agreement.finish(report, path / str(version), path / f"{version}.report.json", verbose)


def _runs(signatures):
    """{signature: function (1, H, W, 3) uint8 -> what it answers, label maps as arrays}."""

    def of_pixels(name, dtype):
        def run(image):
            return [x.numpy() for x in signatures[name](image=tf.constant(image, dtype)).values()]

        return run

    def of_file(image):
        answer = signatures["serve_encoded"](image_bytes=tf.io.encode_png(image[0])[None])
        (error,), (file,) = answer["error"].numpy(), answer["label_map_bytes"].numpy()
        if error:
            raise RuntimeError(f"saved_model, serve_encoded: {error.decode()}")
        return [tf.io.decode_png(file).numpy()[None, ..., 0]]

    return {
        "serving_default": of_pixels("serving_default", tf.float32),
        "serve_uint8": of_pixels("serve_uint8", tf.uint8),
        "serve_encoded": of_file,
    }


def _answer_bytes(serve_encoded, images, model):
    """The mean size of an answer in bytes: of `serve_encoded`, as uint8 ids, as probabilities."""
    sizes = []
    for image in images:
        file = tf.io.encode_png(image)
        (answer,) = serve_encoded(image_bytes=file[None])["label_map_bytes"].numpy()
        pixels = image.shape[0] * image.shape[1]
        sizes.append((len(answer), pixels, 4 * pixels * model.output_shape[-1]))
    names = ("label_map_bytes", "label_map", "probabilities")
    means = (round(sum(column) / len(sizes)) for column in zip(*sizes, strict=True))
    return dict(zip(names, means, strict=True))


def _check(model, class_names, dtype):
    if dtype not in _BOUNDS:
        raise ValueError(f"saved_model: dtype={dtype!r}; it must be one of {tuple(_BOUNDS)}")
    classes = model.output_shape[-1]
    if classes > 256:
        raise ValueError(f"saved_model: {classes} classes do not fit into uint8 ids")
    if class_names is not None and len(class_names) != classes:
        raise ValueError(f"saved_model: {len(class_names)} class names for {classes} classes")


def _next_version(path):
    return 1 + max((int(f.name) for f in path.iterdir() if f.name.isdigit()), default=0)


def _write(network, folder, probabilities, max_pixels):
    shape = network.input_shape

    def serve(image):
        given = tf.shape(image)
        with tf.control_dependencies(_checks(image)):
            answer = network(_or_one_image(tf.cast(image, tf.float32), shape), training=False)
        # nothing is left for an empty batch
        answer = tf.reshape(answer[: given[0]], tf.concat([given[:3], answer.shape[3:]], 0))
        if not probabilities:
            return {"label_map": answer}
        ids = tf.cast(tf.argmax(answer, -1), tf.uint8)
        return {"label_map": ids, "probabilities": answer}

    def serve_encoded(image_bytes):
        errors = _encoded.errors(image_bytes, max_pixels, one_size(network))

        def one(inputs):
            content, error = inputs
            return tf.cond(tf.equal(error, ""), lambda: answer(content), lambda: tf.constant(b""))

        def answer(content):
            label_map = serve(_encoded.decoded(content)[None])["label_map"]
            return tf.io.encode_png(label_map[0, ..., None])

        found = tf.map_fn(  # one at a time: memory is that of the largest image
            one, (image_bytes, errors), parallel_iterations=1, fn_output_signature=tf.string
        )
        return {"label_map_bytes": found, "error": errors}

    functions = {
        "serving_default": (serve, tf.TensorSpec(shape, tf.float32, "image")),
        "serve_uint8": (serve, tf.TensorSpec(shape, tf.uint8, "image")),
        "serve_encoded": (serve_encoded, tf.TensorSpec((None,), tf.string, "image_bytes")),
    }
    _signatures.write(network, str(folder), functions)
    for name, text in label_files(network).items():
        (folder / "assets" / name).write_text(text, encoding="utf-8", newline="\n")


def _checks(image):
    """Operations that raise for (B, H, W, 3) that is no batch of images; B = 0 is one."""
    shape = tf.shape(image)
    message = "the image has no pixels: (B, H, W, 3) with H, W > 0 is expected"
    checks = [tf.debugging.Assert(tf.equal(shape[0], 0) | tf.reduce_all(shape > 0), [message])]
    if image.dtype.is_floating:
        message = "the image has values outside 0..255: finite values in 0..255 are expected"
        within = tf.reduce_all((image >= 0) & (image <= 255))  # NaN is not
        checks.append(tf.debugging.Assert(within, [message]))
    return checks


def _or_one_image(images, shape):
    """The images; in place of an empty batch, which kernels refuse, a black one as small as may be.

    Args: images; shape, (None, H, W, 3), what the network takes.
    """
    empty = tf.equal(tf.shape(images)[0], 0)
    smallest = [side or 1 for side in shape]
    images = tf.cond(empty, lambda: tf.zeros(smallest), lambda: images)
    return tf.ensure_shape(images, shape)


def _interface(signature):
    def described(specs):
        return {n: {"shape": str(s.shape), "dtype": s.dtype.name} for n, s in specs.items()}

    inputs = signature.structured_input_signature[1]
    return {"inputs": described(inputs), "outputs": described(signature.structured_outputs)}


def _write_warm_up(folder, image):
    """One request for each signature, which the server runs before it answers anybody."""
    if importlib.util.find_spec("tensorflow_serving") is None:
        return "left out: it needs tensorflow-serving-api, pip install 'keras-dup[serving]'"
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    inputs = {
        "serving_default": ("image", tf.constant(image[None], tf.float32)),
        "serve_uint8": ("image", tf.constant(image[None], tf.uint8)),
        "serve_encoded": ("image_bytes", tf.constant([file.getvalue()])),
    }
    (folder / WARM_UP).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / WARM_UP)) as writer:
        for name, (key, value) in inputs.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = name
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
    return f"{len(inputs)} requests"
