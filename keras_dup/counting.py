"""Label maps -> `WindowCounts`, by one process or by several."""

import dataclasses
import functools
import itertools
import multiprocessing
import signal
from collections import deque
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from tqdm import tqdm

from keras_dup.window_counts import MEMORY, Tally, counted
from keras_dup.windows import cut_windows, id_type

_BATCH = 16  # label maps that are counted at once
ON_ERROR = ("raise", "skip")


@dataclasses.dataclass
class Counter:
    """Counts the windows of a few label maps; arguments as in `keras_dup.projection.fit`.

    with_void: a pixel that was void is counted as its label + C, not as its label.
    """

    num_classes: int
    ratio: int
    ignore_class: int | None = 255
    on_error: str = "raise"
    with_void: bool = False

    def __call__(self, readers):
        """`readers`: list of (place, function that returns the label map) -> `WindowCounts`."""
        windows, skipped = [self._no_windows()], []
        for place, read in readers:
            try:
                windows.append(self._windows(read(), f"label map {place}"))
            except (ValueError, OSError) as error:
                if self.on_error == "raise":
                    raise
                skipped.append(str(error))
        return counted(np.concatenate(windows), len(windows) - 1, skipped)

    def _windows(self, label_map, name):
        ids, void = cut_windows(label_map, self.num_classes, self.ratio, self.ignore_class, name)
        if self.with_void:
            ids = ids + void.astype(self._type()) * self._type().type(self.num_classes)
        return ids[~void.all(1)]

    def _no_windows(self):
        return np.zeros((0, self.ratio**2), self._type())

    def _type(self):
        return id_type(self.num_classes * (2 if self.with_void else 1))


def count(label_maps, counter, verbose=False, total=None, workers=1, memory=MEMORY):
    """All label maps -> `WindowCounts`; arguments as in `keras_dup.projection.fit`."""
    sequence = hasattr(label_maps, "__len__") and hasattr(label_maps, "__getitem__")
    if counter.on_error not in ON_ERROR:
        raise ValueError(f"on_error is {counter.on_error!r}; one of {ON_ERROR} is expected")
    if workers > 1 and not sequence:
        raise ValueError(
            f"workers is {workers}, but the label maps can only be read one after the other: "
            "give something with len() and [i], such as keras_dup.data.LabelMaps"
        )
    if workers > 1:
        parts = _in_processes(label_maps, counter, workers)
    else:
        parts = map(counter, _batches(_readers(label_maps) if sequence else _given(label_maps)))
    if total is None and hasattr(label_maps, "__len__"):
        total = len(label_maps)
    tally = Tally(memory)
    with tqdm(total=total, desc="reading", unit=" label maps", disable=not verbose) as bar:
        for part in parts:
            tally.add(part)
            bar.update(part.label_maps + len(part.skipped))
    return _checked(tally.result())


def _checked(counts):
    if counts.label_maps:
        return counts
    if counts.skipped:
        raise ValueError(f"all {len(counts.skipped)} label maps are bad: {counts.skipped[0]}")
    raise ValueError("no label maps: the iterable is empty (or was used up before)")


def _readers(label_maps, start=0, stop=None):
    places = range(len(label_maps))[start:stop]
    return ((place, functools.partial(label_maps.__getitem__, place)) for place in places)


def _given(label_maps):
    for place, label_map in enumerate(label_maps):
        yield place, functools.partial(np.asarray, label_map)


def _batches(readers):
    readers = iter(readers)
    while True:  # an empty first batch counts nothing, which the caller then says
        batch = list(itertools.islice(readers, _BATCH))
        yield batch
        if len(batch) < _BATCH:
            return


def _in_processes(label_maps, counter, workers):
    """Yields the counts of batches, in order; only a few are on their way at any time."""
    # A fork has everything at once; elsewhere the label maps are pickled, once a worker.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (label_maps, counter))
    futures = deque()
    try:
        for start in range(0, max(len(label_maps), 1), _BATCH):
            futures.append(pool.submit(_count_batch, start))
            if len(futures) > 2 * workers:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(*job):
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer


def _count_batch(start):
    label_maps, counter = _job
    return counter(_readers(label_maps, start, start + _BATCH))
