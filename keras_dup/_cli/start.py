"""Keras and TensorFlow, imported without TensorFlow's lines about the machine."""

import contextlib
import importlib
import os
import sys

__all__ = ["load_keras"]

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_FATAL = "3"  # what is shown; errors reach Python as exceptions


def load_keras() -> None:
    """Imports what all commands need; $TF_CPP_MIN_LOG_LEVEL=0 shows all that TensorFlow says."""
    import logging

    if os.environ.setdefault(_LEVEL, _FATAL) == _FATAL:
        for name in ("tensorflow", "absl"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if "tensorflow" not in sys.modules:
            with _held_back():
                importlib.import_module("tensorflow")
    importlib.import_module("keras_dup.models")


@contextlib.contextmanager
def _held_back():
    """Holds back what C++ writes to standard error, whose level it does not know yet.

    An error shows it.
    """
    import tempfile

    try:
        stderr = os.dup(2)
    except OSError:  # there is none
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
