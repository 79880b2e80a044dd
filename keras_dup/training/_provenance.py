"""When, with what and where something runs."""

import contextlib
import datetime
import os
import pathlib
import platform
import subprocess
from importlib import metadata
from typing import Any

import keras

_VERSIONS = ("keras-dup", "keras", "tensorflow", "jax", "numpy")


def provenance() -> dict[str, Any]:
    """Returns time, commit, versions, backend, machine and processor, for a file of results."""
    versions = {"python": platform.python_version()}
    for package in _VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
        cwd=pathlib.Path(__file__).parent,
    )
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or None,
        "versions": versions,
        "backend": keras.backend.backend(),
        "machine": platform.platform(),
        "processor": _processor(),
    }


def _processor():
    """The names of the GPUs, else of the CPU and how many of its cores this process may use."""
    if gpus := _gpus():
        return ", ".join(gpus)
    name, cores = platform.processor() or platform.machine(), os.cpu_count()
    if hasattr(os, "sched_getaffinity"):  # Linux
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
        name, cores = (names or [name])[0], len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores"


def _gpus():
    """The names of the GPUs that the backend sees."""
    if keras.backend.backend() == "jax":
        import jax

        on_cpu = jax.default_backend() == "cpu"
        return [] if on_cpu else [device.device_kind for device in jax.devices()]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details
        gpus = tf.config.list_physical_devices("GPU")
        return [details(gpu).get("device_name", "GPU") for gpu in gpus]
    return []
