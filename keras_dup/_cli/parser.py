"""The parser of the command line: a mistyped word is answered with the nearest that there is."""

import argparse
import sys
from typing import NoReturn

from keras_dup._nearest import hint

__all__ = ["Parser"]


class Parser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` of whole words, with examples below its help as they are written.

    Abbreviations are refused: an option that is added later would make another one of them.
    """

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else list(args)
        known = self._option_string_actions
        for text in args:
            option = text.partition("=")[0]
            if text == "--" or (self._subparsers and not text.startswith("-")):
                break  # the rest is not of this parser
            if text.startswith("--") and option not in known:
                self.error(f"there is no option {option}{hint(option, known)}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        choices = list(action.choices or ())
        if choices and value not in choices:
            listed = ", ".join(map(str, choices))
            text = f"{value!r} is none of {listed}{hint(value, choices)}"
            raise argparse.ArgumentError(action, text)
