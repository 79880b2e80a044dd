"""Files that appear whole or not at all, and what is said where they cannot."""

import errno
import os
import pathlib
import resource
import shutil
import subprocess
import sys

import pytest

from keras_dup import _whole


def test_a_file_appears_whole_or_stays_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    _whole.write_json({"a": 1}, path)
    with pytest.raises(KeyError), _whole.writing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == '{\n  "a": 1\n}\n' and [x.name for x in tmp_path.iterdir()] == [
        "a.json"
    ]


@pytest.mark.parametrize("length", [201, 250, 255])
@pytest.mark.parametrize("letter", ["a", "ü"])
def test_names_as_long_as_the_system_takes_are_written(tmp_path, length, letter):
    stem = letter * ((length - 5) // len(letter.encode()))
    path = tmp_path / f"{stem}.json"
    with _whole.writing(path) as temporary:
        assert temporary.suffix == ".json" and len(os.fsencode(temporary.name)) <= 255
        temporary.write_text("1")
    assert path.read_text() == "1" and len(list(tmp_path.iterdir())) == 1


def test_the_ending_that_keras_wants_stays(tmp_path):
    with _whole.writing(tmp_path / ("x" * 230 + ".weights.h5")) as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.touch()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full: free space"),
        (errno.EROFS, "the disk is read-only: write to another folder"),
        (errno.EACCES, "you may not write here"),
        (errno.EIO, "the disk does not answer"),
    ],
)
def test_what_to_do_is_said_in_one_line(tmp_path, number, said):
    path = tmp_path / "a.txt"
    path.write_text("before")
    expected = pytest.raises(OSError, match=f"{path} cannot be written: {said}")
    with expected as one, _whole.writing(path) as temporary:
        raise OSError(number, os.strerror(number), str(temporary))
    hdf5 = f"Can't decrement id ref count (file write failed: errno = {number}, ...)"
    with pytest.raises(OSError, match=f"{path} cannot be written: {said}"), _whole.writing(path):
        raise RuntimeError(hdf5)
    assert "\n" not in str(one.value) and path.read_text() == "before"


def test_a_folder_that_vanished_is_named(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    expected = pytest.raises(OSError, match=r"a\.txt cannot be written: the folder is gone")
    with expected, _whole.writing(folder / "a.txt") as temporary:
        shutil.rmtree(folder)
        temporary.write_text("1")


def test_errors_of_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), _whole.writing(tmp_path / "a.txt"):
        pathlib.Path("/elsewhere").read_text()
    with pytest.raises(RuntimeError, match=r"^no file$"), _whole.writing(tmp_path / "a.txt"):
        raise RuntimeError("no file")


def test_a_file_that_the_system_cuts_leaves_the_one_before(tmp_path):
    """A real limit of the operating system, which behaves as a full disk does."""
    path = tmp_path / "a.h5"
    code = f"""
import resource, sys, h5py, numpy
from keras_dup import _whole
with _whole.writing({str(path)!r}) as temporary:
    temporary.write_text("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, {resource.RLIM_INFINITY}))
try:
    with _whole.writing({str(path)!r}) as temporary, h5py.File(temporary, "w") as file:
        file["x"] = numpy.zeros(100_000)
except OSError as error:
    print(error)
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert f"{path} cannot be written: the file is too large".encode() in done.stdout
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1
