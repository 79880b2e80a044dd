"""From a trained model to files for servers and phones, each checked against the model first.

`fold` runs on every backend. The others need TensorFlow, which loads when one is first used.
"""

import importlib
from typing import TYPE_CHECKING

from keras_dup._backend import need_tensorflow
from keras_dup.export._folding import fold

if TYPE_CHECKING:
    from keras_dup.export._exchange import onnx
    from keras_dup.export._mobile import litert
    from keras_dup.export._serving import saved_model

__all__ = ["fold", "litert", "onnx", "saved_model"]
_MODULES = {"litert": "_mobile", "onnx": "_exchange", "saved_model": "_serving"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        need_tensorflow(f"export.{name}")
        return getattr(importlib.import_module(f"keras_dup.export.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'keras_dup.export' has no attribute {name!r}")
