"""What is exported answers as the Keras model does, after real training steps."""

import importlib.util
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from thresholds import thresholding

from keras_dup import _network, data, export, layers, models, projection
from keras_dup.export import _mobile, _precision
from keras_dup.projection import _autoencoder


def encoder():
    """As small as an encoder of stride 16 can be; test_every_network.py has the large ones."""
    x = image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    for channels in (8, 16, 24, 32):
        x = keras.layers.Conv2D(channels, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(image, x)


@pytest.fixture(scope="module", params=_network.DECODERS)
def model(request):
    keras.utils.set_random_seed(0)
    shapes = data.Shapes(16, (64, 64))
    fitted = projection.fit(shapes.label_maps(), 7, ratio=16, channels=8)
    given = {}
    if request.param == "dupsampling":  # the start that has the most layers
        given = {"projection": fitted, "interpolated_scores": True, "temperature": 1 / 16}
    model = models.build(encoder(), 7, decoder=request.param, **given)
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=data.VOID)
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), loss, jit_compile=False)
    model.fit(data.train_batches(shapes, 4, 64), steps_per_epoch=4, verbose=0)
    return model


def pictures():
    """Two sizes, none square, and a picture of one colour."""
    shapes = [data.Shapes(1, size, seed=1).image(0) for size in ((48, 80), (65, 33))]
    return [*shapes, np.full((40, 40, 3), 200, np.uint8)]


@pytest.mark.slow
def test_the_saved_model_gives_probabilities_on_request(model, tmp_path):
    report = export.saved_model(
        model, tmp_path / "model", probabilities=True, images=pictures(), verbose=False
    )
    assert report["path"] == str(tmp_path / "model/1")
    assert report["max_difference"] < 1e-4 and report["equal_pixels"] >= 0.999
    serve = tf.saved_model.load(report["path"]).signatures["serving_default"]
    for image in pictures():
        batch = np.stack([image, image[:, ::-1]]).astype("float32")
        expected, answer = model(batch).numpy(), serve(image=tf.constant(batch))
        np.testing.assert_allclose(answer["probabilities"].numpy(), expected, atol=1e-4)
        assert (answer["label_map"].numpy() == expected.argmax(-1)).mean() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantize", "input_size", "output", "least"),
    [
        (None, (65, 81), "label_map", 0.999),
        (None, None, "probabilities", 0.999),
        ("float16", None, "label_map", 0.99),
        # after four training steps classes lie close together: that it runs, and is no noise
        ("dynamic", (65, 81), "label_map", 0.5),
        ("int8", (65, 81), "label_map", 0.5),
    ],
)
def test_litert_answers_with_built_in_operations_alone(
    model, tmp_path, quantize, input_size, output, least
):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    if quantize and "bilinear" in model.name:
        pytest.skip("numbers of fewer bits are the same matter with either decoder")
    path = tmp_path / "model.tflite"
    before = model.get_weights()
    given = {"images": pictures(), "calibration": pictures(), "verbose": False}
    given["min_agreement"] = least
    report = export.litert(model, path, quantize, input_size, output, **given)
    assert report["bytes"] == path.stat().st_size
    assert json.loads((tmp_path / "model.tflite.report.json").read_text()) == report
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    # this resolver knows no custom and no select operations
    interpreter = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    names = {details["op_name"] for details in interpreter._get_ops_details()}
    assert not [name for name in names if name.startswith(("Flex", "CUSTOM"))]
    size = input_size or (50, 34)
    image = data.Shapes(1, size, seed=3).image(0)[None].astype("float32")
    answer, expected = _mobile.answer(interpreter, image), model(image).numpy()
    if output == "probabilities":
        np.testing.assert_allclose(answer, expected, atol=1e-4)
        answer = answer.argmax(-1)
    assert answer.dtype in (np.uint8, np.int64)
    assert (answer == expected.argmax(-1)).mean() >= least


@pytest.mark.slow
def test_a_network_with_the_auto_encoders_decoder_is_exported(tmp_path):
    keras.utils.set_random_seed(0)
    counts = projection.count_windows(data.Shapes(16, (64, 64)).label_maps(), 7, 16)
    fitted = _autoencoder.fit(counts, 7, 16, 8, method="autoencoder", steps=50)
    model = models.build(encoder(), 7, projection=fitted)
    assert isinstance(model.get_layer("dupsampling"), _autoencoder.AutoencoderUpsampling)
    given = {"images": pictures(), "verbose": False}
    path = export.saved_model(model, tmp_path / "model", probabilities=True, **given)["path"]
    serve = tf.saved_model.load(path).signatures["serving_default"]
    for image in pictures():
        batch = image[None].astype("float32")
        answer, expected = serve(image=tf.constant(batch)), model(batch).numpy()
        np.testing.assert_allclose(answer["probabilities"].numpy(), expected, atol=1e-4)
        assert (answer["label_map"].numpy() == expected.argmax(-1)).mean() >= 0.999
    for size, output in (((65, 81), "label_map"), (None, "probabilities")):
        report = export.litert(model, tmp_path / f"{output}.tflite", None, size, output, **given)
        assert report["equal_pixels"] >= 0.999


@pytest.mark.slow
def test_onnx_answers_at_any_size(model, tmp_path):
    import onnxruntime

    export.onnx(model, tmp_path / "model.onnx", images=pictures(), verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for image in pictures():
        batch = np.stack([image, image[:, ::-1]]).astype("float32")
        (label_map,) = session.run(None, {"image": batch})
        assert label_map.dtype == np.uint8
        assert (label_map == model(batch).numpy().argmax(-1)).mean() >= 0.999


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else find_spec(name)
    )
    with pytest.raises(ImportError, match=r"pip install 'keras-dup\[onnx\]'"):
        export.onnx(tiny(), tmp_path / "model.onnx")


def dark(brightest):
    """Images whose pixels are 0..brightest."""
    return [np.full((48, 64, 3), value, np.uint8) for value in (0, brightest // 2, brightest)]


@pytest.mark.parametrize("brightest", [255, 200, 100])
def test_int8_reads_all_of_0_to_255_whatever_it_was_calibrated_on(tmp_path, brightest):
    model, path = thresholding(), tmp_path / "m.tflite"
    given = {"calibration": dark(brightest), "verbose": False}
    report = export.litert(model, path, "int8", (48, 64), **given)
    assert (report["input"]["scale"], report["input"]["zero_point"]) == (1, 0)
    runner = _mobile.interpreter()(str(path))
    ((scale, zero_point),) = (detail["quantization"] for detail in runner.get_input_details())
    assert (scale, zero_point) == (1, 0)
    image = np.random.default_rng(0).integers(0, 256, (1, 48, 64, 3)).astype(np.uint8)
    found = _mobile.answer(runner, image)
    assert (found == (image[..., 0] > 127)).mean() >= 0.99
    assert report["equal_pixels"] >= 0.99


def mixed(policy):
    """Batch norm, a nested network and DUpsampling, of a policy that only the copy drops."""
    keras.config.set_dtype_policy(policy)
    inside = keras.Sequential([keras.layers.Conv2D(8, 1, activation="relu")])
    y = inner = keras.Input((None, None, 8))
    y = keras.layers.DepthwiseConv2D(3, padding="same")(y)
    nested = keras.Model(inner, keras.layers.BatchNormalization()(y))
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1)(image)
    x = keras.layers.Conv2D(8, 8, strides=4, padding="same")(layers.EdgePadding(4)(x))
    x = layers.DUpsampling(3, 4)(inside(nested(x)))
    x = layers.AdaptiveTemperatureSoftmax(0.1)(layers.Crop()([x, image]))
    keras.config.set_dtype_policy("float32")
    return keras.Model(image, x)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_a_network_in_mixed_precision_is_exported_in_float32(tmp_path, policy):
    model = mixed(policy)
    before = model.get_weights()
    plain = _precision.in_float32(model)
    assert _precision.in_float32(plain) is plain
    assert {layer.compute_dtype for layer in plain.layers} == {"float32"}
    image = np.random.default_rng(0).uniform(0, 255, (1, 33, 50, 3)).astype("float32")
    expected = plain.predict_on_batch(image)
    # float16 has 11 bits, bfloat16 8; T = 0.1 multiplies what is lost
    np.testing.assert_allclose(model.predict_on_batch(image), expected, atol=0.2)
    path, given = tmp_path / "m.tflite", {"verbose": False, "output": "probabilities"}
    report = export.litert(model, path, None, None, **given)
    assert report["equal_pixels"] >= 0.999 and report["max_difference"] < 1e-3
    found = _mobile.answer(_mobile.interpreter()(str(path)), image)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if policy == "mixed_float16":
        path = tmp_path / "m.onnx"
        assert export.onnx(model, path, verbose=False)["equal_pixels"] >= 0.999
        report = export.saved_model(model, tmp_path / "m", verbose=False)
        assert report["equal_pixels"] >= 0.999
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_int8_says_what_it_needs(tmp_path):
    with pytest.raises(ValueError, match="'int8' needs an input_size"):
        export.litert(tiny(), tmp_path / "m.tflite", "int8", input_size=None)


def tiny(layer=None):
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Conv2D(2, 1)(image)
    return keras.Model(image, keras.layers.Softmax()(layer(x) if layer else x))


class Fickle(keras.layers.Layer):
    """A copy of it, which an export makes, does something else."""

    def __init__(self, reverse=False):
        super().__init__()
        self.reverse = reverse

    def call(self, x):
        return x[..., ::-1] if self.reverse else x

    def get_config(self):
        return {"reverse": True}


def test_versions_count_up_and_none_is_overwritten(tmp_path):
    (tmp_path / "1").mkdir()
    report = export.saved_model(thresholding(), tmp_path, verbose=False)
    assert report["path"] == str(tmp_path / "2")
    with pytest.raises(FileExistsError, match="give another version"):
        export.saved_model(thresholding(), tmp_path, version=2)


def test_a_file_that_disagrees_raises_and_is_not_written(tmp_path):
    model = tiny(Fickle())
    with pytest.raises(RuntimeError, match=r"class ids in \d images are the model's"):
        export.saved_model(model, tmp_path / "model")
    for quantize in (None, "int8"):
        with pytest.raises(RuntimeError, match="nothing was written"):
            export.litert(model, tmp_path / "model.tflite", quantize, (32, 32), calibration=dark(9))
    assert not list((tmp_path / "model").iterdir())
    assert not (tmp_path / "model.tflite").exists()


def test_more_classes_than_uint8_holds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="257 classes do not fit into uint8"):
        export.saved_model(tiny(keras.layers.Conv2D(257, 1)), tmp_path)


def test_unknown_quantization_is_named(tmp_path):
    with pytest.raises(ValueError, match="quantize='int4'; it must be one of"):
        export.litert(tiny(), tmp_path / "model.tflite", quantize="int4")
