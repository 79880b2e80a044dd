"""Encoders of keras.applications and one's own; those of keras-hub: test_keras_hub.py."""

import keras
import numpy as np
import pytest
from encoder_step import moved_by_a_step

from keras_dup import flops, models, projection
from keras_dup._backbones import keras_model

applications = keras.applications


def picture(height, width):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (1, height, width, 3)).astype("float32")


@pytest.mark.slow
def test_an_encoder_of_the_ecosystem_trains_and_keeps_its_weights(tmp_path):
    backbone = applications.MobileNetV2(weights=None, include_top=False)
    names, sizes = ("block_3_depthwise_relu", "block_13_expand_relu"), [(64, 96), (70, 97)]
    rescaling = keras.layers.Rescaling(1 / 127.5, -1)
    network = {"backbone": backbone, "num_classes": 3, "low_level_features": names}
    network |= {"projection": "random", "preprocessing": rescaling}
    model = models.build(**network)
    # not its head, not dead units
    assert moved_by_a_step(model, backbone, picture(*sizes[0])) > 0.9
    weights = model.get_weights()
    model.run_eagerly = False  # of a single step a graph costs more than it saves
    for size in sizes:
        y = np.asarray(model(picture(*size)))
        assert y.shape == (1, *size, 3)
        np.testing.assert_allclose(y, model.predict(picture(*size), verbose=0), atol=1e-5)
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    network["backbone"] = applications.MobileNetV2(weights=None, include_top=False)
    model.save_weights(tmp_path / "model.weights.h5")
    network["weights"] = tmp_path / "model.weights.h5"
    built = models.build(**network)
    np.testing.assert_array_equal(built(picture(*sizes[0])), model(picture(*sizes[0])))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(picture(*sizes[0])), model(picture(*sizes[0])))


@pytest.mark.usefixtures("without_values")
def test_a_classifier_is_cut_at_its_last_feature_map():
    for include_top in (False, True):
        backbone = applications.MobileNetV2((96, 96, 3), include_top=include_top, weights=None)
        model = models.build(backbone, num_classes=3)
        encoder = model.get_layer(backbone.name)
        assert encoder.layers[-1].name == "out_relu"
        assert model.get_layer("bilinear").ratio == 32
        assert model.input_shape == (None, 96, 96, 3)


@pytest.mark.usefixtures("without_values")
def test_convnext_builds_with_the_feature_that_the_page_names():
    backbone = applications.ConvNeXtTiny(weights=None, include_top=False)
    name = "convnext_tiny_stage_0_block_2_identity"
    _, strides = keras_model.encoder(backbone, (name,))
    assert strides == {name: 4, "last": 32}
    models.build(backbone, 3, low_level_features=(name,), projection="random")


def test_the_features_of_a_padded_image_are_those_of_its_repeated_edge():
    backbone = applications.MobileNetV2(weights=None, include_top=False)
    model = models.build(backbone, num_classes=3)
    x = picture(70, 97)
    padded = np.pad(x, ((0, 0), (0, 26), (0, 31), (0, 0)), mode="edge")
    np.testing.assert_allclose(model(x), model(padded)[:, :70, :97], atol=1e-6)


def test_a_projection_of_the_encoders_stride_is_taken():
    label_maps = np.random.default_rng(0).integers(0, 3, (8, 64, 64), dtype=np.uint8)
    fitted = projection.fit(label_maps, 3, 32, 8)
    backbone = applications.MobileNetV2(weights=None, include_top=False)
    model = models.build(backbone, num_classes=3, projection=fitted)
    np.testing.assert_array_equal(model.get_layer("dupsampling").kernel[0, 0], fitted.matrix)


@pytest.mark.usefixtures("without_values")
def test_an_encoder_that_ends_earlier_reaches_a_smaller_stride():
    whole = applications.ResNet50(weights=None, include_top=False)
    message = (
        r"output_stride=16 cannot be reached: the last feature of resnet50, conv5_block3_out, is "
        r"at stride 32.*give output_stride=32, or .*get_layer\(\"conv4_block6_out\"\).output\)"
    )
    with pytest.raises(ValueError, match=message):
        models.build(whole, output_stride=16)
    encoder = keras.Model(whole.input, whole.get_layer("conv4_block6_out").output)
    model = models.build(encoder, num_classes=3, output_stride=16)
    assert model.get_layer("bilinear").ratio == 16


@pytest.mark.usefixtures("without_values")
def test_the_thin_decoder_takes_the_output_at_stride_4():
    image = keras.Input((None, None, 3))
    fine = keras.layers.Conv2D(4, 3, 4, padding="same", name="fine")(image)
    last = keras.layers.Conv2D(4, 3, 4, padding="same", name="last")(fine)
    model = models.build(keras.Model(image, [fine, last]), num_classes=3)
    assert model.get_layer("fuse_fine_concat") and model.get_layer("bilinear").ratio == 4
    model = models.build(keras.Model(image, last), num_classes=3)
    assert model.get_layer("bilinear").ratio == 16


@pytest.mark.usefixtures("without_values")
def test_encoders_that_do_not_fit_are_named():
    small = applications.MobileNetV2(weights=None, include_top=False, alpha=0.35)
    with pytest.raises(ValueError, match=r"has no feature \['conv9'\]; its features are Conv1"):
        models.build(small, low_level_features=("conv9",))
    with pytest.raises(ValueError, match="6 rows for an image of 256, which is no stride 2, 4, 8"):
        models.build(applications.InceptionV3(weights=None, include_top=False))
    with pytest.raises(ValueError, match="10 rows for an image of 299"):
        models.build(applications.Xception(weights=None))
    with pytest.raises(ValueError, match=r"takes \[\(None, 8\)\]; \(B, H, W, 3\) is expected"):
        models.build(keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]))
    tokens = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Reshape((48, 256))])
    with pytest.raises(
        ValueError, match=r"tokens \(None, 48, 256\) .* no patches of 8 or 16 or 32"
    ):
        models.build(tokens)
    with pytest.raises(ValueError, match=r"gives \(None, 2, 6144, 1, 1\); a feature map"):
        models.build(
            keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Reshape((2, 6144, 1, 1))])
        )
    with pytest.raises(ValueError, match="has its preprocessing inside"):
        models.build("mobilenet_v2", preprocessing=keras.layers.Rescaling(1 / 255))
    with pytest.raises(ValueError, match="brings its own weights"):
        models.build(small, weights="imagenet")
    resizing = keras.Sequential([keras.Input((70, 70, 3)), keras.layers.Resizing(64, 64)])
    with pytest.raises(ValueError, match=r"resizing\w* in sequential\w* is a Resizing, which puts"):
        models.build(resizing)
    with pytest.raises(ValueError, match="is a RandomFlip, which puts every batch norm after it"):
        models.build(small, preprocessing=keras.layers.RandomFlip())
    shallow = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, 4, "same")])
    with pytest.raises(ValueError, match=r"is at stride 4; it must be one of \(8, 16, 32\)"):
        models.build(shallow)


def stages(size=None):
    """Features at strides 4 to 32, as outputs; the ones at 4 and 16 are of `keras.ops`."""
    x, outputs = keras.Input((size, size, 3)), []
    image = x
    for stride in (4, 8, 16, 32):
        x = keras.layers.Conv2D(4, 3, strides=4 if stride == 4 else 2, padding="same")(x)
        x = x + 1 if stride in (4, 16) else x
        outputs.append(x)
    return keras.Model(image, outputs, name="stages")


def test_of_several_outputs_the_coarsest_is_the_last_feature():
    backbone = stages()
    names = tuple(backbone.output_names[:3])
    encoder, strides = keras_model.encoder(backbone, names)
    assert list(strides.values()) == [4, 8, 16, 32] and tuple(strides) == (*names, "last")
    for name, expected in zip((*names, "last"), backbone.outputs, strict=True):
        assert encoder.output[name] is expected
    end = backbone.outputs[2]  # not the output of a layer
    assert keras_model.encoder(keras.Model(backbone.input, end))[1] == {"last": 16}


def test_a_vision_transformer_is_not_cut_before_its_tokens():
    x = image = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(4, 16, 16, name="patches")(x)
    x = keras.layers.Dense(4)(keras.layers.Reshape((16, 4))(x))
    x = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling1D()(x))
    with pytest.raises(ValueError, match=r"makes tokens .* of its last feature map, patches; end"):
        models.build(keras.Model(image, x))


def test_a_size_that_keras_does_not_know_is_named():
    class Unknown(keras.layers.Layer):
        def compute_output_spec(self, x):
            return keras.KerasTensor((None, None, None, 4))

    image = keras.Input((None, None, 3))
    x = Unknown(name="unknown")(image)
    with pytest.raises(ValueError, match="does not tell the size of unknown for an image of 256"):
        models.build(keras.Model(image, x))


def test_multiply_adds_of_an_encoder_are_counted_inside_it():
    backbone = applications.MobileNetV2(weights=None, include_top=False)
    inside = flops.count(backbone, (224, 224))["total"]
    table = flops.table(models.build(backbone, num_classes=3), (224, 224))
    assert table["backbone"] == (inside, backbone.count_params())
    # 300 M with the classifier, tensorflow/models, mobilenet_v2.py; 7 * 7 positions here, 1 there
    assert round(inside / 1e6) == 300 - 1
