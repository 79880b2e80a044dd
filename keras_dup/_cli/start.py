"""Keras and its backend, imported without TensorFlow's lines about the machine."""

import importlib
import os
import sys

from keras_dup._backend import choose_backend
from keras_dup._native_lines import LEVEL, hidden

__all__ = ["load_keras"]

_FATAL = "3"  # what is shown; errors reach Python as exceptions


def load_keras() -> None:
    """Imports what all commands need; $TF_CPP_MIN_LOG_LEVEL=0 shows all that TensorFlow says."""
    import logging

    backend = choose_backend()
    if os.environ.setdefault(LEVEL, _FATAL) == _FATAL:
        for name in ("tensorflow", "absl"):
            logging.getLogger(name).setLevel(logging.ERROR)
        if backend == "tensorflow" and "tensorflow" not in sys.modules:
            with hidden(b""):  # C++ does not know the level yet
                importlib.import_module("tensorflow")
    importlib.import_module("keras_dup.models")
