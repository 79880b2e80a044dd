"""Multiply-adds; that they are the paper's is in test_cli.py, which runs the command."""

import keras
import pytest

from keras_dup import _backbones, _network, flops, models, presets


def test_the_presets_have_every_figure_that_the_paper_prints():
    printed = [row["decoder_billions"] for row in presets.PRESETS.values()]
    # Tables 2, 3 and 4; b1u2c3 and conv1_3 + b3u6c3 stand in both Table 2 and Table 3
    tables = "0.80 1.13 1.15 1.23 1.58 1.56 5.53 22.34 5.53 1.93 0.41 1.98 43.65 25.14"
    assert sorted(filter(None, printed)) == sorted(tables.split())
    whole = [row["billions"] for row in presets.MULTI_SCALE.values()]
    assert whole == ["897.94", "3055.35"]


def test_a_backbone_costs_what_its_authors_print():
    """300 M of the MobileNetV2 classifier: mobilenet_v2.py of slim."""
    image = keras.Input((None, None, 3))
    body = keras.Model(image, _backbones.mobilenet_v2(image, 32)["last"])
    head = 7 * 7 * 320 * 1280 + 1280 * 1000
    total = flops.count(body, (224, 224))["total"] + head
    assert total / 1e6 == pytest.approx(300, rel=0.005)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's profiler")
@pytest.mark.parametrize(
    ("backbone", "decoder"),
    [
        ("resnet50", "dupsampling"),
        ("xception65", "bilinear"),
        ("efficientnet_lite0", "dupsampling"),
        ("efficientnet_lite0", "bilinear"),
    ],
)
def test_multiply_adds_are_those_of_tensorflows_profiler(backbone, decoder):
    # At stride 32 and 576 pixels the rates of ASPP divide the feature's side of 18; elsewhere
    # TensorFlow pads for a dilated depthwise convolution and counts the padding.
    model = models.build(backbone, num_classes=4, output_stride=32, decoder=decoder)
    counted = flops.count(model, (576, 576))["total"]
    if decoder == "dupsampling":  # the mean and the temperature are no convolution
        counted -= 576 * 576 * 4
    assert 2 * counted == _profiled(model, (1, 576, 576, 3))


def _profiled(model, shape):
    """Floating-point operations of the convolutions and matrix products of the graph."""
    import tensorflow as tf

    function = tf.function(lambda x: model(x, training=False))
    graph = function.get_concrete_function(tf.TensorSpec(shape)).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    profile = tf.compat.v1.profiler.profile(graph, cmd="op", options=options)
    found, todo = 0, [profile]
    while todo:
        node = todo.pop()
        if node.name in ("Conv2D", "DepthwiseConv2dNative", "MatMul"):
            found += node.float_ops
        todo += node.children
    return found


def test_features_are_told_apart_whatever_their_names():
    image = keras.Input((None, None, 3))
    x = image
    for name in ("block_1_relu", "block_1_projection", "a_2_pointwise"):
        x = keras.layers.Conv2D(4, 3, 2, padding="same", name=name)(x)
    encoder = keras.Model(image, keras.layers.Conv2D(4, 3, 4, padding="same")(x))
    names = ("block_1_relu", "block_1_projection", "a_2_pointwise")
    for decoder in _network.DECODERS:
        model = models.build(encoder, 3, low_level_features=names, decoder=decoder)
        parts = {"backbone", "ASPP", "head", *(f"fusion of {name}" for name in names)}
        assert set(flops.table(model, (64, 64))) == parts


def test_the_table_has_every_parameter_and_every_part():
    model = models.build("efficientnet_lite0", 3, low_level_features=("b2u2c3", "conv1"))
    table = flops.table(model, (64, 64))
    parts = ["backbone", "ASPP", "fusion of b2u2c3", "fusion of conv1", "head"]
    assert sorted(table) == sorted(parts)
    assert sum(parameters for _, parameters in table.values()) == model.count_params()
    with_elementwise = flops.table(model, (64, 64), elementwise=True)
    assert all(with_elementwise[part] > table[part] for part in parts)
    # a batch norm, a ReLU and two sums of 3 numbers: by hand
    x = y = keras.Input((None, None, 3))
    for layer in (keras.layers.BatchNormalization(), keras.layers.ReLU()):
        y = layer(y)
    model = keras.Model(x, keras.layers.Add()([x, y]))
    assert flops.count(model, (5, 7), elementwise=True)["total"] == 3 * 5 * 7 * 3


def test_the_total_is_the_sum_of_its_parts_and_grows_with_the_image():
    model = models.build("efficientnet_lite0", num_classes=3)
    small, large = flops.count(model, (64, 64)), flops.count(model, (128, 128))
    for counts in (small, large):
        assert counts["total"] == counts["encoder"] + counts["decoder"]
    # but for the image pooling branch of ASPP, which sees one position at any size
    assert large["total"] / small["total"] == pytest.approx(4, rel=0.01)
    assert large["decoder"] == 4 * small["decoder"]


def test_a_dense_layer_and_a_strided_convolution_are_counted_by_hand():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(x))
    counts = flops.count(keras.Model(image, x), (9, 6))
    assert counts["total"] == 5 * 3 * (3 * 3 * 3 * 4) + 5 * 3 * (3 * 3 * 4) + 4 * 5
