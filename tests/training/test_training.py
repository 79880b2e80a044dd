"""Recipes, a run from end to end, its loss, its optimizer, its log, and the demo."""

import dataclasses
import json
import os
import signal
import sys
import types

import deeplab
import keras
import numpy as np
import pytest
import tensorflow as tf
from ten_steps import build

from keras_dup import data, evaluation, layers, models, training
from keras_dup.projection import fit, nearest
from keras_dup.training import (
    callbacks,
    curves,
    datasets,
    distribution,
    find_weights,
    network,
    optimizer,
    run,
)
from keras_dup.training.batch_norm import FusedBatchNormalization, GroupedBatchNormalization
from training import demo

TINY = training.Recipe(
    name="tiny",
    num_classes=7,
    train_count=8,
    val_count=2,
    channels=8,
    crop_size=(32, 32),
    batch_size=4,
    steps=4,
    steps_per_epoch=2,
    learning_rate=0.01,
    devices=("cpu:0",),
)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(models, "build", build)


@pytest.fixture(scope="module")
def fitted():
    maps = data.Shapes(8, (32, 32)).label_maps()
    return fit(maps, num_classes=7, ratio=16, channels=8, ignore_class=255)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run of TINY: its folder and its report."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "build", build)
        return output, training.train(TINY, output)


def weights(output):
    return models.load(output / "model.keras").get_weights()


def test_a_run_leaves_report_logs_and_pictures(finished):
    output, report = finished
    assert json.loads((output / "report.json").read_text()) == report
    assert 0 <= report["miou"] <= 1 and set(report["iou"]) == set(data.Shapes(1).class_names)
    rows = callbacks.read_log(output / "log.csv", step=4)
    assert [row["step"] for row in rows] == ["2", "4"]
    for name in ("loss", "val_miou", "temperature", "learning_rate", "peak_memory_mib"):
        assert np.isfinite(float(rows[1][name]))
    assert float(rows[1]["images_per_second"]) > 0 and 0 <= float(rows[1]["waiting"]) <= 1
    assert report["best"]["miou"] == max(float(row["val_miou"]) for row in rows)
    for name in ("predictions.png", "curves.png", "projection.npz", "recipe.json", "best.keras"):
        assert (output / name).exists()
    assert list((output / "tensorboard").iterdir())
    assert not list(output.glob(".*")), "something was left half-way"
    (started,) = json.loads((output / "runs.json").read_text())
    assert started["versions"]["keras"] == keras.__version__ and len(started["commit"]) >= 40


def test_the_saved_network_is_the_one_that_was_validated(finished):
    output, report = finished
    model = models.load(output / "model.keras")
    assert isinstance(model.layers[-1], layers.AdaptiveTemperatureSoftmax)
    again = evaluation.evaluate(callbacks.predictor(model), datasets(TINY)[1])
    assert again["iou"] == report["iou"]


def test_ctrl_c_and_resume_end_in_the_weights_of_an_uninterrupted_run(finished, quick, tmp_path):
    def ctrl_c(self, batch, logs=None):
        if self.model.done == 2:  # before the third, mid-epoch
            os.kill(os.getpid(), signal.SIGINT)

    handler_before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.Checkpoint, "on_train_batch_begin", ctrl_c)
        assert training.train(TINY, tmp_path) is None
    assert (tmp_path / run.CHECKPOINT).exists() and not (tmp_path / "report.json").exists()
    assert signal.getsignal(signal.SIGINT) is handler_before
    report = training.train(TINY, tmp_path)
    assert report["iou"] == finished[1]["iou"]
    for resumed, whole in zip(weights(tmp_path), weights(finished[0]), strict=True):
        np.testing.assert_array_equal(resumed, whole)


def test_a_damaged_checkpoint_is_left_for_the_one_before(quick, tmp_path, fitted, capsys):
    model = network.training_copy(network.build_network(TINY, fitted), TINY)
    keeper = callbacks.Checkpoint(tmp_path / "c.weights.h5")
    keeper.set_model(model)
    for model.done in (1, 2):
        keeper.save()
    keeper.path.write_bytes(keeper.path.read_bytes()[:1000])
    model.done = 0
    callbacks.restore(model, keeper.path)
    assert model.done == 1 and "trying the one before" in capsys.readouterr().out


def test_pretraining_brings_the_features_to_the_compressed_labels(quick, tmp_path):
    config = dataclasses.replace(TINY, pretraining_steps=4, pretraining_learning_rate=0.001)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run._Run, "train", lambda self: seen.append(self.training.get_weights()))
        patch.setattr(run._Run, "finish", lambda self, found: found)
        training.train(config, tmp_path)
        training.train(config, tmp_path)  # goes on after the last step
    for one, two in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, two)
    start = network.build_network(TINY, training.run.projection.load(tmp_path / "projection.npz"))
    changed = [not np.allclose(a, b) for a, b in zip(start.get_weights(), seen[0], strict=True)]
    assert any(changed) and (tmp_path / run.PRETRAINED).exists()


def test_the_packed_loss_trains_as_the_plain_one(quick, fitted):
    predicting = network.build_network(TINY, fitted)
    results = []
    for packed in (True, False):
        model = network.training_copy(predicting, TINY, packed=packed)
        batches = data.train_batches(data.Shapes(4, (32, 32)), 4, (30, 27))
        model.batch_shape = (4, 30, 27)
        logs = model.fit(batches, steps_per_epoch=3, verbose=0, shuffle=False).history
        results.append((logs["loss"], model.get_weights()))
    (ours, our_weights), (theirs, their_weights) = results
    assert ours == pytest.approx(theirs, rel=1e-5)
    for one, two in zip(our_weights, their_weights, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("trained", [False, True])
def test_a_random_w_is_trained_where_the_recipe_says_so(trained, quick, tmp_path):
    config = dataclasses.replace(TINY, projection="random", train_projection=trained)
    training.train(config, tmp_path)
    model = models.load(tmp_path / "model.keras").get_layer("dupsampling")
    found = model.kernel.numpy()[0, 0]
    orthonormal = np.allclose(found @ found.T, np.eye(len(found)), atol=1e-6)
    assert orthonormal == (not trained) and (not model.bias.numpy().any()) == (not trained)
    assert not (tmp_path / "projection.npz").exists()


def test_nearest_neighbour_upsampling_is_trained_by_name(quick, tmp_path):
    config = dataclasses.replace(TINY, projection="nearest", channels=7)
    training.train(config, tmp_path)
    kernel = models.load(tmp_path / "model.keras").get_layer("dupsampling").kernel[0, 0]
    np.testing.assert_array_equal(kernel, nearest(7, 16).matrix)


def test_pretraining_without_a_fitted_w_is_refused():
    for change in ({"projection": "random"}, {"decoder": "bilinear"}):
        with pytest.raises(ValueError, match="pretraining_steps=2 compares with labels"):
            dataclasses.replace(TINY, pretraining_steps=2, **change)


def test_a_start_that_would_be_drawn_over_is_refused():
    with pytest.raises(ValueError, match=r"new_layers_variance=0\.01 draws the weights"):
        dataclasses.replace(TINY, initializer="nearest", new_layers_variance=0.01)


def test_moving_averages_are_what_is_validated(quick, fitted):
    config = dataclasses.replace(TINY, ema=0.5)
    predicting = network.build_network(config, fitted)
    before = predicting.trainable_variables[0].numpy()
    model = network.training_copy(predicting, config)
    batches = data.train_batches(data.Shapes(4, (32, 32)), 4, 32)
    model.fit(batches, steps_per_epoch=3, verbose=0)
    callbacks.copy_weights(model, predicting)
    average = optimizer.averages(model.optimizer)[0].numpy()
    np.testing.assert_array_equal(predicting.trainable_variables[0].numpy(), average)
    assert not np.allclose(model.trainable_variables[0].numpy(), average)
    assert not np.allclose(before, average)


def test_the_trained_copy_gives_the_logits_of_the_network(quick, fitted):
    predicting = network.build_network(TINY, fitted)
    predicting.get_layer("softmax").log_temperature.assign(-1)
    model = network.training_copy(predicting, TINY, packed=False)
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 48, 3)).astype("float32")
    np.testing.assert_allclose(
        tf.nn.softmax(model(image)).numpy(), predicting(image).numpy(), atol=1e-6
    )


@pytest.mark.parametrize("group", [2, 4, 8])
def test_groups_of_batch_norm_are_batches_by_themselves(group):
    x = np.random.default_rng(0).normal(3, 2, (8, 5, 5, 3)).astype("float32")
    ours = GroupedBatchNormalization(group, momentum=0.9)
    theirs = keras.layers.BatchNormalization(momentum=0.9)
    y = ours(x, training=True).numpy()
    for start in range(0, 8, group):
        part = slice(start, start + group)
        np.testing.assert_allclose(y[part], theirs(x[part], training=True).numpy(), atol=1e-5)
    mean = x.reshape(-1, group * 25, 3).mean(1).mean(0)
    np.testing.assert_allclose(ours.moving_mean.numpy(), 0.1 * mean, rtol=1e-4)
    variance = x.reshape(-1, group * 25, 3).var(1).mean(0)
    np.testing.assert_allclose(ours.moving_variance.numpy(), 0.9 + 0.1 * variance, rtol=1e-4)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours(x).numpy(), theirs(x).numpy(), atol=1e-6)


def test_groups_that_do_not_go_with_the_batch_and_xla_over_replicas_are_named(quick, fitted):
    predicting = network.build_network(TINY, fitted)
    with pytest.raises(ValueError, match="batch_norm_group=3, but a replica has 4 images"):
        network.training_copy(predicting, dataclasses.replace(TINY, batch_norm_group=3))
    with pytest.raises(ValueError, match="cannot compile a step over 2 replicas"):
        network.training_copy(predicting, dataclasses.replace(TINY, jit_compile=True), replicas=2)
    norms = [
        network.training_copy(predicting, dataclasses.replace(TINY, batch_norm_group=group)).layers[
            3
        ]
        for group in (0, 2, 4)
    ]
    kinds = [FusedBatchNormalization, GroupedBatchNormalization]
    assert [type(one) for one in norms] == [kinds[0], kinds[1], kinds[0]]
    compiled = network.training_copy(
        predicting, dataclasses.replace(TINY, jit_compile=True)
    ).layers[3]
    assert type(compiled) is keras.layers.BatchNormalization


def test_the_batch_norms_of_the_backbone_can_stay_as_they_are(fitted):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 16, 16, padding="same")(image)
    x = keras.layers.BatchNormalization(name="conv1_bn")(x)
    x = keras.layers.Conv2D(8, 1)(x)
    x = keras.layers.BatchNormalization(name="aspp_bn")(x)
    predicting = keras.Model(image, keras.layers.Softmax()(x))
    recipe = dataclasses.replace(TINY, train_batch_norm=False)
    model = network.training_copy(predicting, recipe)
    before = {name: model.get_layer(name).get_weights() for name in ("conv1_bn", "aspp_bn")}
    images = np.random.default_rng(0).uniform(0, 1, (4, 32, 32, 3)).astype("float32")
    model.train_on_batch(images, np.zeros((4, 2, 2), "int32"))
    for name, stays in (("conv1_bn", True), ("aspp_bn", False)):
        after = model.get_layer(name).get_weights()
        for one, other in zip(before[name], after, strict=True):
            assert np.array_equal(one, other) == stays
    assert predicting.get_layer("conv1_bn").trainable  # in what is saved


def test_batch_norm_in_one_kernel_is_keras_batch_norm():
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(3, 2, (4, 7, 6, 5)), tf.float32)
    weights = [rng.uniform(0.5, 2, 5) for _ in range(4)]
    ours, theirs = (
        kind(momentum=0.9) for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)
    )
    found = []
    for norm in (ours, theirs):
        norm.build(x.shape)
        norm.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = norm(x, training=True)
            loss = tf.reduce_sum(tf.sin(x) * y)
        gradients = tape.gradient(loss, [x, norm.gamma.value, norm.beta.value])
        found.append([y, *gradients, *norm.get_weights(), norm(x)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    ours.trainable = False  # frozen: the moving averages, as in Keras
    np.testing.assert_array_equal(ours(x, training=True), ours(x))


def test_weights_may_lie_where_the_data_lie(tmp_path, monkeypatch):
    for name in ("some.h5", "model.ckpt.index"):
        (tmp_path / name).touch()
    recipe = dataclasses.replace(TINY, data_root=str(tmp_path))
    for name, found in (
        ("some.h5", str(tmp_path / "some.h5")),
        ("model.ckpt", str(tmp_path / "model.ckpt")),
        ("imagenet", "imagenet"),
        ("other.h5", "other.h5"),
        ("", None),
    ):
        assert find_weights(dataclasses.replace(recipe, weights=name)) == found
    monkeypatch.delenv("KERAS_DUP_DATA", raising=False)
    assert find_weights(TINY) is None  # the root is where one stands


def test_data_that_are_not_there_are_named_with_the_place(tmp_path, monkeypatch):
    recipe = dataclasses.replace(TINY, train_images="mine/images", train_masks="mine/masks")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KERAS_DUP_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"^mine/images: not there.*neither is set"):
        datasets(recipe)
    monkeypatch.setenv("KERAS_DUP_DATA", "/nowhere")
    said = "^/nowhere/mine/images: not there; mine/images of recipe .* in [$]KERAS_DUP_DATA"
    with pytest.raises(FileNotFoundError, match=said):
        datasets(recipe)
    with pytest.raises(FileNotFoundError, match=r"other/mine/images: .* in data_root"):
        datasets(dataclasses.replace(recipe, data_root="other"))


def test_a_recipe_may_name_a_function_that_gives_the_network(fitted, monkeypatch):
    def mine(recipe, projection):
        return build(recipe.num_classes, recipe.output_stride, projection, recipe.channels)

    monkeypatch.setitem(sys.modules, "mine", types.SimpleNamespace(mine=mine))
    recipe = dataclasses.replace(TINY, network="mine:mine")
    assert network.build_network(recipe, fitted).count_params() == mine(TINY, fitted).count_params()
    for text, said in (("nobodys:mine", "No module named 'nobodys'"), ("mine:x", "no attribute")):
        with pytest.raises(ValueError, match=f"network='{text}'.*{said}"):
            network.build_network(dataclasses.replace(TINY, network=text), fitted)
    with pytest.raises(ValueError, match=r"backbone_rate=0\.1 is for what `build` gives"):
        dataclasses.replace(recipe, backbone_rate=0.1)


@pytest.mark.parametrize(("peer", "stride"), [("keras_hub", 16), ("keras_cv", 32)])
def test_the_decoder_of_a_peer_trains_by_the_same_recipe(peer, stride):
    pytest.importorskip(peer)
    changes = {"network": f"research.peers.decoders:{peer}", "decoder": "bilinear"}
    changes |= {"backbone": "efficientnet_lite0", "low_level_features": ("b2u2c3",)}
    recipe = dataclasses.replace(TINY, output_stride=stride, **changes)
    predicting = network.build_network(recipe)
    model = network.training_copy(predicting, recipe)
    image = tf.random.uniform((4, 32, 32, 3), maxval=255)
    model.fit(image, tf.zeros((4, 32, 32), tf.int32), batch_size=4, verbose=0)
    predicting.set_weights(model.get_weights())
    probabilities = predicting(image[:1, :30, :21])
    assert probabilities.shape == (1, 30, 21, 7)
    np.testing.assert_allclose(tf.reduce_sum(probabilities, -1), 1, rtol=1e-5)
    if peer == "keras_cv":
        with pytest.raises(ValueError, match="output_stride=8; keras-cv's"):
            network.build_network(dataclasses.replace(recipe, output_stride=8))


def test_new_layers_are_drawn_with_the_variance_of_the_recipe():
    config = dataclasses.replace(
        TINY, backbone="efficientnet_lite0", new_layers_variance=0.01, decoder="bilinear"
    )
    model = network.build_network(config)
    assert model.get_layer("aspp0_conv").kernel.numpy().std() == pytest.approx(0.1, rel=0.02)
    assert model.get_layer("aspp1_depthwise").kernel.numpy().std() == pytest.approx(0.1, rel=0.1)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert abs(first.kernel.numpy().std() - 0.1) > 0.01


def test_what_a_checkpoint_filled_is_not_drawn_again(tmp_path):
    shapes = deeplab.variables("resnet_v1_50", num_classes=7, low_level_channels=256)
    values = deeplab.write(tmp_path / "model.ckpt", shapes)
    config = dataclasses.replace(
        TINY,
        backbone="resnet50",
        low_level_features=("b1u2c3",),
        weights=str(tmp_path / "model.ckpt"),
        new_layers_variance=0.01,
    )
    for decoder in ("bilinear", "dupsampling"):
        model = network.build_network(dataclasses.replace(config, decoder=decoder))
        aspp = model.get_layer("aspp0_conv").kernel
        np.testing.assert_array_equal(aspp, values["aspp0/weights"])
        fused = model.get_layer("fuse_b1u2c3_projection_conv").kernel
        expected = values["decoder/feature_projection0/weights"]
        assert np.array_equal(fused, expected) == (decoder == "bilinear")
    # the DUpsampling decoder has no counterpart in the checkpoint: it is drawn
    assert np.std(model.get_layer("compressed").kernel) == pytest.approx(0.1, rel=0.05)


def test_the_optimizer_follows_poly_and_decays_kernels_alone():
    sgd = optimizer.SGD(optimizer.poly(0.5, 100, 0.9), 0.9, l2=0.01)
    assert float(sgd.learning_rate) == pytest.approx(0.5)
    sgd.iterations.assign(60)
    assert float(sgd.learning_rate) == pytest.approx(0.5 * 0.4**0.9)
    kernel, gamma = (keras.Variable([2.0], name=name) for name in ("kernel", "gamma"))
    sgd.build([kernel, gamma])
    sgd.apply([tf.zeros(1), tf.zeros(1)], [kernel, gamma])
    rate = 0.5 * 0.4**0.9
    assert float(kernel[0]) == pytest.approx(2 * (1 - rate * 0.01))
    assert float(gamma[0]) == 2


def test_the_decay_is_an_l2_loss_that_passes_through_the_momentum():
    kernel, other = (keras.Variable([2.0], name="kernel") for _ in range(2))
    ours, keras_s = optimizer.SGD(0.1, 0.9, l2=0.5), keras.optimizers.SGD(0.1, 0.9)
    ours.build([kernel])
    keras_s.build([other])
    for _ in range(3):
        ours.apply([tf.constant([1.0])], [kernel])
        keras_s.apply([1.0 + 0.5 * other.value], [other])
    assert float(kernel[0]) == pytest.approx(float(other[0]), rel=1e-6)


def test_the_backbone_learns_at_its_own_rate():
    recipe = dataclasses.replace(
        TINY, backbone="efficientnet_lite0", backbone_rate=0.1, weight_decay=0.0, momentum=0.0
    )
    model = network.training_copy(network.build_network(recipe), recipe)
    before = model.get_weights()
    model.optimizer.apply([tf.ones(v.shape) for v in model.trainable_variables])
    moved = {v.path: float(w.ravel()[0]) for v, w in zip(model.weights, before, strict=True)}
    moved = {v.path: moved[v.path] - float(v.numpy().ravel()[0]) for v in model.trainable_variables}
    rate = recipe.learning_rate
    for layer, share in (("conv1_conv", 0.1), ("conv1_bn", 0.1), ("aspp0_conv", 1)):
        for path in [path for path in moved if path.startswith(f"{layer}/")]:
            assert moved[path] == pytest.approx(share * rate, rel=1e-3)
    again = optimizer.SGD.from_config(model.optimizer.get_config())
    assert again.rates == model.optimizer.rates and again.momentum == 0


def test_the_gradient_is_clipped_as_a_whole():
    variables = [keras.Variable([0.0]), keras.Variable([0.0])]
    sgd = optimizer.SGD(1.0, clip=1.0)
    sgd.build(variables)
    sgd.apply([tf.constant([3.0]), tf.constant([4.0])], variables)
    np.testing.assert_allclose([float(v[0]) for v in variables], [-0.6, -0.8], rtol=1e-6)
    sgd.apply([tf.constant([0.3]), tf.constant([0.4])], variables)
    np.testing.assert_allclose([float(v[0]) for v in variables], [-0.9, -1.2], rtol=1e-6)


def test_a_network_whose_multiply_adds_cannot_be_counted_is_not_lost(capsys):
    block = keras.Sequential([keras.layers.Conv2D(2, 1)])

    class Composite(keras.layers.Layer):
        def __init__(self):
            super().__init__(name="composite")
            self.block = block

        def call(self, x):
            return self.block(x)

    image = keras.Input((None, None, 3))
    assert run._multiply_adds(keras.Model(image, Composite()(image)), (32, 32)) is None
    assert "not counted: flops: composite is a Composite" in capsys.readouterr().out


def test_a_run_of_another_recipe_is_not_continued(tmp_path):
    run._save_recipe(TINY, tmp_path)
    (tmp_path / run.CHECKPOINT).touch()
    run._save_recipe(TINY, tmp_path)
    assert len(json.loads((tmp_path / "runs.json").read_text())) == 2
    with pytest.raises(ValueError, match=r"another recipe \(steps: 4 -> 5"):
        run._save_recipe(dataclasses.replace(TINY, steps=5), tmp_path)
    saved = json.loads((tmp_path / "recipe.json").read_text())
    del saved["train_batch_norm"]  # as a version without this field wrote it
    (tmp_path / "recipe.json").write_text(json.dumps(saved))
    run._save_recipe(TINY, tmp_path)


def test_a_run_of_another_backend_is_not_continued(tmp_path):
    run._save_recipe(TINY, tmp_path)
    other = "tensorflow" if keras.backend.backend() == "jax" else "jax"
    starts = [{**json.loads((tmp_path / "runs.json").read_text())[0], "backend": other}]
    (tmp_path / "runs.json").write_text(json.dumps(starts))
    (tmp_path / run.CHECKPOINT).touch()
    with pytest.raises(ValueError, match=f"go on with KERAS_BACKEND={other}"):
        run._save_recipe(TINY, tmp_path)
    assert json.loads((tmp_path / "runs.json").read_text()) == starts


def test_a_missing_extra_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(ImportError, match=r"pip install 'keras-dup\[train\]'"):
        training.train(TINY, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_a_number_stops_the_run_and_names_the_pictures():
    dataset = data.Shapes(8, (32, 32))
    guard = callbacks.NotANumber(TINY, dataset)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.done = 0
    model.compile("sgd", "mse")
    with pytest.raises(FloatingPointError, match="loss is NaN at step 1") as error:
        around = [callbacks.Count(), guard]
        model.fit(np.ones((4, 1)), np.full((4, 1), np.nan), callbacks=around, verbose=0)
    order = data.pipeline.epoch_order(8, TINY.seed, 0)
    assert ", ".join(f"picture {i}" for i in order[:4]) in str(error.value)


def test_rows_after_the_last_checkpoint_are_forgotten(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n2,1.0\n4,0.5\n")
    assert [row["step"] for row in callbacks.read_log(tmp_path / "log.csv", 2)] == ["2"]
    assert callbacks.read_log(tmp_path / "none.csv", 2) == []


def test_curves_are_drawn_of_what_the_log_has(tmp_path):
    rows = [{"step": 2, "loss": 1.0, "val_miou": ""}, {"step": 4, "loss": 0.5, "val_miou": 0.2}]
    curves.draw(rows, tmp_path / "curves.png")
    assert data.read_image(tmp_path / "curves.png").shape[1] == 880


def test_one_process_of_many_writes(monkeypatch):
    assert distribution.is_chief() and not distribution.is_multi_worker()
    cluster = {"chief": ["a:1"], "worker": ["b:1"]}
    for task, chief in (
        ({"type": "chief", "index": 0}, True),
        ({"type": "worker", "index": 0}, False),
    ):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
        assert distribution.is_chief() == chief and distribution.is_multi_worker()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepps=5", "expected key=value with a key of name, num_classes"),
        ("steps", "expected key=value"),
        ("steps=many", "steps is a int"),
        ("jit_compile=perhaps", "jit_compile is a bool, not 'perhaps'"),
        ("crop_size=64,wide", "crop_size is a int, not 'wide'"),
        ("crop_size=64", "height and width"),
        ("steps=0", "steps=0; more than 0"),
        ("ema=1", "ema=1.0; 0 to under 1"),
        ("class_names=a,b", "2 class_names, but num_classes=7"),
        ("class_weights=1,2", "2 class_weights, but num_classes=7"),
        ("class_balance=0.9", "class_balance=0.9; 0 to 0.5"),
        ("downsample=conv", r"downsample='conv'; one of \('subsample', 'convolution'\)"),
        ("initializer=ones", "initializer='ones'; one of .*'nearest'"),
    ],
)
def test_bad_overrides_are_named(override, message):
    with pytest.raises(ValueError, match=message):
        training.load_recipe("training/recipes/shapes.py", [override])


def test_overrides_have_the_types_of_the_recipe():
    given = training.load_recipe(
        "training/recipes/shapes.py",
        [
            *("steps=7", "learning_rate=1e-2", "crop_size=64,96", "low_level_features="),
            *("decoder=bilinear", "class_weights=1,2,1,1,1,1,1", "jit_compile=true"),
        ],
    )
    assert (given.steps, given.learning_rate, given.crop_size) == (7, 0.01, (64, 96))
    assert (given.low_level_features, given.decoder, given.jit_compile) == ((), "bilinear", True)
    assert given.class_weights == (1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def folders(tmp_path, count):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir(parents=True)
        for i in range(count):
            data.save_label_map(tmp_path / part / f"{i:02}.png", np.zeros((8, 8), np.uint8))
    return {"train_images": str(tmp_path / "images"), "train_masks": str(tmp_path / "masks")}


def test_the_folders_of_a_recipe_are_the_users(tmp_path):
    train, val = folders(tmp_path / "train", 3), folders(tmp_path / "val", 1)
    val = {key.replace("train", "val"): path for key, path in val.items()}
    given = dataclasses.replace(TINY, **train, **val)
    assert [len(split) for split in datasets(given)] == [3, 1]


def test_without_other_folders_every_so_many_pictures_validate(tmp_path):
    given = dataclasses.replace(TINY, **folders(tmp_path, 12), val_share=0.25)
    train, val = datasets(given)
    assert [file.stem for file in val.image_files] == ["00", "04", "08"]
    assert len(train) == 9 and not set(train.image_files) & set(val.image_files)
    with pytest.raises(ValueError, match="none to train or to validate on"):
        datasets(dataclasses.replace(given, val_share=0.0))


def test_a_share_of_the_folders_trains_at_equal_distances(tmp_path):
    given = dataclasses.replace(TINY, **folders(tmp_path, 12), val_share=0.25, train_share=0.4)
    train, val = datasets(given)
    assert [file.stem for file in train.image_files] == ["01", "03", "06", "09"] and len(val) == 3
    with pytest.raises(ValueError, match="train_share=0; over 0 to 1"):
        dataclasses.replace(given, train_share=0)
    with pytest.raises(ValueError, match="train_split"):
        dataclasses.replace(TINY, train_share=0.5)


@pytest.mark.slow
def test_the_demo_compares_exports_and_draws(tmp_path, capsys):
    steps = ["steps=2", "steps_per_epoch=1", "batch_size=4", "devices=cpu:0"]
    pictures = ["train_count=8", "val_count=4", "crop_size=48,48"]
    demo.main([*steps, *pictures, "channels=8", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "bilinear" in printed and "dupsampling" in printed and "multiply-adds" in printed
    for name in ("saved_model/1/saved_model.pb", "model.tflite", "comparison.png"):
        assert (tmp_path / name).exists()
