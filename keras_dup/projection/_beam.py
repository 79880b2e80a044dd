"""Counting windows by Apache Beam, for label maps that lie on many machines (extra `beam`).

    counts = label_maps | keras_dup.beam.CountWindows(num_classes=150, ratio=16)

turns a `PCollection` of label maps, as TensorFlow Datasets' own pipelines have them, into one
`WindowCounts`, which `keras_dup.projection.fit_counts` takes. Counts merge by addition, exactly
and in any order, so the projection is the one that a single process finds.
"""

import numpy as np

from keras_dup._label_maps import VOID
from keras_dup.projection._counting import Counter
from keras_dup.projection._window_counts import merged

try:
    import apache_beam as beam
except ImportError as error:
    raise ImportError("keras_dup.beam needs Apache Beam: pip install 'keras-dup[beam]'") from error

__all__ = ["CountWindows", "WindowCountsFn"]


class WindowCountsFn(beam.CombineFn):
    """Combines label maps into `WindowCounts`. Arguments as in `keras_dup.projection.fit`.

    A label map is (H, W) integers; give (name, label map) for errors that name it.
    """

    def __init__(
        self,
        num_classes: int,
        ratio: int,
        ignore_class: int | None = VOID,
        on_error: str = "raise",
    ) -> None:
        super().__init__()
        self._counter = Counter(num_classes, ratio, ignore_class, on_error)

    def create_accumulator(self):
        return []

    def add_input(self, parts, label_map):
        name, label_map = (
            label_map if isinstance(label_map, tuple) else ("of a pipeline", label_map)
        )
        return self.compact([*parts, self._counter([(name, lambda: np.asarray(label_map))])])

    def merge_accumulators(self, accumulators):
        parts = [part for parts in accumulators for part in parts]
        return [merged(parts)] if parts else []

    def compact(self, parts):
        """The first part is the sum so far: the others wait until they are as large together."""
        waiting = sum(map(len, parts[1:]))
        return [merged(parts)] if parts and waiting > max(len(parts[0]), 2**16) else parts

    def extract_output(self, parts):
        if not parts:
            raise ValueError("no label maps: the collection is empty")
        return merged(parts)


class CountWindows(beam.PTransform):
    """A `PCollection` of label maps -> one of one `WindowCounts`; arguments as in `WindowCountsFn`.

    The counts of all label maps come together in one worker at the end, which has to hold the
    distinct windows some `window_counts._COPIES` times over.
    """

    def __init__(self, *args, **kwargs):
        super().__init__()
        self._combine = WindowCountsFn(*args, **kwargs)

    def expand(self, label_maps):
        return label_maps | beam.CombineGlobally(self._combine).without_defaults()
