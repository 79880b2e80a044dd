"""Any Keras model as an encoder: finds its features, their strides and what does not fit."""

import inspect
from typing import Any

import keras

from keras_dup import _keras_private

__all__ = ["at_stride", "check_training", "encoder", "has_tokens"]

_PROBE = 256  # pixels, a multiple of every stride up to 64
_PATCHES = 8, 16, 32  # sides of patches, in pixels
_MOST_OTHERS = 8  # tokens that are no patches


def encoder(
    model: keras.Model, low_level_features: tuple[str, ...] = (), output_stride: int | None = None
) -> tuple[keras.Model, dict[str, int]]:
    """Cuts a functional model down to an encoder.

    The last feature is the output of the model if that is a feature map (B, h, w, C), of several
    the coarsest; else (in a classifier) the last feature map before it. Tokens (B, N, C), the
    output of a vision transformer, become a map of its patches: row by row they are the last of
    the tokens, after those of the class and registers.

    Args:
        model: a functional `keras.Model` with one image input, of `keras.applications`, keras-hub
            or your own. It may be built for one size, a multiple of its stride; with tokens it is.
        low_level_features: names of layers, of outputs (the keys of a dict, else
            `model.output_names`), or of levels of `model.pyramid_outputs` ("P2").
        output_stride: the required stride of the last feature; None accepts any.

    Returns: a `keras.Model` image -> {name: feature}, ending in "last", and {name: stride}.

    Raises:
        ValueError: the model is not functional or has another input; a layer in it puts batch norm
            into training mode; a name is unknown; there is no feature map, or tokens come after it;
            tokens that are no grid of patches; a stride is not known or not a power of two; or the
            stride of the last feature is not `output_stride` (the message names the layer to cut
            the model at).
    """
    image = _image(model)
    check_training(model)
    if has_tokens(model):
        model = _with_patch_map(model)
        image = model.inputs[0]
    maps = {layer.name: layer.output for layer in model.layers if _is_map(layer)}
    maps |= {name: x for name, x in _outputs(model).items() if len(x.shape) == 4}
    levels = {**maps, **getattr(model, "pyramid_outputs", {})}
    unknown = [name for name in low_level_features if name not in levels]
    if unknown:
        raise ValueError(
            f"build: {model.name} has no feature {unknown}; its features are {', '.join(levels)}"
        )
    side = image.shape[1] or _PROBE
    sizes = _sizes(image, levels, side, image.shape[2] or _PROBE)
    last = _last(model, maps, sizes)
    features = {name: levels[name] for name in low_level_features}
    strides = {name: _stride(model, name, sizes[name], side) for name in features}
    strides["last"] = _stride(model, last, sizes[last], side)
    if output_stride not in (None, strides["last"]):
        raise _unreachable(model, last, strides["last"], output_stride, sizes, side)
    features["last"] = levels[last]
    return keras.Model(image, features, name=model.name, trainable=model.trainable), strides


def at_stride(model: keras.Model, stride: int) -> tuple[str, ...]:
    """Names of the outputs and of the levels of `pyramid_outputs` at a stride."""
    image = _image(model)
    levels = {**_outputs(model), **getattr(model, "pyramid_outputs", {})}
    levels = {name: x for name, x in levels.items() if len(x.shape) == 4}
    side = image.shape[1] or _PROBE
    sizes = _sizes(image, levels, side, image.shape[2] or _PROBE)
    return tuple(name for name, (rows, _) in sizes.items() if rows and rows * stride == side)


def has_tokens(model: keras.Model) -> bool:
    """Whether a model gives tokens (B, N, C) alone; of several outputs the last one counts."""
    return all(len(x.shape) == 3 for x in model.outputs)


def _with_patch_map(model):
    """The model with its tokens as a map, in the finest patches that leave few tokens over."""
    image = keras.Input(model.inputs[0].shape[1:])
    # called whole, since keras-hub reads its networks back, not their layers
    names = getattr(model, "input", None)  # a Sequential has none
    outputs = model(dict.fromkeys(names, image) if isinstance(names, dict) else image)
    tokens, (height, width) = keras.tree.flatten(outputs)[-1], image.shape[1:3]
    for patch in _PATCHES if None not in (*tokens.shape[1:], height, width) else ():
        rows, columns = height // patch, width // patch
        others = tokens.shape[1] - rows * columns  # class token, registers
        if (rows * patch, columns * patch) == (height, width) and 0 <= others <= _MOST_OTHERS:
            patches = keras.layers.Reshape((rows, columns, tokens.shape[2]))(tokens[:, others:])
            return keras.Model(image, patches, name=model.name, trainable=model.trainable)
    raise ValueError(
        f"build: {model.name} gives tokens {tuple(tokens.shape)} of an image {tuple(image.shape)}, "
        f"which are no patches of {' or '.join(map(str, _PATCHES))} pixels; make it for one size, "
        "or end it in a feature map (B, h, w, channels)"
    )


def check_training(layer: Any) -> None:
    """Refuses layers whose default is training mode (Resizing, RandomFlip, ...).

    Keras passes their mode on: the batch norms after them would train in `model(x)` and in exports.

    Raises:
        ValueError: there is such a layer; it is named.
    """
    for part in _keras_private.sublayers(layer):
        training = inspect.signature(part.call).parameters.get("training")
        if training is not None and training.default is True:
            raise ValueError(
                f"build: {part.name} in {layer.name} is a {type(part).__name__}, which puts every "
                "batch norm after it into training mode; resize and augment in the input pipeline"
            )


def _image(model):
    inputs = getattr(model, "inputs", None)
    if not inputs or not hasattr(model, "layers"):
        raise ValueError(f"build: {model.name} is not a functional model; give one built on Input")
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[-1] != 3:
        shapes = [tuple(x.shape) for x in inputs]
        raise ValueError(f"build: {model.name} takes {shapes}; (B, H, W, 3) is expected")
    return inputs[0]


def _is_map(layer):
    if isinstance(layer, keras.layers.InputLayer) or _keras_private.calls(layer) != 1:
        return False  # a layer that is used twice has no one output
    return isinstance(layer.output, keras.KerasTensor) and len(layer.output.shape) == 4


def _sizes(image, features, height, width):
    """{name: (height, width)} of the features of an image of height x width."""
    if not features:
        return {}
    traced = keras.Model(image, features)(keras.Input((height, width, 3), batch_size=1))
    return {name: tuple(x.shape[1:3]) for name, x in traced.items()}


def _outputs(model):
    """{name: output}; an output may be of no layer, but of `keras.ops`."""
    outputs = getattr(model, "output", None)  # a Sequential has none
    if isinstance(outputs, dict):
        return outputs
    return dict(zip(getattr(model, "output_names", ()), model.outputs, strict=False))


def _last(model, maps, sizes):
    outputs = [name for name, x in maps.items() if any(x is y for y in model.outputs)]
    if outputs:
        return min(reversed(outputs), key=lambda name: sizes[name][0] or 0)
    shape = tuple(model.outputs[0].shape)
    spatial = [name for name in maps if None in sizes[name] or min(sizes[name]) > 1]
    if len(shape) > 2 or not spatial:
        raise ValueError(
            f"build: {model.name} gives {shape}; a feature map (B, h, w, channels) or tokens of "
            "patches (B, N, channels) are expected"
        )
    last = spatial[-1]
    after = model.layers[[layer.name for layer in model.layers].index(last) + 1 :]
    if any(len(getattr(layer.output, "shape", ())) == 3 for layer in after):
        raise ValueError(
            f"build: {model.name} makes tokens (B, N, channels) of its last feature map, {last}; "
            "end the encoder at its last tokens, or at "
            f'{model.name}.get_layer("{last}").output'
        )
    return last


def _stride(model, name, size, side):
    if None in size:
        raise ValueError(
            f"build: {model.name} does not tell the size of {name} for an image of {side} "
            f"x {side}; make it for one size of image, not for (None, None, 3)"
        )
    stride = side // size[0]
    if stride * size[0] != side or stride & (stride - 1):
        raise ValueError(
            f"build: {name} of {model.name} has {size[0]} rows for an image of {side}, which is no "
            "stride 2, 4, 8, ...: its convolutions do not pad ('same'), or its size does not divide"
        )
    return stride


def _unreachable(model, last, stride, wanted, sizes, side):
    advice = f"give output_stride={stride}"
    fitting = [name for name, size in sizes.items() if (size[0] or 0) * wanted == side]
    if fitting:
        earlier = f'{model.name}.get_layer("{fitting[-1]}").output'
        advice += f", or end the encoder earlier: keras.Model({model.name}.input, {earlier})"
    return ValueError(
        f"build: output_stride={wanted} cannot be reached: the last feature of {model.name}, "
        f"{last}, is at stride {stride}, and only the project's own backbones trade stride for "
        f"atrous convolution; {advice}"
    )
