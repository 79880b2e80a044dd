"""What `keras_dup.models.build` builds: its arguments, completed and checked, and the model."""

import types
import warnings

import keras

from keras_dup import _backbones, _decoders
from keras_dup._backbones import keras_model
from keras_dup._nearest import hint
from keras_dup._trained import OF_ENCODER
from keras_dup.layers import AdaptiveTemperatureSoftmax, Crop, DUpsampling, EdgePadding
from keras_dup.presets import (
    _BACKBONES,
    DECODERS,
    DOWNSAMPLES,
    INITIALIZERS,
    OUTPUT_STRIDES,
    PRESETS,
    RATIOS,
    THIN,
)
from keras_dup.projection import LabelAutoencoder, LabelProjection
from keras_dup.projection._autoencoder import AutoencoderUpsampling

_DEFAULTS = {
    "backbone": "xception65",
    "num_classes": 21,
    "output_stride": 16,
    "decoder": "thin",
    "fusion_stride": None,
    "ratio": None,
    "downsample": "subsample",
    "fusion_channels": 256,
    "low_level_channels": _decoders.LOW_LEVEL_CHANNELS,
    "context_channels": None,
    "coarse_scores": False,
    "initializer": "glorot_uniform",
    "interpolated_scores": False,
}
_KERAS_MODEL = {"low_level_features": (), "channels": 64, "output_stride": None}
_OF_W = ("projection", "temperature", "channels", "ratio", "initializer", "interpolated_scores")
_NOTHING_TO_FUSE = (
    "build: no feature at stride 4 of {} is known, and the thin decoder without one only "
    "interpolates class scores. Name low_level_features, take decoder='dupsampling' with a "
    "projection, or say decoder='bilinear' if that is what you want."
)


def resolve(preset, preprocessing, trained, **arguments):
    """Every argument of a network: as given, else the preset's, the trained model's, the backbone's
    or the default.

    Args:
        trained: the arguments of a trained model, {} without one.
        arguments: those of `build`.

    Returns: a namespace of `arguments`, with `backbone` a name or a `keras.Model`.

    Warns: the thin decoder finds nothing to fuse, and no one said that there is nothing.

    Raises:
        ValueError: a value is unknown or out of its range.
    """
    if preset is not None and preset not in PRESETS:
        known = f"{', '.join(PRESETS)}{hint(preset, PRESETS)}"
        raise ValueError(f"build: preset={preset!r}; it must be one of {known}")
    given = {key: value for key, value in arguments.items() if value is not None}
    row = {key: value for key, value in PRESETS.get(preset, {}).items() if value is not None}
    trained = {key: value for key, value in trained.items() if value is not None}
    of_w = [name for name in _OF_W if name in given]
    decoder = {**row, **given}.get("decoder")
    decoder = decoder or ("dupsampling" if of_w else trained.get("decoder"))
    if decoder != trained.get("decoder"):
        trained = {key: trained[key] for key in OF_ENCODER if key in trained}
    backbone = {**_DEFAULTS, **trained, **row, **given}["backbone"]
    if backbone != row.get("backbone", backbone):
        row = {"num_classes": row["num_classes"], "decoder": row["decoder"]}
    known = _KERAS_MODEL if isinstance(backbone, keras.Model) else _BACKBONES.get(backbone, {})
    decoder = decoder or "thin"
    of_w = [name for name in of_w if not isinstance(given[name], str) or given[name] != "random"]
    if of_w and decoder in DECODERS and decoder != "dupsampling":
        raise ValueError(
            f"build: {of_w[0]} is of DUpsampling; decoder={decoder!r} has none: leave it out, or "
            "take decoder='dupsampling'"
        )
    if decoder == "thin":
        known = {**known, "low_level_features": _thin_features(backbone)}
        said = {**trained, **row, **given}
        if {**known, **said}["low_level_features"]:
            known |= THIN
        elif "low_level_features" not in said:
            name = backbone.name if isinstance(backbone, keras.Model) else backbone
            warnings.warn(_NOTHING_TO_FUSE.format(name), stacklevel=3)
    network = {**_DEFAULTS, **known, **trained, **row, **given}
    network = types.SimpleNamespace(**{**network, "backbone": backbone, "decoder": decoder})
    _check(network, preprocessing)
    return network


def _thin_features(backbone):
    """The features at stride 4 that the thin decoder takes by default."""
    if isinstance(backbone, keras.Model):
        return keras_model.at_stride(backbone, THIN["fusion_stride"])[-1:]
    return _BACKBONES.get(backbone, {"thin": ()})["thin"]


def _check(network, preprocessing):
    is_model = isinstance(network.backbone, keras.Model)
    for name, known in (
        ("backbone", (network.backbone,) if is_model else tuple(_BACKBONES)),
        ("output_stride", (*OUTPUT_STRIDES, None) if is_model else OUTPUT_STRIDES),
        ("decoder", DECODERS),
        ("fusion_stride", (*RATIOS, None)),
        ("ratio", (*RATIOS, None)),
        ("downsample", DOWNSAMPLES),
        ("initializer", INITIALIZERS),
    ):
        value = getattr(network, name)
        if value not in known:
            known = tuple(one for one in known if one is not None)
            near = hint(value, known)
            raise ValueError(f"build: {name}={value!r}; it must be one of {known}{near}")
    for name, least in (
        ("num_classes", 2),
        ("low_level_channels", 1),
        ("fusion_channels", 1),
        ("context_channels", 1),
    ):
        value = getattr(network, name)
        if value is not None and value < least:
            raise ValueError(f"build: {name}={value}; it must be at least {least}")
    if network.interpolated_scores and network.initializer == "nearest":
        raise ValueError(
            "build: interpolated_scores=True has a start of its own; leave initializer out"
        )
    if preprocessing is not None and not is_model:
        raise ValueError(f"build: {network.backbone} has its preprocessing inside; leave it out")


def assemble(network, preprocessing, fitted, channels, temperature, starts):
    """The model of a network; `starts` sets the first weights of its decoder."""
    start, channels = (
        _start(network, fitted) if starts else None,
        _channels(network, channels, fitted),
    )
    image, features, strides = _encode(network, preprocessing)
    fusion = _fusion(network)
    x = _decoders.aspp(features["last"], network.output_stride)
    low_level_features = [(n, features[n], strides[n]) for n in network.low_level_features]
    low_level_features.sort(key=lambda feature: -feature[2])
    arguments = x, low_level_features, network.output_stride
    if network.decoder == "dupsampling":
        kind = AutoencoderUpsampling if isinstance(fitted, LabelAutoencoder) else DUpsampling
        upsampling = kind(network.num_classes, network.ratio, fitted, name="dupsampling")
        scores = network.interpolated_scores, network.coarse_scores
        x = _decoders.dupsampling_decoder(*arguments, upsampling, channels, fusion, *scores)
        softmax = AdaptiveTemperatureSoftmax(temperature, name="softmax")
    else:
        scores = network.num_classes, fusion, network.coarse_scores
        x = _decoders.bilinear_decoder(*arguments, *scores)
        softmax = keras.layers.Softmax(dtype="float32", name="softmax")
    x = softmax(Crop(name="crop")([x, image]))  # softmax last: there Keras finds the logits
    name = network.backbone if isinstance(network.backbone, str) else network.backbone.name
    model = keras.Model(image, x, name=f"{name}_{network.decoder}")
    if start:
        start(model, fitted, temperature)
    return model


def _set_strides(network, output_stride):
    """Completes `output_stride`, `fusion_stride` and `ratio` of a network; checks their order."""
    network.output_stride = output_stride
    if network.decoder == "dupsampling":
        network.fusion_stride = network.fusion_stride or output_stride
        network.ratio = network.ratio or network.fusion_stride
    strides = (network.ratio, network.fusion_stride, output_stride)
    order = [stride for stride in strides if stride]
    if order != sorted(order):
        raise ValueError(
            f"build: ratio={network.ratio}, fusion_stride={network.fusion_stride} and "
            f"output_stride={output_stride}; none may be larger than the next"
        )


def _is_centred(network):
    """Is the last feature at the centres of windows, in place of their first pixels?

    Patches of a vision transformer are. The project's own backbones move it there for the windows
    that W makes of it; where another encoder has it is not known.
    """
    if isinstance(network.backbone, keras.Model):
        return keras_model.has_tokens(network.backbone)
    if network.backbone in _backbones.PATCHES:
        return True
    strides = {network.output_stride, network.fusion_stride, network.ratio} - {None}
    return network.decoder == "dupsampling" and len(strides) == 1


def _fusion(network):
    """The `Fusion` of a network."""
    return _decoders.Fusion(
        network.fusion_stride,
        network.fusion_channels,
        network.low_level_channels,
        network.context_channels,
        network.downsample,
        _is_centred(network),
    )


def _start(network, projection):
    """The function that sets the first weights of the DUpsampling decoder, or None."""
    if network.decoder != "dupsampling":
        return None
    if network.interpolated_scores:
        name, start = "interpolated_scores=True", _decoders.start_as_bilinear
    elif network.initializer == "nearest":
        name, start = "initializer='nearest'", _decoders.start_as_nearest
    else:
        return None
    if not isinstance(projection, LabelProjection):
        raise ValueError(f"build: {name} needs a LabelProjection as projection")
    return start


def _channels(network, given, projection):
    """C~: that of the projection where there is one."""
    if projection is None:
        return network.channels
    if given not in (None, projection.channels):
        raise ValueError(
            f"build: channels={given}, but the projection has {projection.channels}; "
            "leave channels out or fit a projection with as many"
        )
    return projection.channels


def _encode(network, preprocessing):
    """Runs the backbone and completes the strides of `network`.

    Returns: the image, {name: feature} and {name: stride}; "last" is the last feature.
    """
    if isinstance(network.backbone, keras.Model):
        image, features, strides = _encode_by_model(network, preprocessing)
        _set_strides(network, strides["last"])
        return image, features, strides
    _set_strides(network, network.output_stride)
    image = keras.Input((None, None, 3), name="image")
    backbone = getattr(_backbones, network.backbone)
    features = backbone(image, network.output_stride, _is_centred(network))
    names = network.low_level_features
    unknown = [name for name in names if name not in features]
    if unknown:
        known = ", ".join(features)
        raise ValueError(
            f"build: {network.backbone} has no feature {unknown}; its features are {known}"
            f"{hint(unknown[0], features)}"
        )
    strides = _strides(image, {name: features[name] for name in names})
    return image, features, {**strides, "last": network.output_stride}


def _encode_by_model(network, preprocessing):
    backbone = network.backbone
    encoder, strides = keras_model.encoder(
        backbone, network.low_level_features, network.output_stride
    )
    if strides["last"] not in OUTPUT_STRIDES:
        raise ValueError(
            f"build: the last feature of {backbone.name} is at stride {strides['last']}; it must "
            f"be one of {OUTPUT_STRIDES}"
        )
    image = keras.Input(encoder.input_shape[1:], name="image")
    x = image
    if None in image.shape[1:3]:  # a model for one size has a multiple of its strides
        x = EdgePadding(strides["last"], name="padding")(x)
    if preprocessing is not None:
        if isinstance(preprocessing, keras.layers.Layer):
            keras_model.check_training(preprocessing)
        x = preprocessing(x)
    return image, encoder(x), strides


def _strides(image, features):
    if not features:
        return {}
    side = 64
    shapes = keras.Model(image, features).compute_output_shape((1, side, side, 3))
    return {name: side // shape[1] for name, shape in shapes.items()}
