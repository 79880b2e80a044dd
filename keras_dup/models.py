"""`build`: backbone, ASPP, low-level features, decoder and softmax as one functional model."""

import importlib.resources
import os
import pathlib
import types
import warnings

import keras

from keras_dup import backbones, decoders, lists, pretrained, projection
from keras_dup.backbones import keras_model
from keras_dup.layers import AdaptiveTemperatureSoftmax, Crop, DUpsampling, EdgePadding
from keras_dup.presets import BACKBONES, PRESETS
from keras_dup.projection import LabelAutoencoder, LabelProjection
from keras_dup.projection.autoencoder import AutoencoderUpsampling

DEFAULTS = {
    "backbone": "xception65",
    "num_classes": 21,
    "output_stride": 16,
    "decoder": "dupsampling",
    "downsample": "subsample",
    "low_level_channels": decoders.LOW_LEVEL_CHANNELS,
    "initializer": "glorot_uniform",
    "interpolated_scores": False,
}
KERAS_MODEL = {"low_level_features": (), "channels": 64, "output_stride": None}
# of PCA the first rows are the projection of fewer channels: one file for several names
PROJECTIONS = {
    f"{data_set}_r{ratio}_c{channels}": (f"{data_set}_r{ratio}_c{most}.npz", channels)
    for data_set in ("voc2012", "voc2012_trainaug")
    for ratio, most in ((8, 64), (16, 128), (32, 128))
    for channels in (32, 64, 128)
    if channels <= most
}
# trained networks that the package has, with the file of their classes' names
MODELS = {"voc_animals": ("voc_animals_efficientnet_lite0.keras", "voc2012_classes.txt")}
DECODERS = ("dupsampling", "bilinear")
DOWNSAMPLES = ("subsample", "convolution")
INITIALIZERS = ("glorot_uniform", "nearest")
OUTPUT_STRIDES = (8, 16, 32)
_RANDOM_W = (
    "build: no projection is given, so W is random. It stays as it is in training, and the network "
    "stays poor. Fit one to label maps (`keras_dup.projection.fit`) or take one of the package "
    "(`models.PROJECTIONS`), and give it here or to "
    '`model.get_layer("dupsampling").set_projection(...)` before training. projection="random" '
    "asks for a random W without this warning."
)


def build(
    backbone=None,
    num_classes=None,
    output_stride=None,
    low_level_features=None,
    channels=None,
    projection=None,
    decoder=None,
    weights=None,
    preset=None,
    preprocessing=None,
    temperature=1.0,
    downsample=None,
    low_level_channels=None,
    initializer=None,
    interpolated_scores=None,
):
    """A segmentation network: image -> probabilities, any height and width.

    What is None comes from the preset, else from `DEFAULTS` and the backbone's row in
    `keras_dup.presets.BACKBONES`.

    Args:
        backbone: a name in `keras_dup.presets.BACKBONES` ("xception65" by default), or a functional
            `keras.Model` with one image input (`keras.applications`, keras-hub, your own), which
            becomes part of the network with its weights.
        num_classes: K, at least 2; 21 by default.
        output_stride: 8, 16 (default) or 32: image size / size of the last feature, by atrous
            convolution; with a `keras.Model` the stride that its last feature has, which is also
            the default. The DUpsampling ratio equals it, and the last feature of the project's own
            backbones is then centred on the windows (see `keras_dup.backbones`); that of a
            `keras.Model` is where the model puts it.
        low_level_features: names of features of the backbone, any number; () for none. Of a
            `keras.Model`: names of layers or of levels of its `pyramid_outputs`, () by default.
            They are fused from coarse to fine.
        channels: C~. By default that of the projection, else of the preset or backbone (64 for a
            `keras.Model`).
        projection: a `LabelProjection` or a `LabelAutoencoder`, whose decoder then is the
            upsampling; the path of a saved one; or a name in `PROJECTIONS`. "random" draws W at
            random, and so does None, with a warning unless `weights` fills W: training does not
            change W, and a network with a random W stays poor. Give a fitted projection before
            training, here or by `model.get_layer("dupsampling").set_projection(projection)`.
        decoder: "dupsampling" (the paper, Fig. 2; default) or "bilinear" (DeepLabv3+, Fig. 1).
        weights: None; "imagenet", for the backbone (see `keras_dup.pretrained.load_imagenet`); the
            path of a `.weights.h5` or a `.keras` of the whole model; for "mobilenet_v2" that of a
            `.h5` of `keras.applications.MobileNetV2(include_top=False)`; or the prefix of a DeepLab
            TensorFlow checkpoint (`model.ckpt`), see `keras_dup.deeplab.load_checkpoint`.
        preset: a name in `keras_dup.presets.PRESETS`, the networks of the paper's tables.
        preprocessing: with a `keras.Model`: a layer or function from the image in 0..255 to what
            the model expects. None passes the image as it is.
        temperature: T of the DUpsampling decoder's softmax before training. The paper's is 1; W has
            orthonormal rows, so 1 / output_stride makes a unit of C~ move the scores of a window as
            much as a unit of a bilinearly upsampled score does.
        downsample: how the DUpsampling decoder brings low-level features down to the last one
            (Eq. 8). "subsample" (the paper; default) takes every k-th position, k the ratio of the
            two sizes: on the paper's sizes this is bilinear downsampling. "convolution" uses all
            positions, by a k x k convolution of stride k. The weights of one do not fit the other.
        low_level_channels: to how many the DUpsampling decoder brings each low-level feature before
            it is fused; 48 by default, as the other decoder has (DeepLabv3+). At 1/16 or 1/32 more
            cost little.
        initializer: how the DUpsampling decoder starts. "glorot_uniform" (Keras's; default): the
            last 1x1 convolution is drawn at random. "nearest": as nearest-neighbour upsampling of
            class scores. It needs a `LabelProjection`, and a temperature of 1 / output_stride suits
            it; see `keras_dup.decoders.start_as_nearest`.
        interpolated_scores: True adds a branch to the DUpsampling decoder: class scores, bilinearly
            interpolated in each window by a fixed 3x3 convolution, are added to the output of the
            last 1x1. The network then starts as bilinear upsampling of class scores. It needs a
            `LabelProjection`, and a temperature of 1 / output_stride suits it; it excludes
            initializer="nearest"; see `keras_dup.decoders.start_as_bilinear`.

    Returns:
        `keras.Model`: (B, H, W, 3) in 0..255, preprocessing inside -> (B, H, W, K) probabilities,
        float32.

    Raises:
        ValueError: an unknown name (the known ones are listed); a `keras.Model` whose features do
            not fit (see `keras_dup.backbones.keras_model.encoder`); a projection of another ratio,
            class count or number of channels than the model's; none where `initializer` asks
            for one; weights that do not fit.
    """
    given = {
        "backbone": backbone,
        "num_classes": num_classes,
        "output_stride": output_stride,
        "low_level_features": low_level_features,
        "channels": channels,
        "decoder": decoder,
        "downsample": downsample,
        "low_level_channels": low_level_channels,
        "initializer": initializer,
        "interpolated_scores": interpolated_scores,
    }
    network = _network(preset, {key: value for key, value in given.items() if value is not None})
    _check(network, preprocessing)
    centred = network.decoder == "dupsampling" and isinstance(network.backbone, str)
    image, features, strides = _encoder(network, preprocessing, centred)
    output_stride = strides["last"]
    low_level_features = [(n, features[n], strides[n]) for n in network.low_level_features]
    low_level_features.sort(key=lambda feature: -feature[2])
    x = decoders.aspp(features["last"], output_stride)
    if network.decoder == "dupsampling":
        given_projection, projection = projection, load_projection(projection)
        channels = _channels(channels, projection, network)
        linear = not isinstance(projection, LabelAutoencoder)
        start = _start(network, projection)
        layer = DUpsampling if linear else AutoencoderUpsampling
        upsampling = layer(network.num_classes, output_stride, projection, name="dupsampling")
        x = decoders.dupsampling_decoder(
            x,
            low_level_features,
            output_stride,
            upsampling,
            channels,
            centred,
            network.downsample,
            network.low_level_channels,
            network.interpolated_scores,
        )
        softmax = AdaptiveTemperatureSoftmax(temperature, name="softmax")
    else:
        x = decoders.bilinear_decoder(x, low_level_features, output_stride, network.num_classes)
        softmax = keras.layers.Softmax(dtype="float32", name="softmax")
    x = softmax(Crop(name="crop")([x, image]))  # softmax last: there Keras finds the logits
    model = keras.Model(image, x, name=f"{_name(network.backbone)}_{network.decoder}")
    if network.decoder == "dupsampling" and start:
        start(model, projection, temperature)
    whole = False
    if weights is not None:
        whole = pretrained.load_weights(model, network.backbone, weights)
    if network.decoder == "dupsampling" and given_projection is None and not whole:
        warnings.warn(_RANDOM_W, stacklevel=2)
    return model


def load(path_or_name):
    """A trained model: the path of a `.keras` file, or a name in `MODELS`.

    Returns: `keras.Model`, not compiled.

    Raises:
        ValueError: neither a file nor a name; the names are listed.
    """
    if path_or_name in MODELS:
        file = importlib.resources.files("keras_dup.saved_models") / MODELS[path_or_name][0]
        with importlib.resources.as_file(file) as path:
            return keras.models.load_model(path, compile=False)
    if not os.path.exists(path_or_name):
        known = ", ".join(MODELS)
        raise ValueError(f"{path_or_name}: no such file, and no model of the package ({known})")
    return keras.models.load_model(path_or_name, compile=False)


def class_names(path_or_name):
    """The class names of what `load` loads, a list of strings; None where they are not known.

    Those of a file are in classes.txt beside it, a name a line, as `keras_dup.training` writes it.
    """
    if path_or_name in MODELS:
        names = importlib.resources.files("keras_dup.saved_models") / MODELS[path_or_name][1]
    else:
        names = pathlib.Path(path_or_name).with_name("classes.txt")
    return lists.read_lines(names) if names.is_file() else None


def _network(preset, given):
    """What is given, else the preset's, else the backbone's, else the default."""
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"build: preset={preset!r}; it must be one of {', '.join(PRESETS)}")
    row = {key: value for key, value in PRESETS.get(preset, {}).items() if value is not None}
    backbone = given.get("backbone", row.get("backbone", DEFAULTS["backbone"]))
    if backbone != row.get("backbone", backbone):
        row = {"num_classes": row["num_classes"], "decoder": row["decoder"]}
    known = KERAS_MODEL if isinstance(backbone, keras.Model) else BACKBONES.get(backbone, {})
    network = {**DEFAULTS, **known, **row, **given, "backbone": backbone}
    return types.SimpleNamespace(**network)


def _check(network, preprocessing):
    is_model = isinstance(network.backbone, keras.Model)
    strides = (*OUTPUT_STRIDES, None) if is_model else OUTPUT_STRIDES
    for name, known in (
        ("backbone", (network.backbone,) if is_model else tuple(BACKBONES)),
        ("output_stride", strides),
        ("decoder", DECODERS),
        ("downsample", DOWNSAMPLES),
        ("initializer", INITIALIZERS),
    ):
        if getattr(network, name) not in known:
            value = getattr(network, name)
            raise ValueError(f"build: {name}={value!r}; it must be one of {known}")
    for name, least in (("num_classes", 2), ("low_level_channels", 1)):
        if getattr(network, name) < least:
            value = getattr(network, name)
            raise ValueError(f"build: {name}={value}; it must be at least {least}")
    if network.interpolated_scores and network.initializer == "nearest":
        raise ValueError(
            "build: interpolated_scores=True has a start of its own; leave initializer out"
        )
    if preprocessing is not None and not is_model:
        raise ValueError(f"build: {network.backbone} has its preprocessing inside; leave it out")


def _start(network, projection):
    """The function that sets the first weights of the DUpsampling decoder, or None."""
    if network.interpolated_scores:
        name, start = "interpolated_scores=True", decoders.start_as_bilinear
    elif network.initializer == "nearest":
        name, start = "initializer='nearest'", decoders.start_as_nearest
    else:
        return None
    if not isinstance(projection, LabelProjection):
        raise ValueError(f"build: {name} needs a LabelProjection as projection")
    return start


def _encoder(network, preprocessing, centred):
    """The image, {name: feature} and {name: stride} of the backbone."""
    if isinstance(network.backbone, keras.Model):
        return _keras_model(network, preprocessing)
    image = keras.Input((None, None, 3), name="image")
    features = getattr(backbones, network.backbone)(image, network.output_stride, centred)
    names = network.low_level_features
    unknown = [name for name in names if name not in features]
    if unknown:
        known = ", ".join(features)
        raise ValueError(
            f"build: {network.backbone} has no feature {unknown}; its features are {known}"
        )
    strides = _strides(image, {name: features[name] for name in names})
    return image, features, {**strides, "last": network.output_stride}


def _keras_model(network, preprocessing):
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


def _name(backbone):
    return backbone if isinstance(backbone, str) else backbone.name


def load_projection(projection_or_name):
    """A name in `PROJECTIONS` or the path of an .npz -> projection; anything else as it is."""
    if projection_or_name == "random":
        return None
    if not isinstance(projection_or_name, (str, os.PathLike)):
        return projection_or_name
    if projection_or_name in PROJECTIONS:
        file, channels = PROJECTIONS[projection_or_name]
        folder = importlib.resources.files("keras_dup.saved_models")
        return projection.load(folder / file).first(channels)
    return projection.load(projection_or_name)


def _channels(given, fitted, network):
    if fitted is None:
        return network.channels
    if given not in (None, fitted.channels):
        raise ValueError(
            f"build: channels={given}, but the projection has {fitted.channels}; "
            "leave channels out or fit a projection with as many"
        )
    return fitted.channels


def _strides(image, features):
    if not features:
        return {}
    side = 64
    shapes = keras.Model(image, features).compute_output_shape((1, side, side, 3))
    return {name: side // shape[1] for name, shape in shapes.items()}
