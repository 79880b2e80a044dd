"""The benchmark for GPUs at a small size, on the CPU: its rows, not its figures."""

import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

FOLDER = pathlib.Path(__file__).parent / "benchmarks"


def rows(tmp_path, *arguments):
    output = tmp_path / "gpu.json"
    command = [sys.executable, FOLDER / "gpu.py", "--size", "33", "33", "--batch", "2"]
    command += ["--runs", "2", "--output", output, *arguments]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run(command, env=environment, check=True)
    results = json.loads(output.read_text())
    assert (results["device"], results["peak_mib"]) == ("cpu", None)
    assert results["machine"]["versions"]["jax"]
    assert not [row["failed"] for row in results["rows"] if "failed" in row]
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in results["rows"])
    return {(row["part"], row["name"]): row for row in results["rows"]}


def test_the_heads_stand_beside_the_product_and_the_copy(tmp_path):
    found = rows(tmp_path, "--parts", "head")
    kinds = [f"{classes} classes, {p}" for classes in (21, 150) for p in ("float32", "mixed_bfloat16")]
    assert list(found) == [("head", name) for name in ("product", "copy", *kinds)]
    product, copy, *heads = found.values()
    first, seconds = heads[0], sorted(heads[0]["seconds"])
    # 33 x 33 are 3 x 3 windows; 64 channels of 2 bytes in, 256 ids out, W and the mean of 4 bytes
    multiply_adds, moved = 2 * 9 * 64 * 256 * 21, 2 * 9 * (128 + 256) + 4 * 256 * 21 * 65
    median = sum(seconds) / 2
    assert first["rate"] == pytest.approx(
        multiply_adds / median / (512**3 / (sum(product["seconds"]) / 2))
    )
    assert first["bandwidth"] == pytest.approx(
        moved / median / (2 * 2 * 4 * 512**2 / (sum(copy["seconds"]) / 2))
    )
