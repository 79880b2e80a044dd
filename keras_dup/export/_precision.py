"""A network of mixed or half precision as one of float32."""

from typing import Any

import keras

from keras_dup import _keras_private
from keras_dup._labelled import copy_labels

__all__ = ["in_float32"]


def in_float32(model: keras.Model) -> keras.Model:
    """The model itself if it computes in float32, else a copy that does, with the same weights."""
    policies = {layer.dtype_policy.name for layer in _keras_private.sublayers(model)}
    if not any("16" in name for name in policies):
        return model
    copy = keras.models.clone_model(model, clone_function=_copied)
    copy.set_weights(model.get_weights())
    return copy_labels(copy, model)


def _copied(layer: Any) -> Any:
    if not isinstance(layer, keras.layers.Layer):
        return layer  # of keras.ops: nothing to copy
    if _keras_private.is_functional(layer):
        return keras.models.clone_model(layer, clone_function=_copied)
    return type(layer).from_config(_without_policies(layer.get_config()))


def _without_policies(config: Any) -> Any:
    """The config with float32 in place of the half-precision policies of all layers in it."""
    if isinstance(config, (list, tuple)):
        return type(config)(map(_without_policies, config))
    if not isinstance(config, dict):
        return config
    if "DTypePolicy" in str(config.get("class_name")):
        return "float32" if "16" in str(config["config"]) else config
    return {
        key: "float32" if key == "dtype" and "16" in str(value) else _without_policies(value)
        for key, value in config.items()
    }
