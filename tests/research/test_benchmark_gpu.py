"""The benchmark for GPUs at a small size, on the CPU: its rows, not its figures."""

import importlib.util
import json
import os
import statistics
import subprocess
import sys

import pytest

from research.benchmarks import gpu


def rows(tmp_path, *arguments):
    """{(part, name): row} of a run of two images of 33 x 33, twice."""
    output = tmp_path / "gpu.json"
    words = ["--size", "33", "33", "--batch", "2", "--runs", "2"]
    command = [sys.executable, "-m", "research.benchmarks.gpu", *words, "--output", output]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([*command, *arguments], env=environment, check=True)
    results = json.loads(output.read_text())
    assert (results["device"], results["peak_mib"]) == ("cpu", None)
    assert "jax" in results["machine"]["versions"]
    assert not [row for row in results["rows"] if "failed" in row]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in results["rows"])
    return {(row["part"], row["name"]): row for row in results["rows"]}


@pytest.mark.slow
def test_the_heads_are_shares_of_the_product_and_of_the_copy(tmp_path):
    found = rows(tmp_path, "--parts", "head", "--classes", "21")
    policies = ("float32", "mixed_bfloat16")
    heads = [f"21 classes, {policy}" for policy in policies]
    assert list(found) == [("head", name) for name in ("product", "copy", *heads)]
    product, copy, head = (statistics.median(row["seconds"]) for row in list(found.values())[:3])
    # 3 x 3 windows per image: 64 channels of 2 bytes in, 256 ids out; W and the mean in float32
    multiply_adds, moved = 2 * 9 * 64 * 256 * 21, 2 * 9 * (64 * 2 + 256) + 4 * 65 * 256 * 21
    row = found["head", "21 classes, float32"]
    assert row["rate"] == pytest.approx(multiply_adds / head / (512**3 / product))
    assert row["bandwidth"] == pytest.approx(moved / head / (2 * 2 * 4 * 512**2 / copy))


def test_without_torch_its_rows_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert gpu.peer(None) == []
    assert "left out: torch and torchvision not installed" in capsys.readouterr().out
