"""PyTorch beside TensorFlow and JAX: the same values, files for each other, and what it is not for.

The other backends run in processes of their own: `references/on_backend.py`.
"""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from on_backend import answers
from PIL import Image
from small_backbones import few_units

from keras_dup import _cli, export, inference, models, presets, projection, training

ROOT = pathlib.Path(__file__).parents[1]
BACKENDS = ("tensorflow", "jax", "torch")
NETWORKS = {  # every backbone; every decoder, fusion and kind of upsampling
    "resnet50": {"output_stride": 8, "decoder": "bilinear", "low_level_features": ("b1u2c3",)},
    "resnet101": {"output_stride": 32, "low_level_features": ("b3u2c3",)},
    "xception65": {"low_level_features": ("efb2u1c2", "mfb1u1c3"), "interpolated_scores": True}
    | {"projection": "voc2012_r16_c32"},
    "xception71": {"low_level_features": ("efb2u1c2",), "fusion_stride": 4, "coarse_scores": True}
    | {"context_channels": 8},
    "mobilenet_v2": {"output_stride": 8, "low_level_features": ("b2u1c3", "b5u1c3")}
    | {"downsample": "convolution"},
    "efficientnet_lite0": {"low_level_features": (), "projection": "autoencoder"},
    "efficientnet_lite1": {"low_level_features": ("b2u1c3",), "output_stride": 32, "ratio": 8},
    "efficientnet_lite2": {"decoder": "bilinear", "low_level_features": ("b2u1c3",)}
    | {"fusion_stride": 4, "coarse_scores": True},
    "vit_base_patch16": {"low_level_features": ("b1",), "ratio": 4},
}
on_torch = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="compared in the tests on PyTorch"
)


def randomized(model):
    """Random values with which features neither grow nor vanish; the same on every backend."""
    rng = np.random.default_rng(0)
    for v in model.weights:
        if v.path.startswith("dupsampling/"):
            continue
        if v.name.endswith("kernel"):
            depthwise = v.shape[-1] == 1
            v.assign(rng.normal(0, np.prod(v.shape[: 2 if depthwise else 3]) ** -0.5, v.shape))
        elif v.name in ("moving_variance", "gamma"):
            v.assign(rng.uniform(0.5, 1.5, v.shape))
        elif v.name != "log_temperature":
            v.assign(rng.normal(0, 0.3, v.shape))
    return model


def autoencoder():
    """16 x 16 windows of 21 classes, 8 channels, 12 hidden units, of random weights."""
    rng, size = np.random.default_rng(0), 16 * 16 * 21
    shapes = [(12, size), (size,), (8, 12), (12,), (size, 12), (12,), (12, 8), (8,)]
    arrays = [rng.normal(0, 0.1, shape).astype("float32") for shape in shapes]
    return projection.LabelAutoencoder(*arrays, num_classes=21, ratio=16)


def small():
    """A network of a small encoder, with names and colours."""
    x = image = keras.Input((None, None, 3))
    for name in ("low", "last"):
        x = keras.layers.Conv2D(8, 4, 4, padding="same", name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU(name=name)(x)
    encoder = keras.Model(image, x, name="small")
    names = {"class_names": [f"class {k}" for k in range(21)]}
    network = {"low_level_features": ("low",), "projection": "voc2012_r16_c32", **names}
    return randomized(models.build(encoder, **network))


def started(backend, path):
    """The process that answers what the networks in a folder give on a backend."""
    environment = {"KERAS_BACKEND": backend, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "tests/references")))
    command = [sys.executable, "-W", "ignore", ROOT / "tests/references/on_backend.py", path]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE} if backend == "tensorflow" else {}
    return subprocess.Popen(command, env=os.environ | environment, text=True, **pipe)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What PyTorch saved, and what each backend answers; PyTorch without TensorFlow."""
    path = tmp_path_factory.mktemp("backends")
    image = np.random.default_rng(0).integers(0, 256, (49, 70, 3), dtype=np.uint8)
    np.save(path / "image.npy", image)
    with pytest.MonkeyPatch.context() as patch:
        few_units(patch)
        for name, options in NETWORKS.items():
            given = {"projection": "random", **options}
            if given["projection"] == "autoencoder":
                given["projection"] = autoencoder()
            randomized(models.build(name, **given)).save(path / f"{name}.keras")
    models.save(small(), path / "saved_on_torch")
    with started("tensorflow", path) as tensorflow:
        assert "saved\n" in tensorflow.stdout
        for backend in ("torch", "jax"):
            with started(backend, path) as process:
                assert process.wait() == 0
            if backend == "torch":  # JAX would compile each operation of each size
                for network in path.glob("*.keras"):
                    network.unlink()
        tensorflow.communicate("the others have saved too\n")
    assert tensorflow.returncode == 0
    return path


@on_torch
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_probabilities_on_pytorch_that_it_has_on_tensorflow(name, folder):
    found, expected = (np.load(folder / f"{b}.npz")[name] for b in ("torch", "tensorflow"))
    assert expected.shape == (49, 70, 21) and np.ptp(expected, axis=(0, 1)).max() > 0.01
    # float32, some hundred roundings one after another, of probabilities of about 1 / 21
    np.testing.assert_allclose(found, expected, atol=1e-5)


@on_torch
def test_a_model_saved_on_a_backend_has_the_same_label_map_on_the_others(folder):
    found = {backend: dict(np.load(folder / f"{backend}.npz")) for backend in BACKENDS}
    found["torch"] |= answers(folder)
    label_maps = [found[on][f"saved_on_{by}"] for by in BACKENDS for on in BACKENDS if by != on]
    expected = found["torch"]["saved_on_torch"]
    assert len(np.unique(expected)) > 2 and len(label_maps) == 6
    for label_map in label_maps:
        np.testing.assert_array_equal(label_map, expected)
    for saved in ("tensorflow", "jax"):
        assert models.class_names(folder / f"saved_on_{saved}")[20] == "class 20"


def test_all_backbones_are_compared():
    assert set(NETWORKS) == set(presets._BACKBONES)


@on_torch
def test_what_pytorch_is_not_for_says_so_before_any_work(tmp_path):
    for write in (export.saved_model, export.litert, export.onnx):
        message = rf"{write.__name__} runs on tensorflow, not on torch: .*KERAS_BACKEND=tensorflow"
        with pytest.raises(ValueError, match=message):
            write(None, tmp_path / "file")
    with pytest.raises(ValueError, match="train runs on tensorflow and jax, not on torch"):
        training.train(None, tmp_path / "run")
    assert not list(tmp_path.iterdir())


@on_torch
def test_the_commands_predict_or_name_the_backend(folder, tmp_path):
    image, labelled = np.load(folder / "image.npy"), tmp_path / "labelled"
    labelled.mkdir()
    Image.fromarray(image).save(labelled / "a.png")
    model, output = str(folder / "saved_on_torch"), str(tmp_path / "output")
    data = ["--images", str(labelled), "--masks", str(labelled), "--num-classes", "7"]
    for command in (["export", model], ["train", *data]):
        with pytest.raises(SystemExit, match=f"{command[0]} runs on .*, not on torch"):
            _cli.main([*command, "-o", output])
    assert not os.path.exists(output)
    _cli.main(["predict", model, str(labelled / "a.png"), "-o", output])
    found = np.asarray(Image.open(tmp_path / "output/a.png"))
    np.testing.assert_array_equal(found, inference.predict(model, image))


@on_torch
def test_a_folded_network_is_written_in_pytorchs_own_format(folder, tmp_path):
    import torch

    image = np.load(folder / "image.npy")
    spec = keras.InputSpec(shape=(1, *image.shape))
    folded = export.fold(models.load(folder / "saved_on_torch"))
    path = tmp_path / "model.pt2"
    folded.export(path, format="torch", input_signature=[spec], verbose=False)
    program = torch.export.load(path).module()
    found = program(torch.tensor(image[None].astype("float32")))[0].numpy()
    np.testing.assert_array_equal(found, np.load(folder / "torch.npz")["saved_on_torch"])
