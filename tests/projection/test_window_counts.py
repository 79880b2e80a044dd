"""Counting windows: in parts, in processes, in files; bad label maps; interruptions."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter

import numpy as np
import pytest
from label_maps import voronoi

from keras_dup import data, projection
from keras_dup.projection._window_counts import Tally, WindowCounts, counted

CLASSES, RATIO = 5, 4


class Listed:
    """A sequence that is read on demand, of which some items are bad."""

    def __init__(self, count, bad=()):
        self.count, self.bad = count, bad

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        if i in self.bad:
            raise ValueError(f"map-{i}.png: cannot be decoded")
        return voronoi(np.random.default_rng(i), 24, 28)


def count(label_maps, **options):
    return projection.count_windows(label_maps, CLASSES, RATIO, **options)


def assert_same(one, other):
    np.testing.assert_array_equal(one.windows, other.windows)
    np.testing.assert_array_equal(one.counts, other.counts)
    assert (one.label_maps, one.skipped) == (other.label_maps, other.skipped)


def test_counts_equal_a_counter_of_the_windows_bytes():
    windows = np.random.default_rng(0).integers(0, 2, (500, 4)).astype(np.uint8)
    found, wanted = counted(windows), Counter(row.tobytes() for row in windows)
    assert found.windows.dtype == np.uint8 and found.counts.dtype == np.int64
    assert [row.tobytes() for row in found.windows] == sorted(wanted)
    assert [wanted[row.tobytes()] for row in found.windows] == found.counts.tolist()


def test_shards_merged_in_any_order_equal_the_whole():
    maps = [Listed(12)[i] for i in range(12)]
    a, b, c = (count(part) for part in (maps[:5], maps[5:6], maps[6:]))
    for some in (a + b + c, c + (a + b), b + c + a):
        assert_same(some, count(maps))


@pytest.mark.parametrize("workers", [2, 3])
def test_several_processes_count_what_one_does(workers):
    assert_same(count(Listed(70), workers=workers), count(Listed(70)))


def test_windows_beyond_the_memory_go_to_files_and_count_the_same():
    whole = count(Listed(70))
    assert len(whole) > 300
    for memory in (8 * 16 * 40, 8 * 16 * 150):  # bytes of a window, copies, windows of a shard
        spilled = count(Listed(70), memory=memory)
        assert isinstance(spilled.windows, np.memmap)
        assert_same(spilled, whole)


def test_the_projection_of_windows_in_files_is_that_of_windows_in_memory():
    whole = projection.fit(Listed(70), CLASSES, RATIO, 6)
    spilled = projection.fit(Listed(70), CLASSES, RATIO, 6, memory=8 * 16 * 40)
    # another block size: equal up to the solver's tolerance
    np.testing.assert_allclose(spilled.matrix, whole.matrix, atol=1e-6)
    np.testing.assert_array_equal(spilled.mean, whole.mean)


def test_files_go_with_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spilled = count(Listed(70), memory=8 * 16 * 40)
    assert list(tmp_path.iterdir())
    del spilled
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"map-60\.png"):
        count(Listed(70, bad=[60]), memory=8 * 16 * 40)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("memory", [1, 10**9])
def test_a_tally_adds_up_what_is_larger_than_its_memory_at_once(memory):
    rng, tally, parts = np.random.default_rng(1), Tally(memory), []
    for _ in range(9):
        part = counted(rng.integers(0, 3, (200, 4)).astype(np.uint8), label_maps=1)
        parts.append(part)
        tally.add(part)
    assert_same(tally.result(), sum(parts[1:], parts[0]))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_label_map_among_many_is_named_or_skipped_and_counted(workers):
    label_maps, bad = Listed(60, bad=[41]), r"map-41\.png: cannot be decoded"
    with pytest.raises(ValueError, match=bad):
        count(label_maps, workers=workers)
    found = count(label_maps, workers=workers, on_error="skip")
    wanted = count([label_maps[i] for i in range(60) if i != 41])
    assert found.skipped == ("map-41.png: cannot be decoded",) and found.label_maps == 59
    np.testing.assert_array_equal(found.counts, wanted.counts)


def test_a_bad_label_map_of_an_iterable_is_skipped_by_its_place():
    maps = [Listed(4)[0], np.full((8, 8), 99), Listed(4)[1]]
    assert "label map 1 has class id 99" in count(iter(maps), on_error="skip").skipped[0]
    with pytest.raises(ValueError, match="all 1 label maps are bad: label map 0 has class id 99"):
        count(maps[1:2], on_error="skip")
    with pytest.raises(ValueError, match="on_error is 'ignore'"):
        count(maps, on_error="ignore")


def test_several_workers_need_label_maps_that_can_be_read_in_any_order():
    with pytest.raises(ValueError, match=r"give something with len\(\) and \[i\]"):
        count(iter([]), workers=2)


def test_what_is_no_count_is_not_added():
    with pytest.raises(TypeError):
        WindowCounts(np.zeros((0, 4), np.uint8), np.zeros(0, np.int64)) + 1


def started(command, folder, halfway):
    """The process of a command that shows progress, once it has shown `halfway`."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
        start_new_session=True,
        # a test that runs in the background of a shell inherits an ignored SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    shown = b""
    while halfway not in shown:
        shown += process.stderr.read(1)
    return process


@pytest.mark.slow
def test_an_interrupted_fit_leaves_no_file(tmp_path):
    (tmp_path / "masks").mkdir()
    label_map = np.random.default_rng(0).integers(0, 7, (1000, 1000), np.uint8)
    data.save_label_map(tmp_path / "masks/0.png", label_map)
    for i in range(1, 1000):
        os.link(tmp_path / "masks/0.png", tmp_path / f"masks/{i}.png")
    command = [pathlib.Path(sys.executable).with_name("keras-dup"), "fit", "masks", "-o", "w.npz"]
    command += ["--num-classes", "7", "--ratio", "8", "--channels", "5", "--workers", "2"]
    process = started(command, tmp_path, b"16/1000")
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C in a terminal does
    assert process.stderr.read().endswith(b"keras-dup: interrupted\n")
    assert process.wait() == 130
    assert [path.name for path in tmp_path.iterdir()] == ["masks"]


SLOW_FIT = """
import time
import numpy as np
from keras_dup import projection

class LabelMaps:
    def __len__(self):
        return 10**6

    def __getitem__(self, i):
        time.sleep(0.01)
        return np.zeros((4, 4), np.uint8)

projection.count_windows(LabelMaps(), 5, 4, workers=2, verbose=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_workers_of_a_killed_fit_end_with_it(tmp_path):
    process = started([sys.executable, "-c", SLOW_FIT], tmp_path, b"16/1000000")
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The pipe is the workers' too: it ends when the last of them has.
    reader = threading.Thread(target=process.stderr.read, daemon=True)
    reader.start()
    reader.join(10)
    alive = reader.is_alive()
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    assert not alive
