"""`weights=`: DeepLab checkpoints, files, downloads."""

import functools
import io
import pathlib
import tarfile
import zipfile

import deeplab as written
import keras
import numpy as np
import pytest
import reference

from keras_dup import _deeplab, _pretrained, models, projection

pytest.importorskip("tensorflow", reason="reads and writes TensorFlow checkpoints")
NETWORKS = {
    "resnet50": "resnet_v1_50",
    "resnet101": "resnet_v1_101",
    "xception65": "xception_65",
    "xception71": "xception_71",
}
SMALL = {"backbone": "efficientnet_lite0", "num_classes": 3, "low_level_features": ("b2u2c3",)}


@pytest.fixture(autouse=True)
def nothing_drawn(monkeypatch):
    """Initial values are constants, which takes half of the time; all come from a file here."""

    def constant(self, shape, dtype=None):
        return keras.ops.full(shape, 0.01, dtype or "float32")

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", constant)


def checkpoint(tmp_path, network, change=None, **kwargs):
    """(prefix, {name: array}) of a written DeepLab checkpoint; `change` edits its names."""
    shapes = written.variables(network, **kwargs)
    if change:
        change(shapes)
    return tmp_path / "model.ckpt", written.write(tmp_path / "model.ckpt", shapes)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """(backbone, output stride) -> (a model filled from a written checkpoint, {name: array})."""

    @functools.cache
    def written_once(backbone):
        return checkpoint(tmp_path_factory.mktemp(backbone), NETWORKS[backbone])

    @functools.cache
    def filled(backbone, output_stride=16):
        prefix, values = written_once(backbone)
        return models.build(backbone, output_stride=output_stride, weights=prefix), values

    return filled


def outputs(model, names, x):
    """The outputs of layers of the model, (H, W, C) each."""
    found = [model.get_layer(name).output for name in names]
    found = keras.Model(model.input, dict(enumerate(found)))(x[None])
    return [np.asarray(y[0]) for y in found.values()]


def close(actual, expected):
    # float32 against float64: a few hundred products a value, measured in the largest value
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual / scale, expected / scale, atol=2e-5)


@pytest.mark.parametrize("size", [(33, 49), (32, 46)])
@pytest.mark.parametrize(
    ("unit", "before", "after", "skip", "output_stride", "stride", "rate"),
    [
        ("entry_flow/block2/unit_1", "efb1u1_add", "efb2u1_add", "conv", 16, 2, 1),
        ("middle_flow/block1/unit_7", "mfb1u6_add", "mfb1u7_add", "sum", 8, 1, 2),
        ("exit_flow/block2/unit_1", "xfb1u1_add", None, "none", 16, 1, 2),
    ],
)
def test_an_xception_unit_computes_what_the_checkpoint_means(
    loaded, unit, before, after, skip, output_stride, stride, rate, size
):
    model, values = loaded("xception65", output_stride)
    name = {"efb1u1_add": "efb2u1", "mfb1u6_add": "mfb1u7", "xfb1u1_add": "xfb2u1"}[before]
    last = "relu" if skip == "none" else "bn"
    names = [f"{name}c{i}_pointwise_{last}" for i in (1, 2, 3)]
    x = np.random.default_rng(0).uniform(0, 255, (*size, 3)).astype("float32")
    given, *found = outputs(model, [before, *names, after or names[-1]], x)
    scope = f"xception_65/{unit}/xception_module"
    separable, output = reference.xception_module(given, values, scope, skip, stride, rate)
    for actual, expected in zip(found, [*separable, output], strict=True):
        close(actual, expected)


@pytest.mark.parametrize("size", [(33, 49), (32, 46)])
@pytest.mark.parametrize(
    ("unit", "before", "ours", "stride", "rate"),
    [
        ("block1/unit_1", "pool1", "b1u1", 1, 1),
        ("block1/unit_3", "b1u2_relu", "b1u3", 2, 1),
        ("block4/unit_1", "b3u6_relu", "b4u1", 1, 2),
    ],
)
def test_a_resnet_unit_computes_what_the_checkpoint_means(
    loaded, unit, before, ours, stride, rate, size
):
    model, values = loaded("resnet50")
    x = np.random.default_rng(0).uniform(0, 255, (*size, 3)).astype("float32")
    given, *found = outputs(model, [before, f"{ours}c3_bn", f"{ours}_relu"], x)
    scope = f"resnet_v1_50/{unit}/bottleneck_v1"
    for actual, expected in zip(
        found, reference.bottleneck(given, values, scope, stride, rate), strict=True
    ):
        close(actual, expected)


def test_the_roots_of_both_families_compute_what_the_checkpoint_means(loaded):
    x = np.random.default_rng(0).uniform(0, 255, (17, 22, 3)).astype("float32")
    for backbone, scope, epsilon, count in (
        ("resnet50", "resnet_v1_50", 1e-5, 3),
        ("xception65", "xception_65/entry_flow", 1e-3, 2),
    ):
        model, values = loaded(backbone)
        y = 2 / 255 * x.astype(float) - 1  # _preprocess_zero_mean_unit_range
        for i in range(1, count + 1):
            stride = 2 if i == 1 else 1
            y = reference.relu(
                reference.convolved(y, values, f"{scope}/conv1_{i}", epsilon, stride)
            )
        close(outputs(model, [f"conv1_{count}_relu"], x)[0], y)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", NETWORKS)
def test_every_variable_of_a_backbone_comes_from_the_checkpoint(tmp_path, backbone):
    prefix, values = checkpoint(tmp_path, NETWORKS[backbone])
    model = models.build(backbone, low_level_features=(), weights=prefix)
    used = [v for name, v in values.items() if _is_backbone(name)]
    heads = ("aspp", "fuse_", "scores", "softmax")
    ours = [np.asarray(v) for v in model.variables if not v.path.startswith(heads)]
    assert len(ours) == len(used)
    assert sorted(v.sum() for v in ours) == pytest.approx(sorted(v.sum() for v in used), rel=1e-5)


def _is_backbone(name):
    return "/" in name and "logits" not in name and "Momentum" not in name


def test_a_whole_deeplabv3_plus_computes_what_its_checkpoint_means(tmp_path):
    """What ASPP and decoder of a trained DeepLab network give, after the last feature."""
    prefix, values = checkpoint(tmp_path, "xception_65", num_classes=21, low_level_channels=256)
    network = {"backbone": "xception65", "low_level_features": ("efb2u1c2",)}
    model = models.build(**network, decoder="bilinear", weights=prefix)
    x = np.random.default_rng(0).uniform(0, 255, (97, 113, 3)).astype("float32")
    names = ["xfb2u1c3_pointwise_relu", "efb2u1c2_pointwise_bn", "scores"]
    last, low_level, scores = outputs(model, names, x)
    encoded = reference.aspp(last, values, (6, 12, 18))
    close(scores, reference.deeplab_decoder(encoded, low_level, values, 4))
    # the other decoders take backbone and ASPP of the same checkpoint
    for decoder in ("dupsampling", "thin"):
        ours = models.build(**network, decoder=decoder, weights=prefix)
        names = ["xfb2u1c3_pointwise_relu", "aspp_projection_relu"]
        last, encoded = outputs(ours, names, x)
        close(encoded, reference.aspp(last, values, (6, 12, 18)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("resnet_v1_50/block2/unit_3/bottleneck_v1/conv2/weights"),
         "only in the model: resnet_v1_50/block2/unit_3/bottleneck_v1/conv2/weights"),
        (lambda s: s.update({"resnet_v1_50/block5/weights": (1, 1, 2, 2)}),
         "only in the checkpoint: resnet_v1_50/block5/weights"),
        (lambda s: s.update({"resnet_v1_50/conv1_1/weights": (7, 7, 3, 64)}),
         r"conv1_1/weights is \(7, 7, 3, 64\) in the checkpoint and \(3, 3, 3, 64\) in the model"),
    ],
)  # fmt: skip
def test_a_variable_left_over_on_either_side_is_listed(tmp_path, change, message):
    prefix, _ = checkpoint(tmp_path, "resnet_v1_50", change)
    with pytest.raises(ValueError, match=message):
        models.build("resnet50", weights=prefix)


def test_checkpoints_that_do_not_fit_are_refused(tmp_path):
    prefix, _ = checkpoint(tmp_path, "resnet_v1_50", num_classes=5, low_level_channels=256)
    with pytest.raises(ValueError, match=r"of resnet50, resnet101, .* not mobilenet_v2"):
        models.build("mobilenet_v2", weights=prefix)
    network = {"backbone": "resnet50", "decoder": "bilinear", "weights": prefix}
    with pytest.raises(ValueError, match=r"\(1, 1, 256, 5\) in the checkpoint"):
        models.build(**network, low_level_features=("b1u2c3",), num_classes=4)
    for features in ((), ("b1u2c3", "b3u6c3"), ("b1u3c3",)):
        with pytest.raises(ValueError, match="fuses one low-level feature, 'b1u2c3'; the model"):
            models.build(**network, low_level_features=features, num_classes=5)
    pathlib.Path(f"{prefix}.index").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"model\.ckpt: not a TensorFlow checkpoint"):
        models.build("resnet50", weights=prefix)


def test_a_feature_of_the_same_shape_as_deeplabs_is_refused(tmp_path):
    prefix, _ = checkpoint(tmp_path, "xception_71", num_classes=21, low_level_channels=256)
    network = {"backbone": "xception71", "decoder": "bilinear", "weights": prefix}
    with pytest.raises(ValueError, match=r"fuses .* 'efb3u1c2'; the model fuses \['efb2u1c2'\]"):
        models.build(**network, low_level_features=("efb2u1c2",))
    assert models.build(**network, low_level_features=("efb3u1c2",))


def test_imagenet_weights_of_deeplab_come_from_its_archive(tmp_path, monkeypatch):
    folder = tmp_path / "resnet_v1_50"
    folder.mkdir()
    _, values = checkpoint(folder, "resnet_v1_50")
    with tarfile.open(tmp_path / "resnet.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(folder, "resnet_v1_50")
    monkeypatch.setitem(_deeplab.IMAGENET, "resnet50", (tmp_path / "resnet.tar.gz").as_uri())
    monkeypatch.setattr(keras.utils, "get_file", _cached(tmp_path / "cache"))
    model = models.build("resnet50", weights="imagenet")
    kernel = model.get_layer("conv1_1_conv").kernel
    np.testing.assert_array_equal(kernel, values["resnet_v1_50/conv1_1/weights"])


def _cached(folder):
    folder.mkdir()  # Keras falls back to a shared one where it is missing
    get_file = keras.utils.get_file
    return lambda *args, **kwargs: get_file(*args, **kwargs, cache_dir=folder)


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(_deeplab.IMAGENET, "resnet50", (tmp_path / "none.tar.gz").as_uri())
    monkeypatch.setattr(keras.utils, "get_file", _cached(tmp_path / "cache"))
    with pytest.raises(OSError, match=r"none.tar.gz could not be fetched .*model.ckpt"):
        models.build("resnet50", weights="imagenet")


def test_shipped_imagenet_weights_recognise_a_photograph():
    matplotlib = pytest.importorskip("matplotlib", reason="its sample data hold the photograph")
    from keras_dup._backbones.efficientnet_lite import efficientnet_lite0_classifier
    from saved_models.scripts.convert_efficientnet_lite0 import classify

    folder = pathlib.Path(matplotlib.get_data_path()) / "sample_data"
    model = efficientnet_lite0_classifier()
    _pretrained.load_imagenet(model, "efficientnet_lite0")
    best, probability = classify(model, folder / "grace_hopper.jpg")[0]
    assert best == 652 and probability > 0.2  # "military uniform"


def test_shipped_imagenet_weights_reach_every_variable_of_the_backbone():
    model = models.build(**SMALL, weights="imagenet")
    heads = ("aspp", "fuse_", "scores", "softmax")
    with np.load(pathlib.Path("saved_models/efficientnet_lite0_imagenet.npz")) as archive:
        for variable in model.weights:
            if not variable.path.startswith(heads):
                np.testing.assert_array_equal(variable, archive[variable.path])


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_saved_model_gives_its_weights_to_a_built_one(tmp_path, ending):
    path = tmp_path / f"model{ending}"
    network = {**SMALL, "decoder": "dupsampling"}
    saved = models.build(**network)
    saved.save(path) if ending == ".keras" else saved.save_weights(path)
    built = models.build(**network, weights=path)
    for a, b in zip(saved.weights, built.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    said = r"model.* does not fit the model" if ending != ".keras" else "W in weights is of another"
    with pytest.raises(ValueError, match=said):
        models.build(**{**network, "num_classes": 4}, weights=path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        models.build(**SMALL, weights=tmp_path / f"none{ending}")


def test_a_w_beside_a_trained_bilinear_network_makes_the_decoder_that_uses_it():
    thin = {"decoder": "bilinear", "fusion_stride": 4, "coarse_scores": True}
    trained = models.build(**{**SMALL, **thin, "projection": None})
    maps = [np.arange(4096).reshape(64, 64) // k % 5 for k in (1, 3, 64)]
    w = projection.fit(maps, num_classes=5, ratio=16, channels=8)
    model = models.build(weights=trained, projection=w)
    np.testing.assert_array_equal(model.get_layer("dupsampling").kernel[0, 0], w.matrix)
    assert models.build(weights=trained).get_layer("bilinear").ratio == 4
    with pytest.raises(ValueError, match="projection"):
        models.build(weights=trained, projection=w, ratio=4)


def test_a_file_of_keras_applications_fills_mobilenet_v2(tmp_path):
    path, whole = tmp_path / "no_top.weights.h5", tmp_path / "whole.weights.h5"
    source = keras.applications.MobileNetV2((224, 224, 3), include_top=False, weights=None)
    source.save_weights(path)
    network = {"backbone": "mobilenet_v2", "num_classes": 3, "low_level_features": ()}
    model = models.build(**network, weights=path)
    theirs = source.get_layer("block_16_project").kernel
    np.testing.assert_array_equal(model.get_layer("b7u1c3_conv").kernel, theirs)
    model.save_weights(whole)
    again = models.build(**network, weights=whole)
    np.testing.assert_array_equal(
        again.get_layer("scores").kernel, model.get_layer("scores").kernel
    )
    with pytest.raises(ValueError, match="does not fit the model"):
        models.build(**{**network, "num_classes": 4}, weights=whole)


def test_weights_that_do_not_exist_say_which_do():
    with pytest.raises(
        ValueError, match=r'no weights "imagenet" for efficientnet_lite1; .*resnet50'
    ):
        models.build("efficientnet_lite1", weights="imagenet")
    with pytest.raises(
        ValueError, match=r"weights='coco'; expected is .imagenet., a \.h5, a \.keras"
    ):
        models.build(**SMALL, weights="coco")


def test_a_damaged_keras_file_is_one_error_that_names_it(tmp_path):
    path = tmp_path / "small.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    whole = path.read_bytes()
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("something.txt", "else")
    damaged = [whole[:100], whole[: len(whole) // 2], other.getvalue(), b"no zip"]
    for place in range(0, len(whole), len(whole) // 20):
        damaged.append(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            models.load(path)
        except ValueError as error:
            assert "small.keras" in str(error)
            refused += 1
    assert refused > 4
