"""Weights for models of `keras_dup.models.build`: shipped, downloaded or from a file."""

import importlib.resources
import os
import pathlib

import keras
import numpy as np

from keras_dup import _deeplab
from keras_dup._backbones import vision_transformer
from keras_dup._backend import is_installed, need_tensorflow
from keras_dup._trained import copy_weights

__all__ = ["IMAGENET", "check_imagenet", "load_imagenet", "load_weights"]

SHIPPED = {"efficientnet_lite0": "efficientnet_lite0_imagenet.npz"}  # in saved_models/
_KERAS_HUB = {"vit_base_patch16": "vit_base_patch16_384_imagenet"}  # names of its presets
IMAGENET = (*SHIPPED, *_deeplab.IMAGENET, "mobilenet_v2", *_KERAS_HUB)


def load_weights(
    model: keras.Model,
    backbone: str | keras.Model,
    weights: str | os.PathLike | keras.Model,
    keep_w: bool = False,
) -> bool:
    """Sets the variables of `model` from `weights`; the kinds are listed at `models.build`.

    Args:
        model: of `models.build`.
        backbone: its backbone.
        weights: a trained model, a file that is no `.keras`, or "imagenet": for efficientnet_lite0
            part of the package, for mobilenet_v2 of `keras.applications` (9 MB), for ResNet and
            Xception DeepLab's archives (270 to 480 MB), for vit_base_patch16 keras-hub's.
            Downloads happen once and are kept in Keras's cache, keras-hub's in Kaggle's.
        keep_w: W, which was given, stays as it is if a trained model has another.

    Returns: True where W was among the variables that were set.

    Raises:
        ValueError: no weights of that name or kind for this backbone, or they do not fit the model
            (what is left over on either side is listed).
        OSError: a file is missing, or a download failed.
    """
    if isinstance(weights, keras.Model):
        return copy_weights(model, weights, keep_w)
    weights = str(weights)
    if weights == "imagenet":
        check_imagenet(backbone)
    if weights == "imagenet" and isinstance(backbone, keras.Model):
        raise ValueError(f'build: weights="imagenet": {backbone.name} brings its own weights')
    if weights == "imagenet" and backbone in _deeplab.IMAGENET:
        weights = str(_download(backbone))
    if weights == "imagenet":
        load_imagenet(model, backbone)
        return False
    if weights.endswith(".h5"):
        return _load_h5(model, backbone, weights)
    if pathlib.Path(f"{weights}.index").exists():
        _deeplab.load_checkpoint(model, backbone, weights)
        return False
    raise ValueError(
        f'build: weights={weights!r}; expected is "imagenet", a .h5, a .keras, a model of the '
        "package, or the prefix of a DeepLab checkpoint (model.ckpt, beside it model.ckpt.index)"
    )


def load_imagenet(model: keras.Model, backbone: str) -> None:
    """Gives the backbone in `model` ImageNet weights of the package or of `keras.applications`."""
    if backbone in SHIPPED:
        file = importlib.resources.files("keras_dup.saved_models") / SHIPPED[backbone]
        with importlib.resources.as_file(file) as path, np.load(path) as f:
            for variable in model.variables:
                if variable.path in f:
                    variable.assign(f[variable.path])
    elif backbone == "mobilenet_v2":
        source = keras.applications.MobileNetV2((224, 224, 3), include_top=False)
        _copy_mobilenet_v2(source, model)
    elif backbone in _KERAS_HUB:
        vision_transformer.copy_vit(_of_keras_hub(_KERAS_HUB[backbone]), model)
    else:
        raise ValueError(
            f'build: there are no weights "imagenet" for {backbone}; there are for '
            f"{', '.join(IMAGENET)}"
        )


def check_imagenet(backbone: str | keras.Model) -> None:
    """Raises ImportError where the ImageNet weights of a backbone need an extra that is missing."""
    if backbone in _deeplab.IMAGENET:
        need_tensorflow(f"{backbone}'s checkpoint of DeepLab")
    if backbone in _KERAS_HUB and not is_installed("keras_hub"):
        raise ImportError(f"{backbone}'s weights need keras-hub: pip install 'keras-dup[hub]'")


def _of_keras_hub(preset):
    import keras_hub

    try:
        return keras_hub.models.Backbone.from_preset(preset)
    except Exception as error:  # of keras-hub, kagglehub and requests
        raise OSError(
            f"keras-hub's {preset} could not be fetched ({error}); it is fetched once, from "
            "kaggle.com, and kept in kagglehub's cache, which can be copied from another machine"
        ) from error


def _copy_mobilenet_v2(source, model):
    """Copies a `keras.applications.MobileNetV2` without top, except its last 1x1 (to 1280)."""
    source_layers = [layer for layer in source.layers if layer.weights][:-2]
    layers = [layer for layer in model.layers if layer.weights][: len(source_layers)]
    for layer, source_layer in zip(layers, source_layers, strict=True):
        layer.set_weights(source_layer.get_weights())


def _download(backbone):
    url = _deeplab.IMAGENET[backbone]
    try:
        folder = keras.utils.get_file(f"keras_dup_{backbone}", url, extract=True)
    except Exception as error:  # Keras raises a bare Exception
        raise OSError(
            f"{url} could not be fetched ({error}); fetch it by other means, unpack it and give "
            'weights="FOLDER/model.ckpt"'
        ) from error
    index = next(pathlib.Path(folder).rglob("model.ckpt.index"), None)
    if index is None:
        raise OSError(f"{folder}: {url} was unpacked there and holds no model.ckpt")
    return index.with_suffix("")


def _load_h5(model, backbone, path):
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"build: weights={path!r}: there is no such file")
    if backbone == "mobilenet_v2":
        try:
            source = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=path)
            _copy_mobilenet_v2(source, model)
            return False
        except ValueError:
            pass  # not of keras.applications: of the whole model
    try:
        model.load_weights(path)
    except ValueError as error:
        raise ValueError(
            f"{path} does not fit the model; it has to come from `save_weights` of a model built "
            f"with the same arguments ({error})"
        ) from error
    return True
