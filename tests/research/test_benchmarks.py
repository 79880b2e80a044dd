"""What the benchmarks count and print; how long things take is not asserted."""

import json
import pathlib
import re

import keras
import tensorflow as tf

from keras_dup import flops
from research import benchmarks
from research.benchmarks import networks, operations, speed

BENCHMARKS = pathlib.Path(__file__).parents[2] / "research" / "benchmarks"


def test_multiply_adds_of_a_graph_are_those_of_its_layers():
    image = keras.Input((16, 24, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    model = keras.Model(image, keras.layers.Conv2D(5, 1)(x))
    counted = networks.multiply_adds(model, tf.zeros((2, 16, 24, 3)))
    assert counted == flops.count(model, (16, 24))["total"]
    assert counted == 8 * 12 * (27 * 8 + 9 * 16 + 16 * 5)


def test_the_table_has_ratios_rates_and_what_failed():
    results = {
        "batch": 2,
        "multiply_adds": {"a": 1e9, "b": 4e9},
        "products": {"float32": [speed.SIDE**3 / 1e10], "bfloat16": [1.0]},
        "seconds": {"graph": {"a": [1.0, 0.5, 0.4], "b": [1.0]}, "litert": {"a": [0.25]}},
        "failed": {"litert: b": "ConverterError: no"},
        "mib": {"a": 10.2, "b": 20.0},
    }
    lines = speed.table(results).splitlines()
    # 2 images of 1 G in 0.5 s of 10 G a second
    assert lines[2] == "| a | 500 ms | 1.00 | 0.50 | 1.0 G | 40 % | 10 MiB | 250 ms |"
    assert lines[3] == "| b | 1000 ms | 2.00 | 1.00 | 4.0 G | 80 % | 20 MiB | - |"
    assert lines[4] == "litert: b failed: ConverterError: no"


def test_the_stored_results_are_what_the_figure_reads():
    for name in ("speed", "training_peers", "training_step"):
        results = json.loads((BENCHMARKS / "results" / f"{name}.json").read_text())
        assert {"machine", "cores", "versions", "commit"} <= set(results["machine"])


def test_a_profile_lists_the_convolutions_first(monkeypatch, capsys):
    def small(size):
        image = keras.Input((None, None, 3))
        model = keras.Model(image, keras.layers.Conv2D(8, 3, activation="relu")(image))
        return {"small": lambda: model}

    monkeypatch.setattr(operations, "networks", small)
    operations.main(["small", "--size", "64", "64", "--runs", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("small: ")
    assert any("Conv2D" in line and " G/s " in line for line in lines)


def test_every_benchmark_that_a_page_names_is_there():
    names = {path.stem for path in BENCHMARKS.glob("*.py")}
    page = (BENCHMARKS / "RESULTS.md").read_text()
    named = set(re.findall(r"research\.benchmarks\.(\w+)", page + benchmarks.__doc__))
    listed = set(re.findall(r"^    (\w+)  ", benchmarks.__doc__, re.M))
    parts_of_gpu = {"gpu_programs", "gpu_report", "gpu_torch"}
    assert len(named) > 5 and named - {"NAME"} <= names
    assert listed == names - {"__init__", "machine", "networks", *parts_of_gpu}
