"""What is exported answers as the Keras model does, after real training steps."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dup import data, export, models, projection


@pytest.fixture(scope="module", params=models.DECODERS)
def model(request):
    keras.utils.set_random_seed(0)
    shapes = data.Shapes(16, (64, 64))
    fitted = projection.fit(shapes.label_maps(), 7, ratio=16, channels=8)
    given = {"projection": fitted} if request.param == "dupsampling" else {}
    model = models.build(
        "efficientnet_lite0", 7, weights="imagenet", decoder=request.param, **given
    )
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=data.VOID)
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), loss, jit_compile=False)
    model.fit(data.train_batches(shapes, 4, 64), steps_per_epoch=4, verbose=0)
    return model


def pictures():
    """Two sizes, none square, and a picture of one colour."""
    shapes = [data.Shapes(1, size, seed=1).image(0) for size in ((48, 80), (65, 33))]
    return [*shapes, np.full((40, 40, 3), 200, np.uint8)]


@pytest.mark.slow
def test_the_saved_model_answers_through_the_session_loader_at_two_sizes(model, tmp_path):
    before = model.get_weights()
    report = export.saved_model(model, tmp_path / "model", images=pictures(), verbose=False)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert report["path"] == str(tmp_path / "model/1")
    assert report["max_difference"] < 1e-4 and report["equal_pixels"] >= 0.999
    batches = [np.stack([image, image[:, ::-1]]).astype("float32") for image in pictures()]
    expected = [model(batch).numpy() for batch in batches]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], report["path"])
        signature = loaded.signature_def["serving_default"]
        outputs = {name: tensor.name for name, tensor in signature.outputs.items()}
        for batch, probabilities in zip(batches, expected, strict=True):
            answer = session.run(outputs, {signature.inputs["image"].name: batch})
            np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-4)
            assert answer["label_map"].dtype == np.uint8
            assert (answer["label_map"] == probabilities.argmax(-1)).mean() >= 0.999


@pytest.mark.slow
@pytest.mark.parametrize(("quantize", "input_size"), [(None, (65, 81)), ("float16", None)])
def test_litert_answers_with_built_in_operations_alone(model, tmp_path, quantize, input_size):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    path = tmp_path / "model.tflite"
    report = export.litert(
        model, path, quantize, input_size=input_size, images=pictures(), verbose=False
    )
    assert report["bytes"] == path.stat().st_size
    # this resolver knows no custom and no select operations
    interpreter = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    names = {details["op_name"] for details in interpreter._get_ops_details()}
    assert not [name for name in names if name.startswith(("Flex", "CUSTOM"))]
    size = input_size or (50, 34)
    interpreter.resize_tensor_input(0, (1, *size, 3))
    interpreter.allocate_tensors()
    image = data.Shapes(1, size, seed=3).image(0)[None].astype("float32")
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    expected = model(image).numpy()
    if quantize is None:
        np.testing.assert_allclose(answer, expected, atol=1e-4)
    assert (answer.argmax(-1) == expected.argmax(-1)).mean() >= 0.99


def tiny(layer=None):
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Conv2D(2, 1)(image)
    return keras.Model(image, keras.layers.Softmax()(layer(x) if layer else x))


class Fickle(keras.layers.Layer):
    """Does something else once it is in a graph."""

    def call(self, x):
        return x if tf.executing_eagerly() else x[..., ::-1]


def test_versions_count_up_and_none_is_overwritten(tmp_path):
    paths = [export.saved_model(tiny(), tmp_path, verbose=False)["path"] for _ in range(2)]
    assert paths == [str(tmp_path / "1"), str(tmp_path / "2")]
    with pytest.raises(FileExistsError, match="give another version"):
        export.saved_model(tiny(), tmp_path, version=2)


def test_a_file_that_disagrees_raises_and_is_not_written(tmp_path):
    model = tiny(Fickle())
    with pytest.raises(RuntimeError, match="probabilities differ by up to"):
        export.saved_model(model, tmp_path / "model")
    with pytest.raises(RuntimeError, match="nothing was written"):
        export.litert(model, tmp_path / "model.tflite", input_size=(32, 32))
    assert not list((tmp_path / "model").iterdir())
    assert not (tmp_path / "model.tflite").exists()


def test_more_classes_than_uint8_holds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="257 classes do not fit into uint8"):
        export.saved_model(tiny(keras.layers.Conv2D(257, 1)), tmp_path)


def test_unknown_quantization_is_named(tmp_path):
    with pytest.raises(ValueError, match="quantize='int4'; it must be one of"):
        export.litert(tiny(), tmp_path / "model.tflite", quantize="int4")
