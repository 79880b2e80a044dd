"""Every format of one model side by side: size, latency on one core, agreement, mIoU."""

import contextlib
import functools
import os
import pathlib
import statistics
import time

from keras_dup import evaluation, inference
from keras_dup.data import Shapes
from keras_dup.export import exchange, mobile, serving

FORMATS = (
    "saved_model",
    "saved_model_bfloat16",
    "litert",
    "litert_float16",
    "litert_dynamic",
    "litert_int8",
    "onnx",
)
RUNS = 9


def export_all(model, folder, formats, input_size, class_names=None, calibration=None, images=None):
    """Writes the formats to `folder`: {name: report}, with their files named after the format."""
    check(formats)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reports = {}
    for name in formats:
        if name.startswith("saved_model"):
            dtype = name.removeprefix("saved_model").strip("_") or None
            path = folder / name
            report = serving.saved_model(model, path, class_names, images=images, dtype=dtype)
        elif name == "onnx":
            report = exchange.onnx(model, folder / "model.onnx", images=images)
        else:
            quantize = name.partition("_")[2] or None
            path, given = folder / f"{name}.tflite", {"images": images}
            if quantize == "int8":
                given["calibration"] = calibration
            report = mobile.litert(model, path, quantize, input_size, **given)
        reports[name] = report
    return reports


def check(formats):
    """Raises ValueError for a name that is not in `FORMATS`."""
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"export: no format {name!r}; the formats are {', '.join(FORMATS)}")


def measure(model, reports, dataset, input_size):
    """[{"format", "bytes", "seconds", "equal_pixels", "miou"}], the model itself first.

    Images go into LiteRT files with grey on the right and at the bottom, which the label map loses
    again; their pixels are compared with those of the Keras model for the same input. For mIoU the
    Keras model and the files for any size get images as they are.

    Args:
        model: the Keras model.
        reports: what `export_all` returned.
        dataset: labelled images, none larger than `input_size`.
        input_size: (H, W) that the files were written for; latency is that of one such image, the
            median of nine, on one core where the system can pin threads.
    """
    keras = functools.partial(inference.predict, model)
    predictors = {name: _predictor(name, reports[name]["path"], input_size) for name in reports}
    image, rows = Shapes(1, input_size).image(0), []
    padded, _ = _label_maps(_padded(keras, input_size), dataset)
    plain = None
    for name, predict in {"keras": keras, **predictors}.items():
        with _one_core():
            seconds = _latency(functools.partial(predict, image))
        found, miou = _label_maps(predict, dataset)
        plain = plain or found  # of Keras, which comes first
        rows.append(
            {
                "format": name,
                "bytes": reports.get(name, {}).get("bytes"),
                "seconds": seconds,
                "equal_pixels": _equal(padded if name.startswith("litert") else plain, found),
                "miou": miou,
            }
        )
    return rows


def table(rows):
    """The rows of `measure` as lines of text."""
    lines = [f"{'format':21} {'size':>9} {'one core':>11} {'equal pixels':>13} {'mIoU':>9}"]
    for row in rows:
        size = f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] else ""
        lines.append(
            f"{row['format']:21} {size:>9} {1000 * row['seconds']:8.0f} ms "
            f"{100 * row['equal_pixels']:11.3f} % {100 * row['miou']:7.2f} %"
        )
    return "\n".join(lines)


def _predictor(name, path, input_size):
    """The function image (H, W, 3) -> label map (H, W) of an exported file."""
    if name.startswith("saved_model"):
        import tensorflow as tf

        serve = tf.saved_model.load(path).signatures["serve_uint8"]
        return lambda image: serve(image=tf.constant(image[None]))["label_map"].numpy()[0]
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda image: session.run(None, {"image": image[None].astype("float32")})[0][0]
    runner = mobile.interpreter()(path, num_threads=1)
    return _padded(lambda image: mobile.answer(runner, image[None])[0], input_size)


def _padded(predict, input_size):
    """`predict` for a fixed size as a function of images up to that size."""

    def padded(image):
        height, width = image.shape[:2]
        if height > input_size[0] or width > input_size[1]:
            raise ValueError(f"an image of {height} x {width} does not fit into {input_size}")
        return predict(mobile.fit(image, input_size))[:height, :width]

    return padded


def _label_maps(predict, dataset):
    """The predicted label maps of a data set, and their mIoU."""
    found = []

    def keep(image):
        found.append(predict(image))
        return found[-1]

    return found, evaluation.evaluate(keep, dataset)["miou"]


def _equal(expected, found):
    equal = [a == b for a, b in zip(expected, found, strict=True)]
    return sum(int(same.sum()) for same in equal) / sum(same.size for same in equal)


def _latency(run):
    run()
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


@contextlib.contextmanager
def _one_core():
    """All threads of this process on one core, where the system lets us (Linux)."""
    threads = pathlib.Path("/proc/self/task")
    if not hasattr(os, "sched_setaffinity") or not threads.exists():
        yield
        return
    before = os.sched_getaffinity(0)

    def pin(cores):
        for thread in threads.iterdir():
            with contextlib.suppress(OSError):  # it may have ended
                os.sched_setaffinity(int(thread.name), cores)

    pin({min(before)})
    try:
        yield
    finally:
        pin(before)
