"""Models as folders and on hubs: saved, sent, fetched, loaded; and their cards."""

import dataclasses
import importlib.util
import json
import pathlib
from unittest import mock

import hub as references
import keras
import numpy as np
import pytest
from tiny_run import TINY

from keras_dup import _cli, _hub, data, inference, models, projection
from keras_dup._cli import train
from keras_dup._cli.results import described
from keras_dup._labelled import labelled
from keras_dup.layers import AdaptiveTemperatureSoftmax, Crop, DUpsampling
from keras_dup.training._network import architecture_of_weights

NAMES = ["sky", "chaussée", "traffic light"]
COLOURS = [(1, 2, 3), (40, 50, 60), (255, 0, 7)]
REPORT = {"miou": 0.25, "pixel_accuracy": 0.5, "iou": {"sky": 0.25, "a|b": None}, "images": 7}
TOLD = {"dataset": "PASCAL VOC 2012", "license": "apache-2.0", "metrics": REPORT}
FOLDER = [
    "README.md",
    "classes.txt",
    "colours.txt",
    "config.json",
    "metadata.json",
    "metrics.json",
    "model.weights.h5",
    "projection.npz",
]


@pytest.fixture(scope="module")
def fitted():
    label_maps = np.random.default_rng(0).integers(0, 3, (20, 16, 16), dtype=np.uint8)
    return projection.fit(label_maps, num_classes=3, ratio=8, channels=5)


@pytest.fixture(scope="module")
def model(fitted):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(5, 8, 8, "same")(image)
    x = DUpsampling(3, 8, fitted, name="dupsampling")(x)
    x = AdaptiveTemperatureSoftmax()(Crop()([x, image]))
    network = labelled(keras.Model(image, x), NAMES, COLOURS)
    network.compile("adam")
    network.optimizer.build(network.trainable_variables)  # its state is twice the weights
    return network


@pytest.fixture
def hub(monkeypatch, tmp_path):
    pytest.importorskip("huggingface_hub", reason="the extra huggingface brings it")
    with references.running(monkeypatch, tmp_path / "cache") as stand_in:
        yield stand_in


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (17, 21, 3), dtype=np.uint8)


def check_same(again, model, image):
    assert models.class_names(again) == NAMES and list(again.colours) == COLOURS
    for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again(image[None]), model(image[None]))


def test_a_folder_holds_the_model_and_what_people_read(model, fitted, image, tmp_path):
    folder = tmp_path / "new" / "street"
    models.save(model, folder, description="Streets.", **TOLD)
    assert sorted(path.name for path in folder.iterdir()) == FOLDER
    assert [path.name for path in folder.parent.iterdir()] == ["street"]  # nothing else is left
    check_same(models.load(folder), model, image)
    check_same(keras.saving.load_model(folder), model, image)
    assert not keras.saving.load_model(folder).compiled  # and no state of an optimizer is kept
    assert models.class_names(folder) == NAMES  # without loading
    again = projection.load(folder / "projection.npz")
    np.testing.assert_array_equal(again.matrix, fitted.matrix)
    np.testing.assert_array_equal(again.mean, fitted.mean)
    assert (folder / "colours.txt").read_text(encoding="utf-8").splitlines()[0] == "sky 1 2 3"
    assert json.loads((folder / "metrics.json").read_text()) == REPORT
    found = inference.predict(folder, image)
    np.testing.assert_array_equal(found, np.argmax(model(image[None])[0], -1))


def test_a_card_is_what_the_hub_reads(model, tmp_path):
    repocard = pytest.importorskip("huggingface_hub", reason="the extra huggingface brings it")
    models.save(model, tmp_path / "street", description="Streets: a | b.", **TOLD)
    card = repocard.ModelCard.load(tmp_path / "street" / "README.md")
    found = card.data.to_dict()
    expected = {"library_name": "keras", "pipeline_tag": "image-segmentation"}
    expected |= {"license": "apache-2.0", "datasets": ["pascal-voc-2012"]}
    assert expected.items() <= found.items()
    (miou, accuracy) = card.data.eval_results
    assert (miou.metric_type, miou.metric_value) == ("mean_iou", 0.25)
    assert (accuracy.metric_type, accuracy.metric_value) == ("accuracy", 0.5)
    assert miou.dataset_name == "PASCAL VOC 2012" and miou.task_type == "image-segmentation"
    for text in ("# street\n", "Streets: a | b.", "1 chaussée", "| sky | 0.2500 |", '("street", '):
        assert text in card.text
    assert "a/b" not in card.text  # a class that does not occur has no IoU
    models.save(model, tmp_path / "bare")
    bare = repocard.ModelCard.load(tmp_path / "bare" / "README.md")
    assert bare.data.eval_results is None and bare.data.license is None
    assert not (tmp_path / "bare" / "metrics.json").exists()


def test_a_w_that_was_trained_is_kept_with_its_inverse(model, tmp_path):
    layer = keras.models.clone_model(model).get_layer("dupsampling")
    trained = np.random.default_rng(2).normal(size=layer.kernel.shape)
    layer.kernel.assign(trained)
    image = keras.Input((2, 3, 5))
    models.save(keras.Model(image, layer(image)), tmp_path / "trained")
    again = projection.load(tmp_path / "trained" / "projection.npz")
    codes = np.random.default_rng(3).normal(size=(4, 5)).astype(np.float32)
    windows = again.reconstruct_windows(codes) - again.mean
    np.testing.assert_allclose(windows @ again.p.T, codes, atol=1e-5)


def test_what_cannot_be_saved_is_said_before_anything_is_written(model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("by hand")
    with pytest.raises(FileExistsError, match="mine exists; nothing is overwritten"):
        models.save(model, tmp_path / "mine")
    new = tmp_path / "new"
    for arguments, message in (
        ({"license": "Apache 2.0"}, "expected is a licence's id on the hub, such as 'apache-2.0'"),
        ({"metrics": REPORT}, "metrics without dataset"),
        ({**TOLD, "metrics": {"miou": np.float32(1)}}, "metrics cannot be written as JSON"),
        ({**TOLD, "metrics": {"miou": float("nan")}}, "metrics cannot be written as JSON"),
    ):
        with pytest.raises(ValueError, match=message):
            models.save(model, new, **arguments)
    with pytest.raises(ValueError, match="a functional model of one image is expected"):
        models.save(keras.Sequential([keras.layers.Conv2D(3, 1)]), new)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    new.mkdir()
    models.save(model, new)  # an empty folder is as good as none


def test_a_folder_with_one_file_of_keras_is_loaded_and_others_are_refused(model, image, tmp_path):
    model.save(tmp_path / "m.keras")
    check_same(models.load(tmp_path), model, image)
    model.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"no model; .* found is m.keras, other.keras"):
        models.load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no model; .* found is none"):
        models.load(tmp_path / "empty")


def test_a_model_goes_to_hugging_face_and_comes_back(hub, model, image, tmp_path, capsys):
    models.save(model, "hf://org/street", **TOLD)
    assert sorted(hub.files["org/street"]) == FOLDER
    assert b'inference.predict("hf://org/street", ' in hub.files["org/street"]["README.md"]
    check_same(models.load("hf://org/street"), model, image)
    check_same(keras.saving.load_model("hf://org/street"), model, image)
    assert models.class_names("hf://org/street") == NAMES
    check_same(models._trained_model("hf://org/street"), model, image)  # of build(weights=...)
    # once more: a card of ours is replaced, one by hand stays
    models.save(model, "hf://org/street", **{**TOLD, "license": "mit"})
    assert b"license: mit" in hub.files["org/street"]["README.md"]
    hub.files["org/street"]["README.md"] = b"---\nlibrary_name: keras\n---\nby hand"
    models.save(model, "hf://org/street", **TOLD)
    assert hub.files["org/street"]["README.md"].endswith(b"by hand")
    assert "its README.md is written by hand and stays" in capsys.readouterr().out
    with pytest.raises(OSError, match=r"hf://org/none could not be fetched .*hf auth login"):
        models.load("hf://org/none")


def test_the_commands_take_a_model_of_a_hub(hub, model, image, tmp_path):
    models.save(model, "hf://org/street")
    keras.utils.save_img(tmp_path / "a.png", image, scale=False)
    arguments = ["hf://org/street", str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]
    assert _cli.main(["predict", *arguments]) in (None, 0)
    found = data.read_label_map(tmp_path / "out" / "a.png", 3)
    np.testing.assert_array_equal(found, np.argmax(model(image[None])[0], -1))
    assert train._there("hf://org/street")  # of --weights; it is fetched, and read as any file
    with pytest.raises(ValueError, match="the backbone of that model is none of the package"):
        architecture_of_weights(dataclasses.replace(TINY, weights="hf://org/street"), {})
    before = described("hf://org/street", {})
    hub.files["org/street"]["model.weights.h5"] += b"\0"
    assert described("hf://org/street", {}) != before


def test_a_model_goes_to_kaggle_and_comes_from_its_cache(model, image, tmp_path, monkeypatch):
    kagglehub = pytest.importorskip("kagglehub", reason="the extra kaggle brings it")
    handle = "org/street/keras/tiny"
    version = tmp_path / "models" / handle / "1"
    upload = mock.create_autospec(kagglehub.model_upload)
    upload.side_effect = lambda handle, folder, **_: pathlib.Path(folder).rename(version)
    monkeypatch.setattr(kagglehub, "model_upload", upload)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    version.parent.mkdir(parents=True)
    models.save(model, f"kaggle://{handle}", **TOLD)
    upload.assert_called_once_with(handle, mock.ANY, license_name="Apache 2.0")
    version.with_name("1.complete").touch()
    check_same(models.load(f"kaggle://{handle}/1"), model, image)
    with pytest.raises(ValueError, match="the hub numbers versions itself"):
        models.save(model, f"kaggle://{handle}/2")


@pytest.mark.parametrize(
    "handle", ["hf://street", "hf://org/street/v1", "kaggle://org/street", "s3://bucket/street"]
)
def test_a_handle_of_no_hub_is_named_with_the_right_forms(model, handle):
    message = "a model on a hub is hf://ORG/NAME or kaggle://ORG/MODEL/keras/VARIATION"
    for call in (models.load, models.class_names, lambda handle: models.save(model, handle)):
        with pytest.raises(ValueError, match=message):
            call(handle)
    with pytest.raises(SystemExit):
        _cli.main(["predict", handle, "a.png", "-o", "out"])


@pytest.mark.parametrize(
    ("handle", "extra"), [("hf://a/b", "huggingface"), ("kaggle://a/b/keras/c", "kaggle")]
)
def test_a_missing_client_is_named_before_any_work(model, handle, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(_hub, "send", None)
    for call in (models.load, lambda handle: models.save(model, handle)):
        with pytest.raises(ImportError, match=rf"pip install 'keras-dup\[{extra}\]'"):
            call(handle)
