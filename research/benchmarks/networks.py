"""The networks that are measured: image (B, H, W, 3) -> class ids (B, H, W), 21 classes.

Weights and batch norms are at random, since grappler drops a bias of zeros. Ours as they are
deployed (`export.fold`); the vanilla decoder's (DeepLabv3+, Fig. 1 of the paper) folded too, which
spares its batch norms and its softmax. What the peers give is resized to the image, then the
argmax. "ours, keras-hub's encoder" is our decoder on the peer's ResNet-50, with its low-level
feature, P2. zeromodels' encoders are its DeepLabV3's dilated ResNet-50, stride 8, and its
SegFormer's MiT-B0, stride 32, which takes square images only. bfloat16: ours by `fold(dtype=)`, the
peers' by Keras's dtype policy of that name.
"""

import importlib.util

import keras
import numpy as np

from keras_dup import export, models

FEATURE = ("b1u2c3",)  # Table 3's low-level feature that both decoders have


def networks(size):
    """{name: function that builds it}, the first two are ours at strides 32 and 16."""
    found = {
        "ours, stride 32": lambda: ours(32),
        "ours, stride 16": lambda: ours(16),
        "ours, keras-hub's encoder, P5": lambda: ours_on_keras_hubs("P5"),
        "ours, keras-hub's encoder, P4": lambda: ours_on_keras_hubs("P4"),
        "vanilla decoder, stride 16": lambda: ours(16, decoder="bilinear"),
        "vanilla decoder, stride 8": lambda: ours(8, decoder="bilinear"),
        "keras-hub DeepLabV3+, P5": lambda: keras_hubs("P5"),
        "keras-hub DeepLabV3+, P4": lambda: keras_hubs("P4"),
        "ours, xception65, stride 16": lambda: ours(16, "xception65", None),
        "ours, efficientnet_lite0, 16": lambda: ours(16, "efficientnet_lite0", None),
        "ours, stride 32, bfloat16": lambda: ours(32, dtype="bfloat16"),
        "ours, stride 16, bfloat16": lambda: ours(16, dtype="bfloat16"),
        "vanilla decoder, 8, bfloat16": lambda: ours(8, decoder="bilinear", dtype="bfloat16"),
        "keras-hub, P5, bfloat16": lambda: keras_hubs("P5", "bfloat16"),
        "keras-hub, P4, bfloat16": lambda: keras_hubs("P4", "bfloat16"),
    }
    if importlib.util.find_spec("keras_cv"):  # the extra `peers`
        found["keras-cv DeepLabV3+, P5"] = lambda: keras_cvs(size)
    if importlib.util.find_spec("zeromodels"):  # the same extra
        found |= {
            "ours, zeromodels' ResNet-50, 8": lambda: ours_on_zeromodels("DeepLabV3", size),
            "zeromodels DeepLabV3, 8": lambda: zeromodels_own("DeepLabV3", size),
            "ours, zeromodels' MiT-B0": lambda: ours_on_zeromodels("SegFormer", size),
            "zeromodels SegFormer-B0": lambda: zeromodels_own("SegFormer", size),
        }
    return found


def disturbed(model):
    """Batch norms and biases as a training leaves them: nothing is 0 or 1."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    return model


def ours(output_stride, backbone="resnet50", features=FEATURE, dtype=None, **keywords):
    keywords = {"decoder": "dupsampling", **keywords}
    model = models.build(backbone, 21, output_stride, features, **keywords)
    folded = export.fold(disturbed(model), dtype=dtype)
    return lambda image: folded(image, training=False)


def ours_on_keras_hubs(level):
    rescaling = keras.layers.Rescaling(1 / 127.5, -1)
    stride = {"P5": 32, "P4": 16}[level]
    return ours(stride, keras_hubs_resnet50(level), ("P2",), preprocessing=rescaling)


def keras_hubs(level, dtype="float32"):
    model = disturbed(keras_hubs_model(level, dtype))
    return lambda image: _label_map(model(image / 127.5 - 1, training=False), image)


def keras_hubs_model(level, dtype="float32"):
    """Its DeepLabV3+ on `P5`, stride 32, or `P4`, stride 16, whose encoder has no last stage."""
    import keras_hub

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    backbone = keras_hub.models.DeepLabV3Backbone(
        keras_hubs_resnet50(level),
        spatial_pyramid_pooling_key=level,
        upsampling_size={"P5": 8, "P4": 4}[level],
        dilation_rates=[6, 12, 18],
        low_level_feature_key="P2",
    )
    model = keras_hub.models.DeepLabV3ImageSegmenter(backbone, 21)
    keras.config.set_dtype_policy(before)
    return model


def keras_hubs_resnet50(level):
    import keras_hub

    stages = {"P5": 4, "P4": 3}[level]
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512][:stages],
        stackwise_num_blocks=[3, 4, 6, 3][:stages],
        stackwise_num_strides=[1, 2, 2, 2][:stages],
        block_type="bottleneck_block",
    )


def keras_cvs(size):
    model = disturbed(keras_cvs_model(size))
    return lambda image: _label_map(model(image / 127.5 - 1, training=False), image)


def keras_cvs_model(size):
    """Its DeepLabV3+ on ResNet-50 V2, for one size of image."""
    import keras_cv

    encoder = keras_cv.models.ResNetV2Backbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[3, 4, 6, 3],
        stackwise_strides=[1, 2, 2, 2],
        include_rescaling=False,
        input_shape=(*size, 3),
    )
    return keras_cv.models.DeepLabV3Plus(num_classes=21, backbone=encoder)


def ours_on_zeromodels(name, size):
    """Our decoder on the encoder of zeromodels' DeepLabV3 or SegFormer, for one size of image."""
    encoder = zeromodels_model(f"{name}Model", size)
    features = tuple(encoder.output_names[:-1][:1])  # of SegFormer's four outputs
    rescaling = keras.layers.Rescaling(1 / 127.5, -1)
    return ours(None, encoder, features, preprocessing=rescaling)


def zeromodels_own(name, size):
    """zeromodels' DeepLabV3 or SegFormer, whose scores have the size of the image."""
    model = disturbed(zeromodels_model(f"{name}SemanticSegment", size, num_classes=21))
    return lambda image: _label_map(model(image / 127.5 - 1, training=False), image)


def zeromodels_model(name, size, **keywords):
    from zeromodels.models import deeplabv3, segformer

    if name.startswith("SegFormer"):  # B0
        keywords |= {"embed_dim": (32, 64, 160, 256), "depths": (2, 2, 2, 2)}
    kind = getattr(segformer if name.startswith("SegFormer") else deeplabv3, name)
    return kind(image_size=tuple(size), **keywords)


def _label_map(scores, image):
    import tensorflow as tf

    if scores.shape[1:3] != image.shape[1:3]:
        scores = tf.image.resize(scores, tf.shape(image)[1:3])
    return tf.argmax(scores, -1, tf.int32)


def multiply_adds(network, image):
    """Of the convolutions in the graph of a network for one image; what their padding costs too."""
    import tensorflow as tf

    spec = tf.TensorSpec((1, *image.shape[1:]), image.dtype)
    graph = tf.function(network, autograph=False).get_concrete_function(spec).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
            kernel, output = operation.inputs[1].shape, operation.outputs[0].shape
            sums = kernel[:3] if operation.type == "Conv2D" else kernel[:2]
            total += sums.num_elements() * output.num_elements()
    return total
