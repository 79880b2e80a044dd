"""Where figures were measured: what every table of a benchmark ends with."""

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys

PACKAGES = ("keras", "tensorflow", "numpy", "scipy", "pillow")


def machine(*packages):
    """{"machine", "cores", "python", "versions", "commit"}; "+" for changes not committed."""
    versions = {}
    for name in (*PACKAGES, *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "machine": _model(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _git("rev-parse", "--short", "HEAD")
        + ("+" if _git("status", "--porcelain", "--untracked-files=no") else ""),
    }


def printed_by(name, *arguments):
    """The last line that a benchmark prints in a process of its own."""
    command = [sys.executable, "-m", f"research.benchmarks.{name}", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def _model():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*arguments):
    return subprocess.run(["git", *arguments], capture_output=True, text=True).stdout.strip()
