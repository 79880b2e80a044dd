"""Lines of native libraries are hidden; whatever else goes to standard error is not."""

import io
import os
import sys
import threading

import pytest

from keras_dup._native_lines import LEVEL, hidden


def say(text):
    os.write(2, text.encode())


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setenv(LEVEL, "3")


def test_only_lines_of_the_pattern_are_hidden(quiet, monkeypatch, capfd):
    buffered = io.TextIOWrapper(io.FileIO(2, "w", closefd=False))
    monkeypatch.setattr(sys, "stderr", buffered)
    with hidden(b"INFO: |fully_"):
        say("INFO: Created a delegate\nERROR: INFO: is no noise\nfully_quantize: 0\n\r 9 % 1/11")
        print("of Python", file=sys.stderr)
    say("INFO: later\n")
    told = "ERROR: INFO: is no noise\n\r 9 % 1/11of Python\nINFO: later\n"
    assert capfd.readouterr().err == told


def test_an_error_shows_all_lines(quiet, capfd):
    with pytest.raises(KeyboardInterrupt), hidden(b""):
        say("no such CPU\n")
        raise KeyboardInterrupt
    say("later\n")
    assert capfd.readouterr().err == "no such CPU\nlater\n"


@pytest.mark.parametrize("level", ["0", None])
def test_the_level_that_shows_all_hides_nothing(level, monkeypatch, capfd):
    monkeypatch.delenv(LEVEL, raising=False)
    if level:
        monkeypatch.setenv(LEVEL, level)
    with hidden(b""):
        say("INFO\n")
    assert capfd.readouterr().err == "INFO\n"


def test_without_standard_error_or_a_temporary_file_nothing_is_done(quiet, monkeypatch, capfd):
    def fail(*arguments):
        raise OSError

    for module, name in (("os", "dup"), ("tempfile", "TemporaryFile")):
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.{name}", fail)
            with hidden(b""):
                say(f"{name}\n")
    monkeypatch.setattr(sys, "stderr", None)
    with hidden(b"of C"):
        say("of C\nof C++\nof Rust\n")
    assert capfd.readouterr().err == "dup\nTemporaryFile\nof Rust\n"


def test_blocks_that_overlap_in_two_threads_give_standard_error_back(quiet, capfd):
    started, ended = threading.Event(), threading.Event()

    def other():
        with hidden(b""):
            started.set()
            ended.wait(9)

    thread = threading.Thread(target=other)
    with hidden(b""):
        thread.start()
        started.wait(9)
    ended.set()
    thread.join()
    say("later\n")
    assert capfd.readouterr().err == "later\n"
