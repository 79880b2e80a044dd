"""`WindowCounts`: distinct windows and how often each occurs, in memory or in files.

Counts of parts add up to those of the whole, exactly and in any order: they are integers, and
windows stand sorted by their bytes.
"""

import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

import numpy as np

__all__ = ["MEMORY", "Tally", "WindowCounts", "counted", "keys", "merged"]

MEMORY = 4 * 2**30
"""Bytes that windows may take before they go to files, working copies included."""

_COPIES = 8  # at the worst moment: the parts, all of them as one array, its sorted copy, keys


class WindowCounts:
    """Distinct windows, sorted, and how often each occurs. `a + b` counts both.

    Attributes:
        windows: (n, r*r) unsigned class ids, void filled in; a `numpy.memmap` if they are many.
        counts: (n,) int64.
        label_maps: how many label maps were read.
        skipped: why label maps were left out, one message each.

    `len()` is n.
    """

    def __init__(
        self,
        windows: np.ndarray,
        counts: np.ndarray,
        label_maps: int = 0,
        skipped: Iterable[str] = (),
    ) -> None:
        self.windows, self.counts = windows, counts
        self.label_maps, self.skipped = label_maps, tuple(skipped)

    def __len__(self) -> int:
        return len(self.windows)

    def __add__(self, other: "WindowCounts") -> "WindowCounts":
        if not isinstance(other, WindowCounts):
            return NotImplemented
        return merged([self, other])


def counted(windows, single=0, label_maps=0, skipped=()):
    """Counts (n, r*r) windows, repeated and in any order.

    single: (C,), how many more windows there are of each class throughout.
    """
    # Of void filled in and of plain windows many are one class throughout: those need no sorting.
    alike = (windows == windows[:, :1]).all(1)
    times = np.bincount(windows[alike, 0], minlength=np.size(single)) + single
    classes, several = np.flatnonzero(times), windows[~alike]
    alike = np.repeat(classes[:, None].astype(windows.dtype), windows.shape[1], 1)
    counts = np.concatenate([np.ones(len(several), np.int64), times[classes]])
    windows, counts = _distinct(np.concatenate([several, alike]), counts)
    return WindowCounts(windows, counts, label_maps, skipped)


def merged(parts):
    """The sum of one or more `WindowCounts`."""
    windows = np.concatenate([part.windows for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    skipped = [message for part in parts for message in part.skipped]
    return WindowCounts(*_distinct(windows, counts), sum(p.label_maps for p in parts), skipped)


class Tally:
    """Adds up many `WindowCounts` within `memory` bytes: what is more waits in sorted files.

    The files lie in a temporary folder (in `TMPDIR`) and take twice the bytes of the distinct
    windows at most; they go when the result is dropped or the process ends.
    """

    def __init__(self, memory=MEMORY):
        self._most = int(memory) // _COPIES
        self._parts, self._shards, self._folder = [], [], None
        self._label_maps, self._skipped = 0, []

    def add(self, part):
        self._label_maps += part.label_maps
        self._skipped += part.skipped
        self._parts.append(part)
        # The first part is the sum so far: to sort it in again only once the others have grown
        # as large keeps the work linear.
        waiting = sum(map(len, self._parts[1:]))
        if waiting > max(len(self._parts[0]), 2**16):
            self._parts = [merged(self._parts)]
        if self._parts[0].windows.nbytes > self._most:
            self._spill()

    def result(self):
        """The `WindowCounts` of everything added. To be called once."""
        if not self._shards:
            total = merged(self._parts)
            return WindowCounts(total.windows, total.counts, self._label_maps, self._skipped)
        if self._parts:
            self._spill()
        rows = self._most // self._shards[0].windows[0].nbytes
        total = _merge_files(self._shards, rows, _Pair(Path(self._folder.name) / "all"))
        result = WindowCounts(total.windows, total.counts, self._label_maps, self._skipped)
        weakref.finalize(result, self._folder.cleanup)
        return result

    def _spill(self):
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="keras-dup-")
        files = _Pair(Path(self._folder.name) / f"shard{len(self._shards)}")
        files.append(merged(self._parts))
        self._parts = []
        self._shards.append(files.open())


class _Pair:
    """Two files, of windows and of their counts, to append to and then to map into memory."""

    def __init__(self, path):
        self._windows, self._counts = path.with_suffix(".windows"), path.with_suffix(".counts")

    def append(self, part):
        self._type, self._width = part.windows.dtype, part.windows.shape[1]
        with open(self._windows, "ab") as windows, open(self._counts, "ab") as counts:
            part.windows.tofile(windows)
            part.counts.tofile(counts)

    def open(self):
        windows = np.memmap(self._windows, self._type, "r").reshape(-1, self._width)
        return WindowCounts(windows, np.memmap(self._counts, np.int64, "r"))


def _merge_files(shards, rows, files):
    """Sums sorted shards into `files`, as a stream of about `rows` windows at a time."""
    names = [keys(shard.windows) for shard in shards]
    step, starts = max(rows // len(shards), 1), [0] * len(shards)
    while any(start < len(name) for start, name in zip(starts, names, strict=True)):
        heads = [name[start : start + step] for start, name in zip(starts, names, strict=True)]
        # Beyond the least last one of a shard that goes on there may be more of the same.
        lasts = [
            head[-1]
            for head, name, start in zip(heads, names, starts, strict=True)
            if start + step < len(name)
        ]
        taken = [head.searchsorted(min(lasts), "right") if lasts else len(head) for head in heads]
        ends = [start + count for start, count in zip(starts, taken, strict=True)]
        files.append(merged([_part(*piece) for piece in zip(shards, starts, ends, strict=True)]))
        starts = ends
    return files.open()


def _part(shard, start, end):
    return WindowCounts(shard.windows[start:end], shard.counts[start:end])


def keys(windows):
    """(n, k) -> (n,) byte strings, whose order is that of the windows' bytes."""
    windows = np.ascontiguousarray(windows)
    return windows.view(f"S{windows.shape[1] * windows.itemsize}")[:, 0]


def _distinct(windows, counts):
    """Sorts and adds up: (n, k), (n,) -> (m, k), (m,)."""
    names = keys(windows)
    order = names.argsort(kind="stable")  # linear in time where parts stand sorted already
    names = names[order]
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1])[: len(names)])
    return windows[order[starts]], np.add.reduceat(counts[order], starts)
