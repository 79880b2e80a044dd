"""Segmentation networks with data-dependent upsampling (Tian et al., CVPR 2019) for Keras 3."""

import importlib

from keras_dup import evaluation, flops, inference, layers, models, presets, projection

__version__ = "0.1.0"
__all__ = [
    "data",
    "evaluation",
    "export",
    "flops",
    "inference",
    "layers",
    "models",
    "presets",
    "projection",
]


def __getattr__(name):
    if name in ("data", "export"):  # these import TensorFlow: on first use only
        return importlib.import_module(f"keras_dup.{name}")
    raise AttributeError(f"module 'keras_dup' has no attribute {name!r}")
