"""Label maps -> `WindowCounts`, by one process or by several."""

import dataclasses
import functools
import itertools
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from tqdm import tqdm

from keras_dup._label_maps import VOID
from keras_dup.projection._window_counts import MEMORY, Tally, counted
from keras_dup.projection._windows import cut_windows, id_type, several_and_single

__all__ = ["ON_ERROR", "Counter", "Cutter", "count", "in_batches"]

_BATCH = 16  # label maps that are counted at once
ON_ERROR = ("raise", "skip")


@dataclasses.dataclass
class Cutter:
    """Cuts label maps into windows; arguments as in `keras_dup.projection.fit`."""

    num_classes: int
    ratio: int
    ignore_class: int | None = VOID
    on_error: str = "raise"

    def __post_init__(self):
        if self.on_error not in ON_ERROR:
            raise ValueError(f"on_error is {self.on_error!r}; one of {ON_ERROR} is expected")

    def cut(self, readers, skipped, cut=cut_windows):
        """Yields what `cut` of `windows` returns and the shape (h, w) of the grid of windows.

        readers: (place, function that returns the label map); skipped: a list of messages that
        grows.
        """
        for place, read in readers:
            try:
                label_map, name = read(), f"label map {place}"
                found = cut(label_map, self.num_classes, self.ratio, self.ignore_class, name)
            except (ValueError, OSError) as error:
                if self.on_error == "raise":
                    raise
                skipped.append(str(error))
            else:
                yield *found, tuple(-(-size // self.ratio) for size in np.shape(label_map))


@dataclasses.dataclass
class Counter(Cutter):
    """Counts windows; those that are void throughout are left out.

    with_void: a pixel that was void is counted as its label + C, not as its label.
    """

    with_void: bool = False

    def __call__(self, readers):
        """-> `WindowCounts`; `readers` as in `cut`."""
        skipped = []
        ids_type = id_type(self.num_classes * (2 if self.with_void else 1))
        windows, single = [np.zeros((0, self.ratio**2), ids_type)], 0
        if self.with_void:
            for ids, void, _ in self.cut(readers, skipped):
                ids = ids + void * ids_type.type(self.num_classes)
                windows.append(ids[~void.all(1)])
        else:
            for several, alone, _ in self.cut(readers, skipped, several_and_single):
                windows.append(several)
                single = single + alone
        return counted(np.concatenate(windows), single, len(windows) - 1, skipped)


def count(label_maps, counter, verbose=False, total=None, workers=1, memory=MEMORY):
    """All label maps -> `WindowCounts`; arguments as in `keras_dup.projection.fit`."""
    tally = Tally(memory)
    for part in in_batches(label_maps, counter, verbose, total, workers):
        tally.add(part)
    return _checked(tally.result())


def in_batches(label_maps, work, verbose=False, total=None, workers=1):
    """Yields what `work` makes of a few label maps at a time, in order, by `workers` processes.

    work: takes a list of (place, function that returns the label map) and returns something with
    the attributes `label_maps`, how many were read, and `skipped`.
    """
    sequence = hasattr(label_maps, "__len__") and hasattr(label_maps, "__getitem__")
    if workers > 1 and not sequence:
        raise ValueError(
            f"workers is {workers}, but the label maps can only be read one after the other: "
            "give something with len() and [i], such as keras_dup.data.LabelMaps"
        )
    if workers > 1:
        parts = _in_processes(label_maps, work, workers)
    else:
        parts = map(work, _batches(_readers(label_maps) if sequence else _given(label_maps)))
    if total is None and hasattr(label_maps, "__len__"):
        total = len(label_maps)
    with tqdm(total=total, desc="reading", unit=" label maps", disable=not verbose) as bar:
        for part in parts:
            yield part
            bar.update(part.label_maps + len(part.skipped))


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


def _in_processes(label_maps, work, workers):
    """Yields the results of batches, in order; only a few are on their way at any time."""
    # A fork has everything at once; elsewhere the label maps are pickled, once per worker.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    context = multiprocessing.get_context(method)
    pool = ProcessPoolExecutor(workers, context, _start_worker, (label_maps, work))
    futures = deque()
    try:
        for start in range(0, max(len(label_maps), 1), _BATCH):
            futures.append(pool.submit(_do_batch, start))
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
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """Ends this process when the main one is gone, be it killed: nobody would tell it to end."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _do_batch(start):
    label_maps, work = _job
    return work(list(_readers(label_maps, start, start + _BATCH)))
