"""Every format of one model side by side: size, latency on one core, agreement, mIoU."""

import contextlib
import functools
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_dup import evaluation, inference
from keras_dup._nearest import hint
from keras_dup.data import Shapes
from keras_dup.export import _agreement, _exchange, _mobile, _serving

__all__ = ["FORMATS", "check", "export_all", "measure", "missing", "table"]

FORMATS = (
    "saved_model",
    "saved_model_bfloat16",
    "litert",
    "litert_float16",
    "litert_dynamic",
    "litert_int8",
    "onnx",
)
_RUNS = 9


def check(formats: Iterable[str]) -> None:
    """Raises ValueError for a name that is not in `FORMATS`."""
    for name in formats:
        if name not in FORMATS:
            known = f"{', '.join(FORMATS)}{hint(name, FORMATS)}"
            raise ValueError(f"export: no format {name!r}; the formats are {known}")


def missing(formats: Iterable[str]) -> dict[str, list[str]]:
    """{what to install: the formats that cannot be written without it}."""
    found: dict[str, list[str]] = {}
    for name in formats:
        try:
            if name.startswith("litert"):
                _mobile.interpreter()
            elif name == "onnx":
                _exchange.check_installed()
        except ImportError as error:
            found.setdefault(str(error), []).append(name)
    return found


def export_all(
    model: keras.Model,
    folder: str | os.PathLike,
    formats: Iterable[str],
    input_size: tuple[int, int],
    class_names: Sequence[str] | None = None,
    calibration: Sequence[np.ndarray] | None = None,
    images: Sequence[np.ndarray] | None = None,
    on_error: Callable[[str, Exception], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Writes the formats to `folder`, in files named after the format.

    Args:
        model, class_names, images: as in `saved_model`.
        folder: it is made if it does not exist.
        formats: names in `FORMATS`.
        input_size, calibration: as in `litert`.
        on_error: called with the name of a format that could not be written and the error; the
            other formats are then written. None raises the error.

    Returns: {format: its report}.
    """
    check(formats)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reports = {}
    for name in formats:
        quantize = name.partition("_")[2] or None
        options: dict[str, Any] = {"images": images}
        try:
            if name.startswith("saved_model"):
                options["dtype"] = name.removeprefix("saved_model").strip("_") or None
                report = _serving.saved_model(model, folder / name, class_names, **options)
            elif name == "onnx":
                report = _exchange.onnx(model, folder / "model.onnx", **options)
            else:
                options["calibration"] = calibration
                path = folder / f"{name}.tflite"
                report = _mobile.litert(model, path, quantize, input_size, **options)
        except Exception as error:  # converters raise what they like
            if on_error is None:
                raise
            on_error(name, error)
        else:
            reports[name] = report
    return reports


def measure(
    model: keras.Model,
    reports: dict[str, dict[str, Any]],
    dataset: Any,
    input_size: tuple[int, int],
) -> list[dict[str, Any]]:
    """Compares the formats on labelled images; the model itself is the first row.

    Images are padded with grey on the right and at the bottom for LiteRT files, and their label
    maps are cut; their pixels are compared with those of the Keras model for the same input. The
    Keras model and the other formats take the images as they are; if the model takes one size
    alone, they are padded for all.

    Args:
        model: the Keras model.
        reports: what `export_all` returned.
        dataset: labelled images, none larger than `input_size`.
        input_size: (H, W) that the files were written for. Latency is that of one such image, the
            median of nine, on one core if the system can pin threads.

    Returns: [{"format", "bytes", "seconds", "equal_pixels", "miou"}].
    """
    of_keras, size = functools.partial(inference.predict, model), inference.one_size(model)
    input_size = size or input_size
    predictors = {name: _predictor(name, reports[name]["path"], input_size) for name in reports}
    if size:  # of all, not of LiteRT files alone
        of_keras = _padded(of_keras, size)
        predictors = {name: _padded(predict, size) for name, predict in predictors.items()}
    image, rows = Shapes(1, input_size).image(0), []
    padded, _ = _label_maps(_padded(of_keras, input_size), dataset)
    plain = None
    for name, predict in {"keras": of_keras, **predictors}.items():
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


def table(rows: Iterable[dict[str, Any]]) -> str:
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
    runner = _mobile.interpreter()(path, num_threads=1)
    return _padded(lambda image: _mobile.answer(runner, image[None])[0], input_size)


def _padded(predict, input_size):
    """`predict` for a fixed size as a function of images up to that size."""

    def padded(image):
        height, width = image.shape[:2]
        if height > input_size[0] or width > input_size[1]:
            raise ValueError(f"an image of {height} x {width} does not fit into {input_size}")
        return predict(_agreement.fit(image, input_size))[:height, :width]

    return padded


def _label_maps(predict, dataset):
    """The predicted label maps of a data set, and their mIoU."""
    found = []

    def keep(image):
        found.append(predict(image))
        return found[-1]

    return found, evaluation.evaluate(keep, dataset, warn=False)["miou"]


def _equal(expected, found):
    equal = [a == b for a, b in zip(expected, found, strict=True)]
    return sum(int(same.sum()) for same in equal) / sum(same.size for same in equal)


def _latency(run):
    run()
    seconds = []
    for _ in range(_RUNS):
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
