"""The benchmark for GPUs: its rows, its limit of time and what it concludes; not its figures."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
import types

import pytest

from research.benchmarks import gpu, gpu_programs, gpu_report


def test_the_rows_are_the_networks_that_the_benchmark_promises():
    size = (513, 513)
    found = {(p.part, p.name, p.batch) for p in gpu_programs.programs(size, 16)}
    for backbone in ("resnet50", "xception65", "efficientnet_lite0"):
        for stride in (16, 32):
            assert ("inference", f"{backbone}, ours, stride {stride}", 16) in found
        assert ("inference", f"{backbone}, ours, stride 16", 1) in found
        assert ("training", f"{backbone}, ours, stride 16", 16) in found
    assert ("inference", "resnet50, vanilla, stride 8", 16) in found
    assert {name for part, name, _ in found if part == "cut"} == set(gpu_programs.PARTS)
    assert {name for part, name, _ in found if part == "head"} == {"21 classes", "150 classes"}
    assert {name for part, name, _ in found if part == "ceiling"} == {"product", "copy"}


class Slow:
    """A lowered program that compiles when the test is over."""

    over = threading.Event()

    def compile(self):
        self.over.wait()


def refuse():
    raise ValueError("no such layer")


def test_what_does_not_trace_or_compile_in_time_is_named_and_the_rest_is_measured(request):
    request.addfinalizer(Slow.over.set)
    free = gpu.Torchvision(types.SimpleNamespace(torch=False), 0).gone
    slow = gpu_programs.Program("inference", "slow", 1, Slow, refuse)
    broken = gpu_programs.Program("inference", "broken", 1, refuse, refuse)
    now = time.time()
    entries = gpu.compile_all([slow], free, now + 0.3)
    entries += gpu.compile_all([broken, *gpu_programs.ceilings()], free, now + 300)
    entries += gpu.compile_all([broken._replace(name="late")], free, now)
    gpu.measure(entries, 5, time.time())
    rows = {row["name"]: row for _, row, _ in entries}
    assert rows["slow"]["failed"] == "left out: not compiled in time"
    assert rows["broken"]["failed"] == "ValueError: no such layer"
    assert rows["late"]["failed"] == "left out: no time to trace it"
    for name in ("product", "copy"):  # past the end: as few runs as are needed
        assert len(rows[name]["seconds"]) == gpu.LEAST_RUNS and min(rows[name]["seconds"]) > 0


def test_torchvision_s_rows_are_left_out_where_it_is_not_installed(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    peer = gpu.Torchvision(types.SimpleNamespace(torch=True), 0)
    assert peer.gone.is_set() and peer.rows == []
    assert "left out: torch and torchvision" in capsys.readouterr().out


def results(**seconds):
    """Results of rows {"part|name|batch": seconds} on a chip of 1000 multiply-adds a second."""
    rows = [
        {"part": "ceiling", "name": "product", "batch": 1, "seconds": [1.0], "multiply_adds": 1000}
    ]
    for key, value in seconds.items():
        part, name, batch = key.split("|")
        rows.append({"part": part, "name": name, "batch": int(batch), "seconds": [value]})
    return {"batch": 16, "size": [513, 513], "device": "a chip", "peak_mib": None, "rows": rows}


def test_what_must_hold_is_read_from_the_rows():
    found = results(
        **{
            "inference|resnet50, torchvision, stride 8|16": 18.0,
            "inference|resnet50, ours, stride 16|16": 5.0,
            "inference|resnet50, ours, stride 32|16": 4.0,
            "inference|xception65, ours, stride 16|16": 8.0,
            "cut|b4|16": 3.0,
            "cut|ASPP|16": 4.5,
            "training|b|16": 0.1,
            "head|150 classes|16": 0.5,
        }
    )
    found["rows"][-1]["multiply_adds"] = 100
    found["rows"].append({"part": "training", "name": "a", "batch": 16, "failed": "left out: x"})
    found["rows"][-1] |= {"trace_seconds": 10.0, "compile_seconds": 70.0}
    found["input"] = {"images_per_second": 300.0, "per_core": 40.0, "cores": 16}
    gpu_report.add_shares(found)
    found["must_hold"] = gpu_report.must_hold(found)
    told = {fact["what"]: (fact["value"], fact["holds"]) for fact in found["must_hold"]}
    assert list(told.values()) == [
        (3.6, True),
        (4.5, False),  # 5 are asked for
        (None, None),
        (1.6, True),
        (pytest.approx(0.3), False),
        (5.0, False),  # 0.5 s in place of 0.1
        (80.0, False),
        (None, None),
    ]
    text = gpu_report.text(found)
    assert "| training | a | 16 | left out: x |" in text
    assert "torchvision's: 4.5 (at least 5) DOES NOT HOLD" in text
    assert "input: 300 images/s, 40 per core, 16 cores; the fastest training step takes 160" in text


def test_the_picture_is_drawn_of_the_rows_that_there_are(tmp_path):
    found = results(**{"inference|resnet50, ours, stride 16|16": 5.0, "cut|b4|16": 3.0})
    gpu_report.draw(found, tmp_path / "gpu.png")
    assert (tmp_path / "gpu.png").stat().st_size > 1000


def test_a_rehearsal_on_the_cpu_measures_a_network_and_a_step(tmp_path, request):
    if not request.config.getoption("--full-size"):
        pytest.skip("compiles for a minute: --full-size")
    output = tmp_path / "gpu.json"
    words = ["--size", "33", "33", "--batch", "2", "--runs", "3", "--no-torch"]
    words += [
        "--only",
        "product",
        "copy",
        "classes",
        "cut root",
        "efficientnet_lite0, ours, stride",
    ]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "research.benchmarks.gpu", *words, "--output", output]
    subprocess.run(command, env=environment, check=True)
    found = json.loads(output.read_text())
    assert not [row for row in found["rows"] if "failed" in row]
    assert {row["part"] for row in found["rows"]} == {
        "ceiling",
        "head",
        "cut",
        "inference",
        "training",
    }
    assert found["second_start"] > 0 and found["input"]["per_core"] > 0
    assert output.with_suffix(".png").exists()
