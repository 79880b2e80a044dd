"""keras-hub's DeepLabV3+ on the project's encoder, to train it by the same recipe.

    network=training.keras_hub_deeplab:deeplab_v3_plus

The encoder, its preprocessing and its weights are the recipe's; its strides are not shifted. As in
keras-hub's own presets the pyramid is on the last feature, enlarged to the low-level feature of
stride 4, and the scores are computed at the size of the picture. Needs the extra `hub`.
"""

import keras

from keras_dup import backbones, pretrained
from keras_dup.layers import Crop, EdgePadding
from keras_dup.training.recipe import weights_of


def deeplab_v3_plus(recipe, projection=None):
    """The network: (B, H, W, 3) in 0..255 -> (B, H, W, K) probabilities, any height and width."""
    import keras_hub

    stride = recipe.output_stride
    level = f"P{stride.bit_length() - 1}"
    image = keras.Input((None, None, 3), name="image")
    padded = EdgePadding(stride, name="padding")(image)  # keras-hub's levels fit no other sizes
    features = getattr(backbones, recipe.backbone)(padded, stride)
    (name,) = recipe.low_level_features
    encoder = keras.Model(image, features["last"])
    encoder.pyramid_outputs = {"P2": features[name], level: features["last"]}
    if weights := weights_of(recipe):
        pretrained.load(encoder, recipe.backbone, weights)
    decoder = keras_hub.models.DeepLabV3Backbone(
        encoder,
        spatial_pyramid_pooling_key=level,
        upsampling_size=stride // 4,
        dilation_rates=[rate * 16 // stride for rate in (6, 12, 18)],
        low_level_feature_key="P2",
    )
    # what `DeepLabV3ImageSegmenter` appends, here in one graph with the decoder
    scores = keras.layers.Conv2D(recipe.num_classes, 1, use_bias=False, name="scores")
    crop, softmax = Crop(name="crop"), keras.layers.Softmax(dtype="float32", name="softmax")
    return keras.Model(decoder.input, softmax(crop([scores(decoder.output), decoder.input])))
