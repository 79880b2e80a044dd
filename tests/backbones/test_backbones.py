"""Encoders against DeepLab's definition; the shapes and sizes that the paper relies on."""

import functools

import keras
import numpy as np
import pytest
import reference
from keras import layers

from keras_dup import _backbones, _decoders
from keras_dup._backbones.convolution import convolution

FAMILIES = ("resnet50", "xception71", "mobilenet_v2", "efficientnet_lite0")


def features(name, output_stride=16):
    image = keras.Input((None, None, 3))
    return image, getattr(_backbones, name)(image, output_stride)


def randomized(model, seed=0):
    """Random values, moving statistics too, with which features neither grow nor vanish."""
    rng = np.random.default_rng(seed)
    for v in model.weights:
        if v.name == "kernel":
            depthwise = v.shape[-1] == 1
            v.assign(rng.normal(0, np.prod(v.shape[: 2 if depthwise else 3]) ** -0.5, v.shape))
        elif v.name in ("moving_variance", "gamma"):
            v.assign(rng.uniform(0.5, 1.5, v.shape))
        else:
            v.assign(rng.normal(0, 0.3, v.shape))
    return model


@pytest.mark.parametrize("size", [(9, 9), (8, 11), (12, 6)])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "rate"), [(3, 2, 1), (5, 2, 1), (3, 1, 4), (5, 1, 2), (1, 2, 1)]
)
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions_follow_the_definition(depthwise, kernel_size, stride, rate, size):
    image = keras.Input((None, None, 4))
    kind = {"layer": layers.DepthwiseConv2D} if depthwise else {"filters": 6}
    y = convolution(image, "c", kernel_size, stride, rate, epsilon=0.01, activation="relu", **kind)
    model = randomized(keras.Model(image, y))
    values = {f"c/BatchNorm/{v.name}": np.asarray(v) for v in model.get_layer("c_bn").weights}
    name = "depthwise_weights" if depthwise else "weights"
    values[f"c/{name}"] = np.asarray(model.get_layer("c_conv").kernel)
    x = np.random.default_rng(1).normal(size=(*size, 4)).astype("float32")
    expected = reference.relu(reference.convolved(x, values, "c", 0.01, stride, rate))
    # float32 sums of at most 5 * 5 * 4 products of about one
    np.testing.assert_allclose(model(x[None])[0], expected, atol=1e-5)


# after tensorflow/models, stack_blocks_dense: {layer: (stride, rate)} of the 3x3 convolutions
PLANS = {
    ("resnet50", 32): {"b1u3c2": (2, 1), "b2u4c2": (2, 1), "b3u6c2": (2, 1), "b4u3c2": (1, 1)},
    ("resnet50", 16): {"b2u4c2": (2, 1), "b3u6c2": (1, 1), "b4u1c2": (1, 2), "b4u3c2": (1, 2)},
    ("resnet50", 8): {"b1u3c2": (2, 1), "b2u4c2": (1, 1), "b3u6c2": (1, 2), "b4u1c2": (1, 4)},
    ("resnet101", 16): {"b3u23c2": (1, 1), "b4u1c2": (1, 2)},
    ("xception65", 32): {"efb3u1c3": (2, 1), "xfb1u1c3": (2, 1), "xfb2u1c1": (1, 1)},
    ("xception65", 16): {"efb3u1c3": (2, 1), "mfb1u16c1": (1, 1), "xfb1u1c3": (1, 1)}
    | {"xfb2u1c1": (1, 2), "xfb2u1c3": (1, 2)},
    ("xception65", 8): {"efb2u1c3": (2, 1), "efb3u1c3": (1, 1), "mfb1u1c2": (1, 2)}
    | {"xfb1u1c1": (1, 2), "xfb1u1c3": (1, 2), "xfb2u1c2": (1, 4)},
    ("xception71", 16): {"efb2u1c3": (1, 1), "efb3u1c3": (2, 1), "efb5u1c3": (2, 1)}
    | {"xfb2u1c1": (1, 2)},
    ("mobilenet_v2", 16): {"b4u1c2": (2, 1), "b6u1c2": (1, 1), "b6u2c2": (1, 2), "b7u1c2": (1, 2)},
    ("mobilenet_v2", 8): {"b4u1c2": (1, 1), "b4u2c2": (1, 2), "b6u1c2": (1, 2), "b6u2c2": (1, 4)},
    ("efficientnet_lite1", 16): {"b4u1c2": (2, 1), "b6u1c2": (1, 1), "b6u5c2": (1, 2)},
}


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize(("name", "output_stride"), PLANS)
def test_rates_take_the_place_of_strides_as_in_deeplab(name, output_stride):
    model = keras.Model(*_last(name, output_stride))
    plan = PLANS[name, output_stride]
    ending = "_depthwise_conv" if name.startswith("xception") else "_conv"
    found = {n: model.get_layer(n + ending) for n in plan}
    assert {n: (c.strides[0], c.dilation_rate[0]) for n, c in found.items()} == plan


@pytest.mark.parametrize(
    ("name", "output_stride", "feature"),
    [
        ("mobilenet_v2", 16, "b4u1c2"),
        ("efficientnet_lite0", 8, "b3u1c2"),
        ("resnet50", 8, "b1u3c3"),
        ("xception65", 8, "efb2u1c3"),
    ],
)
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("side", [255, 256])
def test_features_are_centred_on_their_pixel_or_on_their_window(
    name, output_stride, feature, centred, side
):
    import tensorflow as tf

    image = keras.Input((None, None, 3))
    found = getattr(_backbones, name)(image, output_stride, centred)
    model = randomized(keras.Model(image, found[feature]))
    x, place = tf.random.stateless_normal((1, side, side, 3), (0, 1)) * 50, 128 // output_stride
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(model(x)[0, place, place])
    seen = np.abs(tape.gradient(y, x)[0]).sum(-1)
    for axis in (0, 1):
        pixels = np.flatnonzero(seen.sum(axis))
        assert pixels[0] > 0 and pixels[-1] < side - 1  # the image does not cut it
        assert pixels[0] + pixels[-1] == 2 * (128 + (output_stride // 2 if centred else 0))


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize("name", FAMILIES)
def test_centred_features_have_the_shapes_of_the_others(name):
    image = keras.Input((None, None, 3))
    for output_stride in (8, 32):
        both = [getattr(_backbones, name)(image, output_stride, c) for c in (False, True)]
        one, other = (keras.Model(image, found) for found in both)
        for size in ((65, 97), (64, 90)):
            shape = 1, *size, 3
            assert one.compute_output_shape(shape) == other.compute_output_shape(shape)


def _last(name, output_stride):
    image, found = features(name, output_stride)
    return image, found["last"]


@pytest.mark.parametrize(
    ("output_stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9))]
)
def test_aspp_follows_the_definition(output_stride, rates):
    x = keras.Input((None, None, 5))
    model = randomized(keras.Model(x, _decoders.aspp(x, output_stride)))
    values = {}
    parts = [f"aspp{i}_{part}" for i in (1, 2, 3) for part in ("depthwise", "pointwise")]
    scopes = {name: name for name in ("aspp0", *parts)}
    scopes |= {"aspp_pooling": "image_pooling", "aspp_projection": "concat_projection"}
    for layer, scope in scopes.items():
        weights = "depthwise_weights" if "depthwise" in scope else "weights"
        name = layer if "depthwise" in layer else f"{layer}_conv"
        values[f"{scope}/{weights}"] = np.asarray(model.get_layer(name).kernel)
        for v in model.get_layer(f"{layer}_bn").weights:
            values[f"{scope}/BatchNorm/{v.name}"] = np.asarray(v)
    feature = np.random.default_rng(1).normal(size=(13, 10, 5)).astype("float32")
    expected = reference.aspp(feature, values, rates)
    scale = np.abs(expected).max()
    # float32 sums of 1280 products; the largest value is the scale
    np.testing.assert_allclose(model(feature[None])[0] / scale, expected / scale, atol=1e-5)


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize(
    ("name", "feature", "stride", "channels"),
    [  # the paper's Tables 2-4, and DeepLab's feature_extractor.py
        ("resnet50", "conv1_3", 2, 128),
        ("resnet50", "b1u2c3", 4, 256),
        ("resnet50", "b2u3c3", 8, 512),
        ("resnet50", "b3u6c3", 16, 1024),
        ("resnet50", "last", 16, 2048),
        ("resnet101", "b3u23c3", 16, 1024),
        ("xception65", "efb2u1c2", 4, 256),
        ("xception65", "efb3u1c2", 8, 728),
        ("xception65", "mfb1u16c3", 16, 728),
        ("xception65", "last", 16, 2048),
        ("xception71", "efb2u1c2", 4, 256),
        ("xception71", "efb3u1c2", 4, 256),
        ("xception71", "efb5u1c2", 8, 728),
        ("xception71", "mfb1u16c3", 16, 728),
        ("mobilenet_v2", "b3u1c2", 8, 144),
        ("mobilenet_v2", "last", 16, 320),
        ("efficientnet_lite0", "conv1", 2, 32),
        ("efficientnet_lite0", "b2u2c3", 4, 24),
        ("efficientnet_lite0", "b5u3c3", 16, 112),
        ("efficientnet_lite2", "last", 16, 352),
    ],
)
def test_features_have_the_published_strides_and_channels(name, feature, stride, channels):
    assert shapes(name)[feature] == (1, -(-513 // stride), -(-513 // stride), channels)


@functools.cache
def shapes(name):
    found = keras.Model(*features(name)).compute_output_shape((1, 513, 513, 3))
    return {feature: tuple(shape) for feature, shape in found.items()}


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize(
    ("name", "millions", "head"),
    [  # of the ImageNet classifier; what is left out of it here
        ("resnet50", "25.68", 2049000),  # resnet50s.gluon_in1k in timm's results-imagenet-real.csv
        ("resnet101", "44.67", 2049000),  # resnet101s.gluon_in1k there: the same three 3x3 root
        ("xception65", "39.92", 2049000),  # xception65.tf_in1k there, from DeepLab's checkpoint
        ("xception71", "42.34", 2049000),  # xception71.tf_in1k there, from DeepLab's checkpoint
        ("mobilenet_v2", "3.504872", 320 * 1280 + 2 * 1280 + 1281000),  # torchvision's num_params
        ("efficientnet_lite0", "4.7", 320 * 1280 + 2 * 1280 + 1281000),  # tensorflow/tpu,
        ("efficientnet_lite1", "5.4", 320 * 1280 + 2 * 1280 + 1281000),  # models/official/
        ("efficientnet_lite2", "6.1", 352 * 1280 + 2 * 1280 + 1281000),  # efficientnet/lite/README
    ],
)
def test_bodies_have_as_many_parameters_as_published(name, millions, head):
    image, found = features(name, 32)
    body = keras.Model(image, found["last"])
    count = sum(int(np.prod(v.shape)) for v in body.trainable_variables) + head
    digits = len(millions.split(".")[1])
    assert f"{count / 1e6:.{digits}f}" == millions


@pytest.mark.slow
@pytest.mark.parametrize("name", (*FAMILIES, "xception65"))  # the others have more of the same
def test_atrous_features_are_the_strided_ones_computed_in_between(name):
    models = {stride: keras.Model(*_last(name, stride)) for stride in (8, 32)}
    models[8].set_weights(models[32].get_weights())
    x = np.random.default_rng(0).uniform(0, 255, (1, 70, 97, 3)).astype("float32")
    dense, coarse = (np.asarray(models[stride](x)) for stride in (8, 32))
    assert dense.shape[1:3] == (9, 13) and coarse.shape[1:3] == (3, 4)
    # the same float32 sums in another order, a few hundred layers of them
    scale = np.abs(coarse).max()
    np.testing.assert_allclose(dense[:, ::4, ::4] / scale, coarse / scale, atol=1e-4)


def test_mobilenet_v2_is_that_of_keras_applications():
    from keras_dup import _pretrained

    source = randomized(
        keras.applications.MobileNetV2((225, 225, 3), include_top=False, weights=None)
    )
    image, found = features("mobilenet_v2", 32)
    model = keras.Model(image, found)
    _pretrained._copy_mobilenet_v2(source, model)
    x = np.random.default_rng(0).uniform(0, 255, (1, 225, 225, 3)).astype("float32")
    ours = model(x)
    names = {
        "last": "block_16_project_BN",
        "b2u1c2": "block_1_depthwise_relu",
        "b4u4c3": "block_9_project_BN",
    }
    theirs = keras.Model(
        source.input, {n: source.get_layer(layer).output for n, layer in names.items()}
    )
    # 225 is odd at every stride, where 'same' pads as we do
    for name, expected in theirs(x / 127.5 - 1).items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours[name] / scale, expected / scale, atol=1e-5)


@pytest.mark.usefixtures("without_values")
@pytest.mark.parametrize(
    ("name", "values"),
    [  # what 0, 127 and 255 become in the publications
        ("efficientnet_lite0", [-127 / 128, 0, 1]),
        ("mobilenet_v2", [-1, 127 / 127.5 - 1, 1]),
        ("xception71", [-1, 127 / 127.5 - 1, 1]),
    ],
)
def test_images_are_scaled_as_published(name, values):
    image, found = features(name)
    rescaling = keras.Model(image, found["last"]).get_layer("rescaling")
    scaled = keras.ops.convert_to_numpy(rescaling(np.array([[[[0, 127, 255]]]], "float32")))
    np.testing.assert_allclose(scaled.ravel(), values, atol=1e-6)
