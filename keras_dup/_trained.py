"""What a trained model gives to another one: its architecture and the weights that fit."""

import re
from typing import Any

import keras
import numpy as np

from keras_dup.presets import _BACKBONES

__all__ = [
    "NEW_LAYERS",
    "OF_ENCODER",
    "architecture",
    "backbone_variables",
    "copy_weights",
    "is_of_backbone",
    "set_backbone_trainable",
]

# so begin the names of ASPP and decoder; auxiliary_scores is a head that only training has
NEW_LAYERS = ("aspp", "fuse_", "compressed", "scores")
_AFTER = ("interpolation", "dupsampling", "crop", "softmax", "bilinear", "auxiliary_scores")
# the arguments of `build` that networks of two decoders share
OF_ENCODER = ("backbone", "num_classes", "output_stride", "low_level_features")
# what means nothing without the W that it was trained with
_OF_W = {"compressed", "compressed_edges", "interpolation", "dupsampling", "softmax"}
_QUOTED = 6  # layers in one line


def is_of_backbone(name: str) -> bool:
    """Whether a layer of that name, in a model of `build`, belongs to the backbone."""
    return not name.startswith((*NEW_LAYERS, *_AFTER))


def backbone_variables(model: keras.Model) -> list:
    """The trainable variables of a network that are not of its ASPP, decoder or softmax."""
    layers = [layer for layer in model.layers if is_of_backbone(layer.name)]
    return [variable for layer in layers for variable in layer.trainable_variables]


def set_backbone_trainable(model: keras.Model, trainable: bool) -> None:
    """Freezes the backbone, its batch norms included, or lets all of a frozen one be trained.

    A backbone of which a part is frozen, and is to be trained, stays as it is.
    """
    layers = [layer for layer in model.layers if is_of_backbone(layer.name)]
    if trainable and any(layer.trainable_variables for layer in layers):
        return
    for layer in layers:
        layer.trainable = trainable


def architecture(model: keras.Model) -> dict:
    """The arguments of `keras_dup.models.build` that make a network like this one.

    Returns: arguments by name; None where the layers do not tell.
    """
    layers = {layer.name: layer for layer in model.layers}
    decoder = "dupsampling" if "dupsampling" in layers else "bilinear"
    backbone, rate = model.name.rpartition("_")[0], layers.get("aspp1_depthwise")
    found: dict[str, Any] = {
        "num_classes": model.output_shape[-1],
        "decoder": decoder,
        "backbone": backbone if backbone in _BACKBONES else None,
        "output_stride": 96 // rate.dilation_rate[0] if rate else None,
    }
    fused = re.findall("^fuse_(.+)_projection_conv$", "\n".join(layers), re.MULTILINE)
    found["low_level_features"] = tuple(fused)
    for last in fused:
        found["fusion_channels"] = layers[f"fuse_{last}_1_pointwise_conv"].filters
        found["low_level_channels"] = layers[f"fuse_{last}_projection_conv"].filters
        if f"fuse_{last}_context_conv" in layers:
            found["context_channels"] = layers[f"fuse_{last}_context_conv"].filters
        if f"fuse_{last}_padding" in layers:
            found["downsample"] = "convolution"
    found["coarse_scores"] = "scores_coarse" in layers
    if decoder == "bilinear":
        stride = layers["bilinear"].ratio if "bilinear" in layers else None
        return {**found, "fusion_stride": stride}
    found["interpolated_scores"] = "interpolation" in layers
    found["channels"] = layers["dupsampling"].input.shape[-1]
    ratio = layers["dupsampling"].ratio
    up = layers["compressed_upsampling"].ratio if "compressed_upsampling" in layers else 1
    return {**found, **_strides(found["output_stride"], ratio * up, ratio)}


def _strides(output_stride, fusion_stride, ratio):
    """Those that are not the one before, which is their default."""
    found = {"fusion_stride": fusion_stride} if fusion_stride != output_stride else {}
    return {**found, "ratio": ratio} if ratio != fusion_stride else found


def copy_weights(model: keras.Model, source: keras.Model, keep_w: bool = False) -> bool:
    """Gives a model every weight of another one that fits by name and shape; prints what is new.

    The weights around DUpsampling go together: without the source's W its codes mean nothing.

    Args:
        model: of `keras_dup.models.build`.
        source: a trained model.
        keep_w: the model's W stays; the weights around it are taken only if the source's W is the
            same.

    Returns: whether W is the source's now.

    Raises:
        ValueError: a weight of the backbone does not fit.
    """
    values = {w.path: w for w in source.weights}
    fit = {w.path for w in model.weights if _shape(w) == _shape(values.get(w.path))}
    takes_w = _takes_w(model, values, fit, keep_w)
    if not takes_w:
        fit = {path for path in fit if path.split("/")[0] not in _OF_W}
    new = [w.path.split("/")[0] for w in model.weights if w.path not in fit]
    if wrong := [name for name in dict.fromkeys(new) if is_of_backbone(name)]:
        raise ValueError(
            f"build: the weights of {source.name} do not fit the backbone of {model.name}: "
            f"{_quoted(wrong)}; the backbone must be the same"
        )
    for weight in model.weights:
        if weight.path in fit:
            weight.assign(values[weight.path])
    if new:
        count = f"{len(fit)} of {len(model.weights)} variables"
        print(f"weights: {count}; new: {_quoted(new)}")
    return takes_w


def _takes_w(model, values, fit, keep_w):
    """Whether the model takes W, and what goes with it: all of it fits, and is not another W."""
    of_w = [w for w in model.weights if w.path.split("/")[0] in _OF_W]
    w = [weight for weight in of_w if weight.path.startswith("dupsampling/")]
    if not w or any(weight.path not in fit for weight in of_w):
        return False
    same = (_same(weight, values[weight.path]) for weight in w)
    return not keep_w or all(same)


def _same(one, other):
    return np.allclose(*map(keras.ops.convert_to_numpy, (one, other)), atol=1e-5)


def _shape(weight):
    return None if weight is None else tuple(weight.shape)


def _quoted(layers):
    names = list(dict.fromkeys(re.sub("_(conv|bn)$", "", name) for name in layers))
    more = f" and {len(names) - _QUOTED} more layers" if len(names) > _QUOTED else ""
    return ", ".join(names[:_QUOTED]) + more
