"""The `keras-dup` command; each of its commands has a file."""

import argparse
import sys

import keras_dup
from keras_dup._cli import evaluate, export, fit, flops, predict, train

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Runs `keras-dup`; a bad input is one line on standard error and exit status 1."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show stops nothing
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        prog="keras-dup",
        description="Semantic segmentation with DUpsampling: learned from masks, for Keras 3.",
        epilog="example: keras-dup predict voc_animals photo.jpg -o out/",
    )
    parser.add_argument("--version", action="version", version=f"keras-dup {keras_dup.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (fit, train, predict, evaluate, export, flops):
        command.add(commands)
    parsed = parser.parse_args(arguments)
    try:
        parsed.run(parsed)
    except (ValueError, OSError) as error:
        sys.exit(f"keras-dup: {error}")
    except KeyboardInterrupt:
        sys.exit("keras-dup: interrupted")
