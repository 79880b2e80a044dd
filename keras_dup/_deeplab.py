"""Reads DeepLab's TensorFlow checkpoints into the variables of our models.

Names and shapes follow tensorflow/models, research/deeplab: core/resnet_v1_beta.py,
core/xception.py, model.py. Two kinds are read: checkpoints trained on ImageNet (backbone and
classifier) and checkpoints of whole networks (backbone, ASPP, decoder, logits).
"""

import os
import re

import keras

from keras_dup._backend import need_tensorflow

__all__ = ["IMAGENET", "LOW_LEVEL_FEATURES", "SCOPES", "load_checkpoint"]

SCOPES = {
    "resnet50": "resnet_v1_50",
    "resnet101": "resnet_v1_101",
    "xception65": "xception_65",
    "xception71": "xception_71",
}
_ARCHIVES = "http://download.tensorflow.org/models/"  # as g3doc/model_zoo.md lists them
IMAGENET = {
    "resnet50": _ARCHIVES + "resnet_v1_50_2018_05_04.tar.gz",
    "resnet101": _ARCHIVES + "resnet_v1_101_2018_05_04.tar.gz",
    "xception65": _ARCHIVES + "deeplabv3_xception_2018_01_04.tar.gz",
    "xception71": _ARCHIVES + "xception_71_2018_05_09.tar.gz",
}

# the low-level feature of DeepLab's decoder: `networks_to_feature_maps`, core/feature_extractor.py
LOW_LEVEL_FEATURES = {
    "resnet50": "b1u2c3",
    "resnet101": "b1u2c3",
    "xception65": "efb2u1c2",
    "xception71": "efb3u1c2",
}

_FLOWS = {"ef": "entry_flow", "mf": "middle_flow", "xf": "exit_flow"}
_MODULE = r"unit_\3/xception_module"
_RESNET = (
    (r"conv1_(\d)", r"conv1_\1"),
    (r"b(\d)u(\d+)c(\d)", r"block\1/unit_\2/bottleneck_v1/conv\3"),
    (r"b(\d)u(\d+)_shortcut", r"block\1/unit_\2/bottleneck_v1/shortcut"),
)
_XCEPTION = (
    (r"conv1_(\d)", r"entry_flow/conv1_\1"),
    (
        r"(.f)b(\d)u(\d+)c(\d)_(depthwise|pointwise)",
        rf"\1/block\2/{_MODULE}/separable_conv\4_\5",
    ),
    (r"(.f)b(\d)u(\d+)_shortcut", rf"\1/block\2/{_MODULE}/shortcut"),
)
_ASPP = (
    (r"aspp0", "aspp0"),
    (r"aspp([123])_(depthwise|pointwise)", r"aspp\1_\2"),
    (r"aspp_pooling", "image_pooling"),
    (r"aspp_projection", "concat_projection"),
)
_DECODER = (  # of one low-level feature
    (r"fuse_.+_projection", "decoder/feature_projection0"),
    (r"fuse_.+_1_(depthwise|pointwise)", r"decoder/decoder_conv0_\1"),
    (r"fuse_.+_2_(depthwise|pointwise)", r"decoder/decoder_conv1_\1"),
    (r"scores", "logits/semantic"),
)


def load_checkpoint(model: keras.Model, backbone: str, prefix: str | os.PathLike) -> None:
    """Sets the variables of `model` from a checkpoint.

    A checkpoint of ImageNet fills the backbone. A checkpoint of a whole network also fills ASPP,
    and the decoder where the model has the bilinear one, which must then fuse DeepLab's feature
    (`LOW_LEVEL_FEATURES`). The other decoders have no counterpart and keep their values. The
    classifier, `global_step` and the optimizer's slots are not needed.

    Args:
        model: a model of `keras_dup.models.build` with a backbone in `SCOPES`.
        backbone: the name of that backbone.
        prefix: the checkpoint without `.index` and `.data-...`.

    Raises:
        ValueError: the backbone has no counterpart in DeepLab, the file cannot be read, the model
            fuses another feature than DeepLab's network, a variable is left over on either side, or
            shapes differ; every such variable is listed.
    """
    need_tensorflow(f"{prefix}: a checkpoint of DeepLab")
    import tensorflow as tf

    if backbone not in SCOPES:
        raise ValueError(f"build: DeepLab checkpoints are of {', '.join(SCOPES)}, not {backbone}")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
    except Exception as error:  # a dozen kinds, most without the file's name
        raise ValueError(f"{prefix}: not a TensorFlow checkpoint ({error})") from error
    shapes = reader.get_variable_to_shape_map()
    whole = any(name.startswith("concat_projection/") for name in shapes)
    bilinear = not {"dupsampling", "scores_coarse"} & {layer.name for layer in model.layers}
    rules = _rules(backbone, aspp=whole, decoder=whole and bilinear)
    named = [(_name(variable.path, rules), variable) for variable in model.variables]
    ours = [(name, variable) for name, variable in named if name]
    theirs = {name: shapes[name] for name in shapes if _is_used(name, shapes, whole and bilinear)}
    if whole and bilinear:
        _check_feature(prefix, model, backbone)
    _check(prefix, ours, theirs)
    for name, variable in ours:
        variable.assign(reader.get_tensor(name))


def _rules(backbone, aspp, decoder):
    """[(pattern of a layer of ours, scope of theirs)] of what the checkpoint holds."""
    family = _XCEPTION if backbone.startswith("xception") else _RESNET
    rules = [(pattern, f"{SCOPES[backbone]}/{theirs}") for pattern, theirs in family]
    return (*rules, *(_ASPP if aspp else ()), *(_DECODER if decoder else ()))


def _name(path, rules):
    """The path of a variable of ours -> its name in the checkpoint, None if it has none."""
    layer, variable = path.split("/")[-2:]
    layer = re.sub("_(conv|bn)$", "", layer)
    for pattern, theirs in rules:
        match = re.fullmatch(pattern, layer)
        if match:
            scope = re.sub("/(.f)/", lambda flow: f"/{_FLOWS[flow[1]]}/", match.expand(theirs))
            return f"{scope}/{_variable(layer, variable)}"
    return None


def _variable(layer, variable):
    if variable == "kernel":
        return "depthwise_weights" if layer.endswith("depthwise") else "weights"
    return "biases" if variable == "bias" else f"BatchNorm/{variable}"


def _is_used(name, shapes, decoder):
    is_slot = name.rsplit("/", 1)[0] in shapes  # weights/Momentum, weights/ExponentialMovingAverage
    is_classifier = re.match(r"[^/]+/logits/", name)
    is_unused_head = not decoder and name.startswith(("decoder/", "logits/"))
    return not (is_slot or is_classifier or is_unused_head or name == "global_step")


def _check_feature(prefix, model, backbone):
    """A feature of the same shape would load without an error and give wrong scores."""
    layers = [re.fullmatch("fuse_(.+)_projection_conv", layer.name) for layer in model.layers]
    fused = [layer[1] for layer in layers if layer]
    if fused != [LOW_LEVEL_FEATURES[backbone]]:
        raise ValueError(
            f"{prefix} does not fit the model: DeepLab's decoder of {backbone} fuses one low-level "
            f"feature, {LOW_LEVEL_FEATURES[backbone]!r}; the model fuses {fused or 'none'}"
        )


def _check(prefix, ours, theirs):
    names = [name for name, _ in ours]
    problems = [f"only in the checkpoint: {name}" for name in sorted(set(theirs) - set(names))]
    problems += [f"only in the model: {name}" for name in sorted(set(names) - set(theirs))]
    problems += [
        f"{name} is {tuple(theirs[name])} in the checkpoint and {tuple(variable.shape)} in the "
        "model"
        for name, variable in ours
        if name in theirs and tuple(theirs[name]) != tuple(variable.shape)
    ]
    if problems:
        raise ValueError(f"{prefix} does not fit the model: " + "; ".join(problems))
