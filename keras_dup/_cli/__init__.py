"""The `keras-dup` command; each of its commands has a file."""

import argparse
import contextlib
import signal
import sys
import warnings

import keras_dup
from keras_dup._cli import evaluate, export, fit, flops, inspect, predict, train
from keras_dup._cli.parser import Parser
from keras_dup._cli.start import load_keras

__all__ = ["main", "parser"]

_EXAMPLES = """examples:
  keras-dup predict voc_animals photo.jpg -o out/
  keras-dup fit masks/ --num-classes 7 -o w.npz
  keras-dup train --images images/ --masks masks/ --num-classes 7 -o run/
  keras-dup evaluate run/best.keras --images images/ --masks masks/
  keras-dup export run/best.keras -o exported/
  keras-dup train --help"""


def main(arguments: list[str] | None = None) -> None:
    """Runs `keras-dup`; a bad input is one line on standard error and exit status 1.

    A command has a function `run` of its arguments, and may have `check`, of what can be wrong
    before Keras is loaded.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show stops nothing
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parsed = parser().parse_args(arguments)
    try:
        if hasattr(parsed, "check"):
            parsed.check(parsed)
        with _warnings_in_one_line():
            load_keras()
            parsed.run(parsed)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"keras-dup: {error}")
    except KeyboardInterrupt as stop:
        print("; ".join(["keras-dup: interrupted", *map(str, stop.args)]), file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


@contextlib.contextmanager
def _warnings_in_one_line():
    """Shows what a library warns of without its place in the source."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *place: f"keras-dup: warning: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `shtab` makes completions for shells of it."""
    whole = Parser(
        prog="keras-dup",
        description="Semantic segmentation with DUpsampling: learned from masks, for Keras 3.",
        epilog=_EXAMPLES,
    )
    whole.add_argument("--version", action="version", version=f"keras-dup {keras_dup.__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for command in (inspect, fit, train, predict, evaluate, export, flops):
        command.add(commands)
    return whole
