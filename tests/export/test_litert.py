"""LiteRT's two runtimes on the file that the package ships, and what docs/deploy.md says of it."""

import json
import pathlib
import re

import numpy as np
import pytest

from keras_dup import data
from keras_dup.export import _mobile

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs/deploy.md").read_text()
(FILE,) = ROOT.glob("saved_models/voc_animals_int8_*.tflite")
REPORT = json.loads(FILE.with_name(f"{FILE.name}.report.json").read_text())


@pytest.fixture(scope="module")
def image():
    height, width = REPORT["input"]["shape"][1:3]
    return data.Shapes(1, (height, width)).image(0)[None]


@pytest.fixture(scope="module")
def label_map(image):
    return _mobile.answer(_mobile.interpreter()(str(FILE)), image)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_compiled_model_answers_as_the_interpreter(image, label_map, threads):
    compiled_model = pytest.importorskip(
        "ai_edge_litert.compiled_model", reason="this ai-edge-litert has no CompiledModel"
    )
    options = compiled_model.Options(
        hardware_accelerators=compiled_model.HardwareAccelerator.CPU,
        cpu_options=compiled_model.CpuOptions(num_threads=threads),
    )
    model = compiled_model.CompiledModel.from_file(str(FILE), options=options)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(image)
    model.run_by_index(0, inputs, outputs)
    found = outputs[0].read(label_map.size, np.uint8).reshape(label_map.shape)
    assert np.mean(found == label_map) >= 0.999  # threads may share a sum in another way


def test_what_xnnpack_runs_is_counted():
    """ARG_MAX is what it lacks, and what lies between its results."""
    from ai_edge_litert.interpreter import OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    counts = []
    for options in ({}, {"experimental_op_resolver_type": plain}):
        runner = _mobile.interpreter()(str(FILE), **options)
        runner.allocate_tensors()
        counts.append(_mobile.delegated(runner))
    with_it, without = counts
    assert without["delegated"] == 0 and sum(without["others"].values()) == without["operations"]
    assert with_it["operations"] == without["operations"]
    assert with_it["delegated"] + sum(with_it["others"].values()) == with_it["operations"]
    assert with_it["delegated"] > with_it["operations"] / 2
    costly = {"CONV_2D", "DEPTHWISE_CONV_2D", "RESIZE_BILINEAR", "DEPTH_TO_SPACE", "MEAN"}
    assert costly & set(without["others"]) and not costly & set(with_it["others"])


@pytest.mark.parametrize("language", ["kotlin", "swift"])
def test_the_code_for_phones_has_the_file_s_names_shapes_and_types(language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert FILE.name in code
    (signature,) = _mobile.interpreter()(str(FILE)).get_signature_list().items()
    assert signature == ("serving_default", {"inputs": ["image"], "outputs": ["label_map"]})
    for key, own_name in (("input", "image"), ("output", "label_map")):
        tensor = REPORT[key]
        assert tensor["dtype"] == "uint8"
        shape = f"({', '.join(map(str, tensor['shape']))})"
        named = own_name if language == "kotlin" else tensor["name"]
        assert f'"{named}"' in code and f"UInt8 {shape}" in code, (named, shape)
