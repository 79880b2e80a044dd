"""`build`: backbone, ASPP, low-level features, decoder and softmax as one functional model."""

import importlib.resources
import os

import keras
import numpy as np

from keras_dup import backbones, decoders, projection
from keras_dup.autoencoder import AutoencoderUpsampling
from keras_dup.layers import AdaptiveTemperatureSoftmax, Crop, DUpsampling
from keras_dup.projection import LabelAutoencoder

# what `build` takes where nothing is given; weights: files in saved_models/
PRESETS = {
    "resnet50": {
        "low_level_features": ("conv1_3", "b3u6c3"),  # the best of Table 2
        "channels": 64,
        "weights": {},
    },
    "efficientnet_lite0": {
        "low_level_features": ("b2u2c3", "b5u3c3"),
        "channels": 64,
        "weights": {"imagenet": "efficientnet_lite0_imagenet.npz"},
    },
}
# of PCA the first rows are the projection of fewer channels: one file for several names
PROJECTIONS = {
    f"{data_set}_r{ratio}_c{channels}": (f"{data_set}_r{ratio}_c{most}.npz", channels)
    for data_set in ("voc2012", "voc2012_trainaug", "camvid")
    for ratio, most in ((8, 64), (16, 128), (32, 128))
    for channels in (32, 64, 128)
    if channels <= most
}
DECODERS = ("dupsampling", "bilinear")
OUTPUT_STRIDES = (8, 16, 32)


def build(
    backbone="resnet50",
    num_classes=21,
    output_stride=16,
    low_level_features=None,
    channels=None,
    projection=None,
    decoder="dupsampling",
    weights=None,
    temperature=1.0,
):
    """A segmentation network: image -> probabilities, any height and width.

    Args:
        backbone: a name in `PRESETS`.
        num_classes: K, at least 2.
        output_stride: 8, 16 or 32: image size / size of the last feature, by atrous convolution.
            The DUpsampling ratio equals it.
        low_level_features: names of features of the backbone, any number; () for none; None for
            the preset's. They are fused from coarse to fine.
        channels: C~. None takes the projection's, else the preset's.
        projection: a `LabelProjection` or a `LabelAutoencoder`, whose decoder then is the
            upsampling; the path of a saved one; or a name in `PROJECTIONS`. None draws W at
            random: give a fitted one before training, here or by
            `model.get_layer("dupsampling").set_projection(projection)`.
        decoder: "dupsampling" (the paper, Fig. 2) or "bilinear" (DeepLabv3+, Fig. 1).
        weights: None, "imagenet" (the backbone's, where the project ships them), or the path of a
            `.weights.h5` of the whole model.
        temperature: T of the DUpsampling decoder's softmax before training. The paper's is 1; W has
            orthonormal rows, so 1 / output_stride makes a unit of C~ move the scores of a window as
            much as a unit of a bilinearly upsampled score does.

    Returns:
        `keras.Model`: (B, H, W, 3) in 0..255, preprocessing inside -> (B, H, W, K) probabilities,
        float32.

    Raises:
        ValueError: an unknown name (the known ones are listed), or a projection of another ratio,
            class count or number of channels than the model's.
    """
    _check(backbone, num_classes, output_stride, decoder)
    preset = PRESETS[backbone]
    upsampling = None
    if decoder == "dupsampling":
        projection = load_projection(projection)
        channels = _channels(channels, projection, preset)
        linear = not isinstance(projection, LabelAutoencoder)
        layer = DUpsampling if linear else AutoencoderUpsampling
        upsampling = layer(num_classes, output_stride, projection, name="dupsampling")
    image = keras.Input((None, None, 3), name="image")
    features = getattr(backbones, backbone)(image, output_stride)
    if low_level_features is None:
        low_level_features = preset["low_level_features"]
    low_level_features = _select(image, features, low_level_features, backbone)
    x = decoders.aspp(features["last"], output_stride)
    if decoder == "dupsampling":
        x = decoders.dupsampling_decoder(x, low_level_features, output_stride, upsampling, channels)
        softmax = AdaptiveTemperatureSoftmax(temperature, name="softmax")
    else:
        x = decoders.bilinear_decoder(x, low_level_features, output_stride, num_classes)
        softmax = keras.layers.Softmax(dtype="float32", name="softmax")
    x = softmax(Crop(name="crop")([x, image]))  # softmax last: there Keras finds the logits
    model = keras.Model(image, x, name=f"{backbone}_{decoder}")
    if str(weights).endswith(".weights.h5"):
        model.load_weights(weights)
    elif weights is not None:
        load_backbone(model, backbone, weights)
    return model


def _check(backbone, num_classes, output_stride, decoder):
    for name, value, known in (
        ("backbone", backbone, tuple(PRESETS)),
        ("output_stride", output_stride, OUTPUT_STRIDES),
        ("decoder", decoder, DECODERS),
    ):
        if value not in known:
            raise ValueError(f"build: {name}={value!r}; it must be one of {known}")
    if num_classes < 2:
        raise ValueError(f"build: num_classes={num_classes}; it must be at least 2")


def load_projection(projection_or_name):
    """A name in `PROJECTIONS` or the path of an .npz -> projection; anything else as it is."""
    if not isinstance(projection_or_name, (str, os.PathLike)):
        return projection_or_name
    if projection_or_name in PROJECTIONS:
        file, channels = PROJECTIONS[projection_or_name]
        return projection.load(_shipped(file)).first(channels)
    return projection.load(projection_or_name)


def _channels(channels, fitted, preset):
    if fitted is None:
        return channels or preset["channels"]
    if channels not in (None, fitted.channels):
        raise ValueError(
            f"build: channels={channels}, but the projection has {fitted.channels}; "
            "leave channels out or fit a projection with as many"
        )
    return fitted.channels


def _select(image, features, names, backbone):
    """[(name, feature, stride)] of the low-level features, from coarse to fine."""
    unknown = [name for name in names if name not in features]
    if unknown:
        known = ", ".join(features)
        raise ValueError(f"build: {backbone} has no feature {unknown}; its features are {known}")
    strides = _strides(image, {name: features[name] for name in names})
    chosen = [(name, features[name], strides[name]) for name in names]
    return sorted(chosen, key=lambda item: -item[2])


def _strides(image, features):
    if not features:
        return {}
    side = 64
    shapes = keras.Model(image, features).compute_output_shape((1, side, side, 3))
    return {name: side // shape[1] for name, shape in shapes.items()}


def load_backbone(model, backbone, weights):
    """Gives the variables of the backbone in `model` the values of shipped weights ("imagenet").

    Raises:
        ValueError: the project ships no such weights for this backbone.
    """
    shipped = PRESETS[backbone]["weights"]
    if weights not in shipped:
        raise ValueError(
            f"build: weights={weights!r} for {backbone}; give the path of a .weights.h5"
            + "".join(f' or "{name}"' for name in shipped)
        )
    with np.load(_shipped(shipped[weights])) as archive:
        for variable in model.variables:
            if variable.path in archive:
                variable.assign(archive[variable.path])


def _shipped(name):
    return importlib.resources.files("keras_dup.saved_models") / name
