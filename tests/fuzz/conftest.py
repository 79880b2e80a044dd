"""How many inputs: a few and always the same ones, or FUZZ_INPUTS new ones (`make fuzz`)."""

import os

import mutations
from hypothesis import HealthCheck, settings

PARSERS = 14  # tests that read mutated files: FUZZ_INPUTS is spread over them
INPUTS = int(os.environ.get("FUZZ_INPUTS", 0))

settings.register_profile(
    "fuzz",
    max_examples=-(-INPUTS // PARSERS) or 60,
    derandomize=not INPUTS,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")


def pytest_terminal_summary(terminalreporter):
    if INPUTS:
        tried = mutations.TRIED
        terminalreporter.write_line(
            f"fuzz: {tried['inputs']} inputs tried, {tried['refused']} refused with an error that "
            f"is documented, {tried['crashes']} crashes, {tried['hangs']} hangs, peak memory "
            f"{mutations.peak()} MiB ({mutations.BEFORE} MiB at the start)"
        )
