"""The `keras-dup` command, a file for each of its commands."""

import argparse
import sys

from keras_dup.cli import evaluate, export, fit, flops, predict, train


def main(arguments=None):
    """Runs `keras-dup`; a bad input is one line on standard error and exit status 1."""
    parser = argparse.ArgumentParser(prog="keras-dup", description="DUpsampling for Keras 3.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (fit, train, predict, evaluate, export, flops):
        command.add(commands)
    arguments = parser.parse_args(arguments)
    try:
        arguments.run(arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"keras-dup: {error}")
    except KeyboardInterrupt:
        sys.exit("keras-dup: interrupted")
