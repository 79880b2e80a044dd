"""The paper's decoder FLOPs, to every digit printed (a multiply-add counts 2 there)."""

import keras
import pytest

from keras_dup import flops, models


@pytest.mark.parametrize(
    ("low_level_features", "decoder", "billions"),
    [  # Tables 2 and 3, ResNet-50, 513 x 513, 21 classes, C~ = 64
        ((), "dupsampling", "0.80"),
        (("conv1_3",), "dupsampling", "1.13"),
        (("b1u2c3",), "dupsampling", "1.15"),
        (("b3u6c3",), "dupsampling", "1.23"),
        (("b1u2c3", "b3u6c3"), "dupsampling", "1.58"),
        (("conv1_3", "b3u6c3"), "dupsampling", "1.56"),
        (("b1u2c3",), "bilinear", "5.53"),
    ],
)
def test_decoders_cost_what_the_paper_prints(low_level_features, decoder, billions):
    model = models.build("resnet50", low_level_features=low_level_features, decoder=decoder)
    counts = flops.count(model, (513, 513))
    assert f"{2 * counts['decoder'] / 1e9:.2f}" == billions


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
