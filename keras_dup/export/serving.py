"""The SavedModel that TensorFlow Serving loads: signatures, class names, warm-up requests."""

import importlib.util
import io
import pathlib
import tempfile

import keras
import tensorflow as tf
from PIL import Image

from keras_dup.export import agreement
from keras_dup.export.folding import fold

MAX_PIXELS = 2048 * 2048
MIN_AGREEMENT = {None: 0.999, "bfloat16": 0.99}  # share of pixels that keep their class
WARM_UP = "assets.extra/tf_serving_warmup_requests"


def saved_model(
    model,
    path,
    class_names=None,
    probabilities=False,
    images=None,
    version=None,
    dtype=None,
    min_agreement=None,
    max_pixels=MAX_PIXELS,
    verbose=True,
):
    """Writes path/VERSION/, the versioned folder that TensorFlow Serving loads, and a report.

    Signatures, for images of any size:

        serving_default  image (B, H, W, 3) float32 in 0..255 -> label_map (B, H, W) uint8
        serve_uint8      image (B, H, W, 3) uint8 -> the same
        serve_encoded    image_bytes (B,), JPEG, PNG, BMP or GIF files of any sizes, grey or colour
                         -> label_map_bytes (B,), grey PNGs of class ids at the sizes of the images,
                         and error (B,), empty where all is well; a bad image does not hurt others

    Photographs are taken as they are stored: turn them as their EXIF says before sending them.

    Args:
        model: what `keras_dup.models.build` returns, K at most 256. It stays as it is.
        path: the model's folder.
        class_names: K strings, stored as the asset `classes.txt`.
        probabilities: the first two signatures give `probabilities`, (B, H, W, K) float32, too.
        images: list of (H, W, 3) arrays to compare with `model` on; None takes drawn ones.
        version: a positive integer; None takes the next one.
        dtype: "bfloat16" stores and computes all but the head in it, see `fold`; for servers that
            multiply it.
        min_agreement: the share of pixels whose class must be the model's; None asks for 0.999,
            with "bfloat16" 0.99.
        max_pixels: of an image that `serve_encoded` accepts.
        verbose: print the report.

    Returns: the report, which is also in path/VERSION.report.json: what was compared, the share of
        equal pixels, sizes of the files and of an answer, signatures.

    Raises:
        FileExistsError: the version exists.
        ValueError: the model has more than 256 classes, or not as many as there are names; unknown
            `dtype`.
        RuntimeError: the exported model disagrees with `model`; nothing is left at `path`.
    """
    _check(model, class_names)
    images = agreement.drawn() if images is None else images
    path = pathlib.Path(path)
    path.mkdir(parents=True, exist_ok=True)
    version = version or _next_version(path)
    if (path / str(version)).exists():
        raise FileExistsError(f"{path / str(version)} exists; give another version")
    # a name that is no number: TensorFlow Serving does not see it
    with tempfile.TemporaryDirectory(prefix="part-", dir=path) as part:
        folder = pathlib.Path(part) / "model"
        network = fold(model, "probabilities" if probabilities else "label_map", dtype)
        _write(network, folder, class_names, probabilities, max_pixels)
        signatures = tf.saved_model.load(str(folder)).signatures
        serve = signatures["serving_default"]

        def run(image):
            answer = serve(image=tf.constant(image))
            return answer["probabilities" if probabilities else "label_map"].numpy()

        least = MIN_AGREEMENT[dtype] if min_agreement is None else min_agreement
        report = agreement.compare("saved_model", model, run, images, least)
        report["signatures"] = {name: _interface(f) for name, f in signatures.items()}
        report["answer_bytes"] = _answer_bytes(signatures["serve_encoded"], images, model)
        report["warm_up"] = _write_warm_up(folder, images[0])
        report["bytes"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        folder.rename(path / str(version))
    return agreement.finish(report, path / str(version), path / f"{version}.report.json", verbose)


def _answer_bytes(serve_encoded, images, model):
    """The mean size of an answer: as `serve_encoded` gives it, as uint8 ids, as probabilities."""
    sizes = []
    for image in images:
        file = tf.io.encode_png(tf.cast(image, tf.uint8))
        (answer,) = serve_encoded(image_bytes=file[None])["label_map_bytes"].numpy()
        pixels = image.shape[0] * image.shape[1]
        sizes.append((len(answer), pixels, 4 * pixels * model.output_shape[-1]))
    names = ("label_map_bytes", "label_map", "probabilities")
    means = (round(sum(column) / len(sizes)) for column in zip(*sizes, strict=True))
    return dict(zip(names, means, strict=True))


def _check(model, class_names):
    classes = model.output_shape[-1]
    if classes > 256:
        raise ValueError(f"saved_model: {classes} classes do not fit into uint8 ids")
    if class_names is not None and len(class_names) != classes:
        raise ValueError(f"saved_model: {len(class_names)} class names for {classes} classes")


def _next_version(path):
    return 1 + max((int(f.name) for f in path.iterdir() if f.name.isdigit()), default=0)


def _write(network, folder, class_names, probabilities, max_pixels):
    def serve(image):
        message = "the image has no pixels: (B, H, W, 3) with H, W > 0 is expected"
        with tf.control_dependencies([tf.debugging.assert_positive(tf.shape(image), message)]):
            answer = network(tf.cast(image, tf.float32), training=False)
        if not probabilities:
            return {"label_map": answer}
        ids = tf.cast(tf.argmax(answer, -1), tf.uint8)
        return {"label_map": ids, "probabilities": answer}

    def serve_encoded(image_bytes):
        errors = _errors(image_bytes, max_pixels)

        def one(inputs):
            content, error = inputs
            return tf.cond(tf.equal(error, ""), lambda: answer(content), lambda: tf.constant(b""))

        def answer(content):
            label_map = serve(_decoded(content)[None])["label_map"]
            return tf.io.encode_png(label_map[0, ..., None])

        found = tf.map_fn(  # one at a time: memory is that of the largest image
            one, (image_bytes, errors), parallel_iterations=1, fn_output_signature=tf.string
        )
        return {"label_map_bytes": found, "error": errors}

    archive = keras.export.ExportArchive()
    for name, function, spec in (
        ("serving_default", serve, tf.TensorSpec((None, None, None, 3), tf.float32, "image")),
        ("serve_uint8", serve, tf.TensorSpec((None, None, None, 3), tf.uint8, "image")),
        ("serve_encoded", serve_encoded, tf.TensorSpec((None,), tf.string, "image_bytes")),
    ):
        archive.add_endpoint(name, function, input_signature=[spec])
    archive.write_out(str(folder), verbose=False)
    if class_names is not None:
        text = "\n".join(class_names) + "\n"
        (folder / "assets" / "classes.txt").write_text(text, encoding="utf-8")


def _decoded(content):
    """The bytes of a file -> (H, W, 3) uint8; of an animation the first picture."""

    def photograph():  # as Pillow decodes it; the default is faster and less exact
        return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")

    def other():
        return tf.io.decode_image(content, channels=3, expand_animations=False)

    image = tf.cond(tf.io.is_jpeg(content), photograph, other)
    return tf.ensure_shape(image, (None, None, 3))


def _errors(contents, max_pixels):
    """(B,) bytes of files -> (B,) what is wrong with each, "" for nothing."""

    def check(number, content):
        shape = tf.shape(_decoded(content))
        size = tf.strings.format("{} x {}", (shape[0], shape[1]))
        text = f"pixels: at most {max_pixels} in all are accepted"
        good = tf.logical_and(shape[0] * shape[1] > 0, shape[0] <= max_pixels // shape[1])
        return number, tf.where(good, "", tf.strings.join([_name(number), "has", size, text], " "))

    # decoding raises; a data set can leave out what raises, a signature cannot
    numbers = tf.range(tf.size(contents))
    checked = tf.data.Dataset.from_tensor_slices((numbers, contents)).map(check)
    bad = tf.map_fn(_name, numbers, fn_output_signature=tf.string)
    bad = tf.strings.join([bad, "cannot be decoded: JPEG, PNG, BMP or GIF is expected"], " ")

    def store(errors, found):
        number, error = found
        return tf.tensor_scatter_nd_update(errors, [[number]], [error])

    return checked.ignore_errors().reduce(bad, store)


def _name(number):
    return tf.strings.format("image {}", number)


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

    encoded = io.BytesIO()
    Image.fromarray(image.astype("uint8")).save(encoded, "JPEG")
    inputs = {
        "serving_default": ("image", tf.constant(image[None], tf.float32)),
        "serve_uint8": ("image", tf.constant(image[None], tf.uint8)),
        "serve_encoded": ("image_bytes", tf.constant([encoded.getvalue()])),
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
