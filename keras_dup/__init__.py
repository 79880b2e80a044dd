"""Segmentation networks with data-dependent upsampling (Tian et al., CVPR 2019) for Keras 3.

The modules named in `__all__` are public, with the names in their own `__all__`, and so is
`keras_dup.beam`, which needs an extra. `import keras_dup` registers the layers of saved models with
Keras; the other modules load when they are first used. The command `keras-dup` loads Keras later,
where it is needed: `--help` takes no seconds.
"""

import importlib
import pathlib
import sys
import types

from keras_dup import _backend

__version__ = "0.2.0"
__all__ = [
    "data",
    "evaluation",
    "export",
    "flops",
    "inference",
    "layers",
    "losses",
    "models",
    "pictures",
    "presets",
    "projection",
    "training",
]


def _is_command() -> bool:
    """Whether this process is `keras-dup` or `python -m keras_dup`."""
    program = pathlib.PurePath(sys.argv[0] if sys.argv else "")
    if program.name == "-m":  # before runpy knows the file
        return "keras_dup" in sys.orig_argv
    return program.stem == "keras-dup" or program.parts[-2:] == ("keras_dup", "__main__.py")


if not _is_command():
    _backend.choose_backend()
    importlib.import_module("keras_dup.models")


def __getattr__(name: str) -> types.ModuleType:
    if name in __all__:
        return importlib.import_module(f"keras_dup.{name}")
    raise AttributeError(f"module 'keras_dup' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
