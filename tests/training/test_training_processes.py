"""Runs in processes of their own: killed, on several devices, over several workers."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import kills
import numpy as np
import pytest
import ten_steps

pytestmark = pytest.mark.slow
STEPS = ("steps=40", "steps_per_epoch=10", "checkpoint_steps=2")


@pytest.fixture(scope="module", autouse=True)
def _references_can_be_imported():
    """In the process that is forked, which takes the environment alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        yield


def fork(output, *overrides, **environment):
    environment = {name: str(value) for name, value in environment.items()}
    return ten_steps.Fork(ten_steps.main, [output, *overrides], f"{output}.log", environment)


def start(output, *overrides, **environment):
    """A process from its first line on: its backend can be another, it can start itself again."""
    command = [sys.executable, ten_steps.__file__, str(output), *overrides]
    log = open(f"{output}.log", "a")  # noqa: SIM115 (the process keeps it)
    environment = {name: str(value) for name, value in environment.items()}
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
    )


def two_workers(output):
    """The environments of two workers on this machine."""
    with socket.socket() as one, socket.socket() as two:
        for listening in (one, two):
            listening.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{listening.getsockname()[1]}" for listening in (one, two)]
    tasks = [{"type": "worker", "index": index} for index in (0, 1)]
    cluster = {"worker": addresses}
    return [{"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})} for task in tasks]


def finish(process, output):
    assert process.wait(300) == 0, pathlib.Path(f"{output}.log").read_text()[-3000:]


def weights(output):
    with np.load(output / "weights.npz") as arrays:
        return [arrays[name] for name in arrays.files]


def losses(output):
    return np.genfromtxt(output / "log.csv", delimiter=",", names=True)["loss"]


def assert_same(one, other, tolerance):
    for ours, theirs in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
    np.testing.assert_allclose(losses(one), losses(other), rtol=0, atol=tolerance)


def wait_for(path, process):
    for _ in range(2400):
        if path.exists():
            return
        assert process.poll() is None, "the process ended before its first checkpoint"
        time.sleep(0.05)
    raise AssertionError(f"no {path.name} in two minutes")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of one process on one device, from start to end."""
    output = tmp_path_factory.mktemp("whole") / "run"
    finish(fork(output), output)
    return output


def test_kills_at_any_instant_change_nothing(tmp_path, request):
    """Three of them while a checkpoint is written; `--kills 20` for more of the others."""
    arguments = tmp_path, request.config.getoption("--kills"), 0
    finish(ten_steps.Fork(kills.main, arguments, f"{tmp_path}.log"), tmp_path)
    print(pathlib.Path(f"{tmp_path}.log").read_text().splitlines()[-1])
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for ours, theirs in zip(weights(killed), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    rows = (killed / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "20", "40", "60"]
    assert not list(killed.glob(".*")), "half files are removed"


def test_two_replicas_train_as_one_does(tmp_path, whole):
    output = tmp_path / "run"
    finish(fork(output, DEVICES=2), output)
    assert_same(output, whole, 1e-5)


def test_two_workers_train_as_one_process_does(tmp_path, whole):
    output = tmp_path / "run"
    for process in [fork(output, **worker) for worker in two_workers(output)]:
        finish(process, output)
    assert_same(output, whole, 1e-5)


def test_two_workers_of_which_one_is_killed_and_restarted_end_as_one_process_does(tmp_path):
    whole, output = tmp_path / "whole", tmp_path / "run"
    finish(fork(whole, *STEPS), whole)
    one, other = two_workers(output)
    first = start(output, *STEPS, PAUSE=0.02, **one)  # the one that starts itself again
    second = fork(output, *STEPS, PAUSE=0.02, **other)
    wait_for(output / "checkpoint.weights.h5", first)
    second.kill()
    second.wait()
    second = fork(output, *STEPS, PAUSE=0.02, **other)
    for process in (first, second):
        finish(process, output)
    log = output.with_suffix(".log").read_text()
    assert "another worker of this run has ended; starting again" in log
    for ours, theirs in zip(weights(output), weights(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_two_devices_of_jax_train_as_one_does(tmp_path):
    outputs = [tmp_path / f"devices{count}" for count in (1, 2)]
    for count, output in enumerate(outputs, 1):
        finish(start(output, KERAS_BACKEND="jax", DEVICES=count), output)
    assert_same(*outputs, 1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_two_replicas_train_in_mixed_precision(tmp_path, policy):
    output = tmp_path / "run"
    finish(fork(output, f"dtype_policy={policy}", "ema=0.9", DEVICES=2), output)
    assert np.isfinite(losses(output)).all()
