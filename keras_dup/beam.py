"""Predictions, scores and counts of any number of images by Apache Beam (extra `beam`).

    images     | Predict("run/best.keras")        # (name, image) -> (name, label map)
    examples   | Evaluate("run/best.keras", classes)    # (name, (image, label map)) -> one report
    label_maps | CountWindows(num_classes=150, ratio=16)    # -> what `projection.fit_counts` takes

The first two run on Beam's `RunInference`: each worker process loads the model once. An image is
an array (H, W, 3) of 0..255, the bytes of an image file, or a path that each worker can read.
"""

import os
import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from keras_dup import evaluation, inference
from keras_dup.data import _images
from keras_dup.projection._beam import CountWindows

try:
    import apache_beam as beam
    from apache_beam.ml.inference import base
except ImportError as error:
    raise ImportError("keras_dup.beam needs Apache Beam: pip install 'keras-dup[beam]'") from error

__all__ = ["CountWindows", "Evaluate", "Predict"]

_AT_ONCE = 8  # images that a worker reads before it predicts them
_predicting = threading.Lock()  # Keras's `predict_on_batch` is not for several threads


class _Handler(base.ModelHandler):
    """`keras_dup.inference.predict` of (name, image) for `RunInference`; None for a bad image."""

    def __init__(self, model, on_error, options):
        super().__init__()
        self._model, self._on_error, self._options = model, on_error, options

    def batch_elements_kwargs(self):
        return {"min_batch_size": 1, "max_batch_size": _AT_ONCE}

    def load_model(self):
        return inference.network(self._model)

    def run_inference(self, batch, model, inference_args=None):
        images = [self._image(name, image) for name, image in batch]
        good = [image for image in images if image is not None]
        with _predicting:
            found = iter(inference.predict(model, good, **self._options) if good else ())
        return [None if image is None else next(found) for image in images]

    def _image(self, name, image):
        try:
            if isinstance(image, bytes):
                return _images.decode_image(image, name, turn=True)
            if isinstance(image, (str, os.PathLike)):
                return _images.read_image(image)
            return inference.checked(image, name)
        except (ValueError, OSError):
            if self._on_error == "raise":
                raise
            beam.metrics.Metrics.counter("keras_dup", "skipped_images").inc()
            return None


class Predict(beam.PTransform):
    """A `PCollection` of (name, image) -> one of (name, label map), (H, W) class ids.

    Args:
        model: what `keras_dup.models.load` takes: a path that each worker can read, a handle of a
            hub, a name of the package.
        on_error: "raise" stops the pipeline at an image that cannot be read; "skip" leaves it out
            and counts it in the metric `skipped_images`.
        options: scales, flip and window of `keras_dup.inference.predict`.
    """

    def __init__(self, model: str | os.PathLike, on_error: str = "raise", **options: Any) -> None:
        super().__init__()
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r}; it must be 'raise' or 'skip'")
        self.handler = _Handler(os.fspath(model), on_error, options)

    def expand(self, images):
        named = images | "Name" >> beam.MapTuple(lambda name, image: (name, (name, image)))
        return named | _predicted(self.handler)


def _predicted(handler):
    """(key, (name, image)) -> (key, label map)."""
    keyed = base.RunInference(base.KeyedModelHandler(handler))
    return keyed | "Answer" >> beam.FlatMapTuple(_answer)


def _answer(key, found):
    """What `RunInference` gives for an image, unless it was skipped."""
    return [] if found is None else [(key, found)]


class Evaluate(beam.PTransform):
    """A `PCollection` of (name, (image, label map)) -> one of one report.

    The report is that of `keras_dup.evaluation.evaluate`, with the images in order of their names;
    void is 255 in a label map.

    Args:
        model, on_error, options: as in `Predict`.
        class_names: of the data.
        trimap_widths, boundary, grid: as in `keras_dup.evaluation.evaluate`.
    """

    def __init__(
        self,
        model: str | os.PathLike,
        class_names: Sequence[str],
        trimap_widths: Sequence[float] = (),
        boundary: bool = False,
        grid: int | None = None,
        on_error: str = "raise",
        **options: Any,
    ) -> None:
        super().__init__()
        self._predict = Predict(model, on_error, **options)
        self._scores = _Scores(list(class_names), trimap_widths, boundary, grid)

    def expand(self, examples):
        # the truth is part of the key: it travels along, without a second shuffle of the data
        keyed = examples | "Truth" >> beam.MapTuple(
            lambda name, pair: ((name, pair[1]), (name, pair[0]))
        )
        predicted = keyed | _predicted(self._predict.handler)
        return predicted | beam.CombineGlobally(self._scores).without_defaults()


class _Scores(beam.CombineFn):
    """Combines ((name, truth), label map) into a report."""

    def __init__(self, class_names, *options):
        super().__init__()
        self._dataset = SimpleNamespace(num_classes=len(class_names), class_names=class_names)
        self._options = options

    def create_accumulator(self):
        return [], evaluation.Totals(self._dataset, *self._options)

    def add_input(self, accumulator, example):
        names, totals = accumulator
        (name, truth), found = example
        evaluation.check(found, truth, self._dataset.num_classes, name)
        totals.add(truth, found)
        names.append(name)
        return names, totals

    def merge_accumulators(self, accumulators):
        names, totals = self.create_accumulator()
        for others, part in accumulators:
            names += others
            totals.merge(part)
        return names, totals

    def extract_output(self, accumulator):
        names, totals = accumulator
        report = totals.report()
        order = sorted(range(len(names)), key=names.__getitem__)
        return {**report, "image_miou": [report["image_miou"][i] for i in order]}
