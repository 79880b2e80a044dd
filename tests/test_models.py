"""Encoders, decoders and `build`; runs on the TensorFlow and on the JAX backend."""

import pathlib

import keras
import numpy as np
import pytest

from keras_dup import backbones, models, projection

SMALL = {"backbone": "efficientnet_lite0", "num_classes": 3, "low_level_features": ("b2u2c3",)}


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, (1, height, width, 3)).astype("float32")


def run(model, image):
    return keras.ops.convert_to_numpy(model(image))


def fitted(ratio=16, num_classes=3, channels=8):
    label_maps = np.random.default_rng(0).integers(0, num_classes, (2, 64, 64), dtype=np.uint8)
    return projection.fit(label_maps, num_classes, ratio, channels)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", models.DECODERS)
@pytest.mark.parametrize("output_stride", models.OUTPUT_STRIDES)
@pytest.mark.parametrize("backbone", models.PRESETS)
def test_every_combination_gives_probabilities_at_any_size(backbone, output_stride, decoder):
    model = models.build(backbone, 3, output_stride, decoder=decoder)
    for height, width in ((64, 48), (65, 37), (1, 7)):
        y = run(model, picture(height, width))
        assert y.shape == (1, height, width, 3)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.sum(-1), 1, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", models.PRESETS)
def test_atrous_features_are_the_strided_ones_computed_in_between(backbone):
    image = keras.Input((None, None, 3))
    features = {
        stride: keras.Model(image, getattr(backbones, backbone)(image, stride)["last"])
        for stride in (8, 32)
    }
    features[8].set_weights(features[32].get_weights())
    x = picture(70, 97)
    dense, coarse = run(features[8], x), run(features[32], x)
    assert dense.shape[1:3] == (9, 13) and coarse.shape[1:3] == (3, 4)
    # the same float32 sums in another order, a few hundred layers of them
    scale = np.abs(coarse).max()
    np.testing.assert_allclose(dense[:, ::4, ::4] / scale, coarse / scale, atol=1e-4)


@pytest.mark.parametrize(
    ("backbone", "name", "stride", "channels"),
    [  # the paper's Tables 2 and 3, and DeepLab's resnet_v1_beta.py
        ("resnet50", "conv1_3", 2, 128),
        ("resnet50", "b1u2c3", 4, 256),
        ("resnet50", "b3u6c3", 16, 1024),
        ("resnet50", "last", 16, 2048),
        ("efficientnet_lite0", "conv1", 2, 32),
        ("efficientnet_lite0", "b2u2c3", 4, 24),
        ("efficientnet_lite0", "b5u3c3", 16, 112),
        ("efficientnet_lite0", "last", 16, 320),
    ],
)
def test_features_have_the_published_strides_and_channels(backbone, name, stride, channels):
    image = keras.Input((None, None, 3))
    feature = getattr(backbones, backbone)(image, 16)[name]
    shape = keras.Model(image, feature).compute_output_shape((1, 513, 513, 3))
    assert tuple(shape) == (1, -(-513 // stride), -(-513 // stride), channels)


def test_bodies_have_as_many_parameters_as_published():
    image = keras.Input((None, None, 3))
    classifier = backbones.efficientnet_lite.efficientnet_lite0_classifier()
    trainable = sum(np.prod(v.shape) for v in classifier.trainable_variables)
    assert round(trainable / 1e6, 1) == 4.7  # tensorflow/tpu, efficientnet/lite/README.md
    # 25.56 M of ResNet-50 (He et al. 2016, as counted by torchvision) less the classifier's
    # 2.049 M and the 7x7 root's 9,536, plus the beta root: 3*64*9 + 64*64*9 + 64*128*9 kernels
    # with 2*(64 + 64 + 128) of batch norm, and 64*(64 + 256) for the wider input of block 1
    body = keras.Model(image, backbones.resnet50(image)["last"])
    expected = 25_557_032 - 2_049_000 - 9_536 + 112_320 + 512 + 64 * (64 + 256)
    assert sum(np.prod(v.shape) for v in body.trainable_variables) == expected


def test_imagenet_weights_recognise_a_photograph():
    matplotlib = pytest.importorskip("matplotlib", reason="its sample data hold the photograph")
    from training.convert_efficientnet_lite0 import classify

    folder = pathlib.Path(matplotlib.get_data_path()) / "sample_data"
    model = backbones.efficientnet_lite.efficientnet_lite0_classifier()
    models.load_backbone(model, "efficientnet_lite0", "imagenet")
    best, probability = classify(model, folder / "grace_hopper.jpg")[0]
    assert best == 652 and probability > 0.2  # "military uniform"


def test_imagenet_weights_reach_every_variable_of_the_backbone():
    model = models.build(**SMALL, weights="imagenet")
    image = keras.Input((None, None, 3))
    backbone = keras.Model(image, backbones.efficientnet_lite0(image)["last"])
    values = {v.path: v for v in model.weights}
    with np.load(pathlib.Path("saved_models/efficientnet_lite0_imagenet.npz")) as archive:
        for variable in backbone.weights:
            np.testing.assert_array_equal(values[variable.path], archive[variable.path])


@pytest.mark.slow
def test_low_level_features_change_the_output_and_any_number_is_taken():
    x = picture(64, 64)
    names = ("conv1", "b2u2c3", "b5u3c3")
    for decoder in models.DECODERS:
        for count in range(4):
            config = {**SMALL, "low_level_features": names[:count], "decoder": decoder}
            model = models.build(**config)
            assert sum("projection_conv" in layer.name for layer in model.layers) == count + 1
            assert run(model, x).shape == (1, 64, 64, 3)


def test_the_projection_decides_the_channels_and_sits_in_the_model(tmp_path):
    given = fitted(channels=8)
    path = tmp_path / "projection.npz"
    given.save(path)
    for value in (given, path, str(path)):
        layer = models.build(**SMALL, projection=value).get_layer("dupsampling")
        np.testing.assert_array_equal(layer.kernel[0, 0], given.matrix)
        np.testing.assert_array_equal(layer.bias, given.mean)
        assert not layer.trainable


def test_a_shipped_projection_is_taken_by_name():
    config = {"backbone": "efficientnet_lite0", "low_level_features": ()}
    model = models.build(**config, num_classes=21, projection="voc2012_r16_c64")
    rows = np.asarray(model.get_layer("dupsampling").kernel[0, 0])
    assert rows.shape == (64, 16 * 16 * 21)
    np.testing.assert_allclose(rows @ rows.T, np.eye(64), atol=1e-5)


def test_inference_moves_no_weight():
    model = models.build(**SMALL)
    before = model.get_weights()
    run(model, picture(40, 56))
    model.predict(picture(40, 56), verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_saved_model_gives_the_same_output(tmp_path):
    model = models.build(**SMALL, projection=fitted())
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    x = picture(33, 50)
    expected = run(model, x)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(loaded, x), expected)
    rebuilt = models.build(**SMALL, channels=8, weights=tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(run(rebuilt, x), expected)


@pytest.mark.slow
def test_mixed_precision_gives_float32_probabilities():
    expected = run(models.build(**SMALL, weights="imagenet"), picture(64, 64))
    keras.config.set_dtype_policy("mixed_bfloat16")
    for decoder in models.DECODERS:
        y = run(models.build(**SMALL, decoder=decoder), picture(64, 64))
        assert y.dtype == expected.dtype == np.float32
        np.testing.assert_allclose(y.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet99"}, "backbone='resnet99'; it must be one of .*resnet50"),
        ({"output_stride": 4}, r"output_stride=4; it must be one of \(8, 16, 32\)"),
        ({"decoder": "fcn"}, "decoder='fcn'; it must be one of"),
        ({"num_classes": 1}, "num_classes=1; it must be at least 2"),
        ({"low_level_features": ("b9u9c9",)}, r"no feature \['b9u9c9'\]; its features are conv1,"),
        ({"weights": "coco"}, "weights='coco'.*a .weights.h5 or \"imagenet\""),
        ({"projection": "voc2099.npz"}, "voc2099.npz"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        models.build(**{**SMALL, **arguments})


def test_a_projection_that_does_not_fit_names_both_sides():
    with pytest.raises(ValueError, match=r"ratio 16 and 3 classes.*ratio 32 and 3 classes"):
        models.build(**SMALL, output_stride=32, projection=fitted())
    with pytest.raises(ValueError, match=r"ratio 16 and 4 classes.*ratio 16 and 3 classes"):
        models.build(**SMALL, projection=fitted(num_classes=4))
    with pytest.raises(ValueError, match="channels=9, but the projection has 8"):
        models.build(**SMALL, channels=9, projection=fitted())
