"""What the benchmarks count and print; how long things take is not asserted."""

import json
import pathlib
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from keras_dup import flops

BENCHMARKS = pathlib.Path(__file__).parents[2] / "research" / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The scripts import each other by name, as a script's folder is on the path."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_multiply_adds_of_a_graph_are_those_of_its_layers():
    import networks

    image = keras.Input((16, 24, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    model = keras.Model(image, keras.layers.Conv2D(5, 1)(x))
    counted = networks.multiply_adds(model, tf.zeros((2, 16, 24, 3)))
    assert counted == flops.count(model, (16, 24))["total"]
    assert counted == 8 * 12 * (27 * 8 + 9 * 16 + 16 * 5)


def test_the_table_has_ratios_rates_and_what_failed():
    import speed

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


@pytest.mark.slow
def test_a_profile_lists_the_convolutions_first():
    words = ["ours, efficientnet_lite0, 16", "--size", "64", "64", "--runs", "1"]
    command = [sys.executable, str(BENCHMARKS / "operations.py"), *words]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].startswith("ours, efficientnet_lite0, 16: ")
    assert any("Conv2D" in line and " G/s " in line for line in lines)
