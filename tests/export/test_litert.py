"""LiteRT's two runtimes on the file that the package ships, and what docs/deploy.md says of it."""

import json
import pathlib
import re

import keras
import numpy as np
import pytest
from small_backbones import few_units

from keras_dup import data, export, models
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


DECODERS = {
    "bilinear": {"decoder": "bilinear"},
    "thin branch": {"decoder": "bilinear", "fusion_stride": 4, "coarse_scores": True}
    | {"fusion_channels": 8, "low_level_channels": 8, "context_channels": 8},
    "dupsampling": {"decoder": "dupsampling"},
    "dupsampling, ratio 4": {"decoder": "dupsampling", "fusion_stride": 8, "ratio": 4},
}


@pytest.fixture(scope="module")
def networks():
    """A function: the small network of each kind, or of a backbone of the project."""
    networks = {}

    def network(name):
        if name not in networks:
            given = {
                "backbone": encoder(),
                "low_level_features": ("low",),
                **DECODERS.get(name, {}),
            }
            if name not in DECODERS:
                given |= {"backbone": name, "low_level_features": ("b2u1c3",), "channels": 8}
            if given.get("decoder") != "bilinear":
                given["projection"] = "random"
            with pytest.MonkeyPatch.context() as patch:
                few_units(patch)
                networks[name] = models.build(num_classes=7, **given)
        return networks[name]

    return network


def encoder():
    """A feature "low" at stride 4 and the last feature at stride 16."""
    x = image = keras.Input((None, None, 3))
    for name in ("low", "last"):
        x = keras.layers.Conv2D(8, 4, 4, padding="same", activation="relu", name=name)(x)
    return keras.Model(image, x, name="small")


def outside(network, quantize, size, output):
    """What XNNPACK leaves to the plain kernels, as the report has it."""
    ranges = [data.Shapes(1, size).image(0)]
    content = _mobile._convert(export.fold(network, output), quantize, size, ranges)
    runner = _mobile.interpreter()(model_content=content)
    runner.allocate_tensors()
    return _mobile.delegated(runner)["others"]


@pytest.mark.parametrize("quantize", [None, "int8"])
@pytest.mark.parametrize("name", [*DECODERS, "efficientnet_lite0"])
def test_xnnpack_runs_all_of_a_file_of_probabilities(networks, name, quantize):
    found = outside(networks(name), quantize, (33, 50), "probabilities")
    # pixels come as uint8, which XNNPACK makes no int8 of, and it has no softmax of 8 bits
    assert found == ({"QUANTIZE": 1, "SOFTMAX": 1} if quantize else {})


def test_xnnpack_runs_all_of_it_where_nothing_is_cut_or_repeated(networks):
    assert outside(networks("dupsampling"), None, (32, 48), "probabilities") == {}


@pytest.mark.parametrize(
    ("name", "searches", "quantize"), [("bilinear", 1, None), ("dupsampling, ratio 4", 4, "int8")]
)
def test_of_a_label_map_xnnpack_leaves_what_handles_class_ids(networks, name, searches, quantize):
    found = outside(networks(name), quantize, (33, 50), "label_map")
    expected = {"ARG_MAX": searches, "CAST": 1}
    if searches > 1:  # put the rows of windows together, cut at the size of the image
        expected |= {"PACK": 1, "RESHAPE": 2, "SLICE": 1}
    assert found == expected | ({"QUANTIZE": 1} if quantize else {})


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
