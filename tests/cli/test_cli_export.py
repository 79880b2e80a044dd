"""`keras-dup export`: what cannot be written is one line, and the rest is written."""

import importlib.util
import os

import numpy as np
import pytest
from PIL import Image
from thresholds import thresholding

from keras_dup import _cli, models
from keras_dup.export import _exchange, _measure, _mobile, _serving


class ConverterError(Exception):
    """As TensorFlow's: neither a ValueError nor a RuntimeError."""


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.keras"
    thresholding().save(path)
    return str(path)


def without(monkeypatch, module):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == module else find_spec(name)
    )


def test_the_help_lists_the_formats(capsys):
    with pytest.raises(SystemExit):
        _cli.main(["export", "--help"])
    words = capsys.readouterr().out.replace(",", " ").replace(";", " ").split()
    assert set(_measure.FORMATS) <= set(words)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConverterError("one\ntwo\nthree"), "keras-dup: onnx: ConverterError: one"),
        (RuntimeError("it disagrees"), "keras-dup: onnx: it disagrees"),
        (RuntimeError("onnx: it disagrees"), "keras-dup: onnx: it disagrees"),
        (KeyError(), "keras-dup: onnx: KeyError: no message"),
        (ValueError("x" * 9000), f"keras-dup: onnx: {'x' * 300} ..."),
    ],
)
def test_a_format_that_fails_is_one_line_and_the_others_are_written(
    model_file, tmp_path, monkeypatch, capsys, error, line
):
    def fail(*arguments, **options):
        raise error

    written = []

    def write(model, path, *arguments, **options):
        written.append(path.name)
        return {"path": str(path)}

    monkeypatch.setattr(_exchange, "onnx", fail)
    monkeypatch.setattr(_mobile, "litert", write)
    formats = ["--formats", "litert", "onnx", "litert_int8"]
    with pytest.raises(SystemExit, match="1 of 3 formats were not written, see above") as stopped:
        _cli.main(["export", model_file, "-o", str(tmp_path), *formats])
    assert stopped.value.code != 0
    assert capsys.readouterr().err == f"{line}\n"
    assert written == ["litert.tflite", "litert_int8.tflite"]


def test_a_missing_extra_is_one_line_before_any_work(model_file, tmp_path, monkeypatch):
    without(monkeypatch, "tf2onnx")
    monkeypatch.setattr(models, "load", lambda path: pytest.fail("work was begun"))
    formats = ["--formats", "litert", "onnx"]
    line = r"^keras-dup: onnx needs tf2onnx: pip install 'keras-dup\[onnx\]'$"
    with pytest.raises(SystemExit, match=line):
        _cli.main(["export", model_file, "-o", str(tmp_path / "out"), *formats])
    assert not (tmp_path / "out").exists()


def test_without_formats_those_of_missing_extras_are_left_out_and_named(
    model_file, tmp_path, monkeypatch, capsys
):
    def missing():
        raise ImportError("litert needs ai-edge-litert: pip install 'keras-dup[litert]'")

    def write(model, path, *arguments, **options):
        written.append(path.name)
        return {"path": str(path)}

    written = []
    monkeypatch.setattr(_serving, "saved_model", write)
    monkeypatch.setattr(_mobile, "interpreter", missing)
    without(monkeypatch, "onnxruntime")
    _cli.main(["export", model_file, "-o", str(tmp_path)])
    assert written == ["saved_model", "saved_model_bfloat16"]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("keras-dup: ")] == [
        "keras-dup: warning: litert, litert_float16, litert_dynamic, litert_int8 left out: litert "
        "needs ai-edge-litert: pip install 'keras-dup[litert]'",
        "keras-dup: warning: onnx left out: onnx needs onnxruntime: pip install 'keras-dup[onnx]'",
    ]


def test_what_the_converter_and_the_interpreter_say_of_every_model_is_not_shown(
    model_file, tmp_path, monkeypatch, capfd
):
    """The interpreter says it once per process, so here a stand-in does, and says what matters."""
    allocate = _mobile.interpreter().allocate_tensors

    def say_and_allocate(runner):
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nERROR: a real one\n")
        return allocate(runner)

    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setattr(_mobile.interpreter(), "allocate_tensors", say_and_allocate)
    image = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
    Image.fromarray(image).save(tmp_path / "image.png")
    options = ["--input-size", "48", "64", "--calibration", str(tmp_path / "image.png")]
    output = ["-o", str(tmp_path / "out"), "--formats", "litert_int8"]
    _cli.main(["export", model_file, *output, *options])
    told = capfd.readouterr().err  # and more, if TensorFlow was loaded with another level
    assert "ERROR: a real one" in told
    assert "XNNPACK" not in told and "fully_quantize" not in told
