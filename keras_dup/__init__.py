"""Segmentation networks with data-dependent upsampling (Tian et al., CVPR 2019) for Keras 3.

The modules named in `__all__` are public, with the names in their own `__all__`. `import keras_dup`
registers the layers of saved models with Keras; the other modules load when they are first used.
"""

import importlib
import types

from keras_dup import models

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


def __getattr__(name: str) -> types.ModuleType:
    if name in __all__:
        return importlib.import_module(f"keras_dup.{name}")
    raise AttributeError(f"module 'keras_dup' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
