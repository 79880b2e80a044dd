"""Which backend Keras runs on, and JAX where TensorFlow is not installed."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import pytest

from keras_dup import _backend, _deeplab, _pretrained, data, export

REFERENCES = pathlib.Path(__file__).parent / "references"


@pytest.mark.parametrize(
    ("asked", "in_file", "installed", "chosen"),
    [
        (None, None, ("tensorflow", "jax"), "tensorflow"),
        (None, "tensorflow", ("jax",), "jax"),
        (None, "jax", ("tensorflow",), "tensorflow"),
        (None, "jax", ("tensorflow", "jax"), "jax"),
        ("jax", "tensorflow", ("tensorflow", "jax"), "jax"),
        ("numpy", None, (), "numpy"),
    ],
)
def test_a_backend_is_taken_that_is_installed(asked, in_file, installed, chosen, fresh):
    environment = fresh(asked, in_file, installed)
    assert _backend.choose_backend() == chosen
    # set only where Keras by itself would take another one
    alone = asked or in_file or "tensorflow"
    assert environment.get("KERAS_BACKEND", alone) == chosen


@pytest.mark.parametrize(
    ("asked", "installed", "told"),
    [
        (None, (), "Keras needs a backend, and none is installed: "),
        ("jax", ("tensorflow",), "KERAS_BACKEND=jax, but jax is not installed: "),
    ],
)
def test_without_a_backend_the_extras_are_named(asked, installed, told, fresh):
    fresh(asked, None, installed)
    with pytest.raises(ImportError, match=rf"{told}pip install 'keras-dup\[tensorflow\]' or "):
        _backend.choose_backend()


def test_an_export_without_tensorflow_names_the_extra(fresh):
    fresh("jax", None, ("jax",))
    with pytest.raises(ImportError, match=r"export.onnx needs .*'keras-dup\[tensorflow\]'"):
        export.onnx  # noqa: B018
    assert callable(export.fold)


def test_what_tensorflow_reads_names_the_extra_before_it_is_fetched(fresh, monkeypatch):
    fresh("jax", None, ("jax",))
    monkeypatch.setattr(_pretrained, "_download", lambda backbone: pytest.fail("too late"))
    for reading in (
        lambda: _pretrained.load_weights(None, "resnet50", "imagenet"),
        lambda: _deeplab.load_checkpoint(None, "resnet50", "model.ckpt"),
        lambda: data.load("camvid", "train"),
    ):
        with pytest.raises(ImportError, match=r"TensorFlow: pip install 'keras-dup\[tensorflow\]'"):
            reading()


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """fresh(asked, in_file, installed) -> os.environ of a process that has not imported Keras."""

    def make(asked, in_file, installed):
        monkeypatch.delitem(sys.modules, "keras")
        monkeypatch.setenv("KERAS_BACKEND", asked or "")
        if asked is None:
            monkeypatch.delenv("KERAS_BACKEND")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        if in_file:
            (tmp_path / "keras.json").write_text(json.dumps({"backend": in_file}))
        monkeypatch.setattr(_backend, "is_installed", lambda name: name in installed)
        return os.environ

    return make


@pytest.fixture(scope="module")
def without_tensorflow(tmp_path_factory):
    """What two runs of a process on JAX without TensorFlow left, and its facts."""
    output = tmp_path_factory.mktemp("jax")
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment["KERAS_HOME"] = str(output / "keras")
    for name in ("KERAS_BACKEND", "JAX_COMPILATION_CACHE_DIR"):
        environment.pop(name, None)
    command = [sys.executable, REFERENCES / "without_tensorflow.py", output]
    subprocess.run(command, check=True, env=environment)
    return output, json.loads((output / "facts.json").read_text())


def test_jax_without_tensorflow_trains_predicts_and_folds(without_tensorflow):
    output, facts = without_tensorflow
    assert not facts["tensorflow"] and facts["equal"] == 1
    assert "pip install 'keras-dup[tensorflow]'" in facts["litert"]
    names = {path.name for path in (output / "second").iterdir()}
    assert {"model.keras", "report.json", "samples.png", "tensorboard"} <= names
    (started,) = json.loads((output / "first" / "runs.json").read_text())
    assert started["backend"] == "jax"


def test_a_second_start_on_jax_compiles_nothing_anew(without_tensorflow):
    _, facts = without_tensorflow
    (_, first_hits), (requests, hits) = facts["compiled"]
    assert first_hits < hits and hits == requests > 0


def test_the_log_says_that_steps_wait_for_slow_images(without_tensorflow):
    output, _ = without_tensorflow
    with open(output / "second" / "log.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["waiting"]) > 0.5 and 0 < float(last["images_per_second"]) < 50
