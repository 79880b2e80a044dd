"""DeepLabV3+ of keras-hub and of keras-cv on the encoders of this package, trained by its recipes.

    network=research.peers.decoders:keras_hub
    network=research.peers.decoders:keras_cv

The recipe decides the encoder, its preprocessing, its weights and the one low-level feature, of
stride 4. The first needs the extra `hub`, the second `peers`. Both return a model (B, H, W, 3) in
0..255 -> (B, H, W, K) probabilities, any height and width.
"""

import keras

from keras_dup import models
from keras_dup.layers import Crop, EdgePadding


def keras_hub(recipe, projection=None):
    """keras-hub's: as in its own presets the pyramid is on the last feature, at any stride."""
    from keras_hub.models import DeepLabV3Backbone

    stride = recipe.output_stride
    level = f"P{stride.bit_length() - 1}"
    encoder = _encoder(recipe)
    low, last = encoder.output
    encoder.pyramid_outputs = {"P2": low, level: last}
    decoder = DeepLabV3Backbone(
        encoder,
        spatial_pyramid_pooling_key=level,
        upsampling_size=stride // 4,
        dilation_rates=[rate * 16 // stride for rate in (6, 12, 18)],
        low_level_feature_key="P2",
    )
    # what `DeepLabV3ImageSegmenter` appends, here in one graph with the decoder
    scores = keras.layers.Conv2D(recipe.num_classes, 1, use_bias=False, name="scores")
    return _network(decoder.input, scores(decoder.output))


def keras_cv(recipe, projection=None):
    """keras-cv's, with its own rates, 6, 12 and 18; output stride 32 is all that it has.

    Raises ValueError for another one.
    """
    from keras_cv.models import DeepLabV3Plus

    if recipe.output_stride != 32:
        raise ValueError(f"output_stride={recipe.output_stride}; keras-cv's DeepLabV3+ has 32")
    encoder = _encoder(recipe)
    encoder.pyramid_level_inputs = {"P2": "low", "P5": "last"}
    # its own head, but for the softmax inside the last convolution
    head = [
        keras.layers.Conv2D(256, 1, use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.UpSampling2D(4, interpolation="bilinear"),
        keras.layers.Conv2D(recipe.num_classes, 1, use_bias=False),
    ]
    head = keras.Sequential(head, name="scores")
    model = DeepLabV3Plus(encoder, recipe.num_classes, segmentation_head=head)
    return _network(model.input, model.output)


def _encoder(recipe):
    """Image -> (the low-level feature, the last feature), its sides made whole strides first."""
    model = models.build(
        recipe.backbone,
        recipe.num_classes,
        recipe.output_stride,
        recipe.low_level_features,
        decoder="bilinear",
        weights=recipe.weights or None,
    )
    (name,) = recipe.low_level_features
    features = (
        model.get_layer(f"fuse_{name}_projection_conv").input,
        model.get_layer("aspp_mean").input,
    )
    image = keras.Input((None, None, 3), name="image")
    padded = EdgePadding(recipe.output_stride, name="padding")(image)  # the levels fit no others
    features = keras.Model(model.input, features)(padded)
    levels = [
        keras.layers.Identity(name=level)(x)
        for level, x in zip(("low", "last"), features, strict=True)
    ]
    return keras.Model(image, levels)


def _network(image, scores):
    crop, softmax = Crop(name="crop"), keras.layers.Softmax(dtype="float32", name="softmax")
    return keras.Model(image, softmax(crop([scores, image])))
