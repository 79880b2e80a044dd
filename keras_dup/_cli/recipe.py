"""Every field of `keras_dup.training.Recipe` as an option, made from the class itself."""

import argparse
import ast
import contextlib
import dataclasses
import functools
import inspect
import itertools
import re
import typing
from collections.abc import Mapping

from keras_dup.training import _recipe, _recipe_files

__all__ = ["add_fields", "given"]

# the first field of each part of the class; a new field is in the part that it is written in
_GROUPS = {"name": "data", "network": "network", "crop_size": "training"}
_METAVARS = {int: "N", float: "X", str: "TEXT"}
_SENTENCE = re.compile(r"\.(?= [A-Z]|$)")


def add_fields(
    command: argparse.ArgumentParser,
    defaults: Mapping[str, object],
    computed: Mapping[str, str],
) -> None:
    """Adds an option for each field of a recipe that the command has no option for yet.

    Args:
        command: its parser.
        defaults: {field: default of the command}, where it is not the recipe's.
        computed: {field: what the default is}, where it depends on data or on other fields.
    """
    docs, group = field_docs(), command.add_argument_group()
    for field in dataclasses.fields(_recipe.Recipe):
        if field.name in _GROUPS:
            group = command.add_argument_group(_GROUPS[field.name])
        default = defaults.get(field.name, field.default)
        help_text = docs.get(field.name, "")
        text = computed.get(field.name, _shown(default))
        help_text += f" (default: {text})" if text else ""
        option = f"--{field.name.replace('_', '-')}"
        with contextlib.suppress(argparse.ArgumentError):  # the command has it already
            group.add_argument(
                option,
                dest=f"recipe:{field.name}",
                default=argparse.SUPPRESS,
                help=help_text.replace("%", "%%"),
                **_kind(field),
            )


def given(arguments: argparse.Namespace) -> list[str]:
    """Returns the options of recipe fields that were given, and the key=value, as key=value.

    Raises ValueError for a field that is given both ways.
    """
    texts, overrides = {}, list(arguments.overrides)
    for dest, value in vars(arguments).items():
        _, colon, name = dest.partition("recipe:")
        if not colon:
            continue
        values = value if isinstance(value, list) else [value]
        if isinstance(value, list):  # an option of several values takes those that follow it
            overrides += [text for text in values if _is_override(text)]
            values = [text for text in values if not _is_override(text)]
        texts[name] = f"{name}={','.join(map(str, values))}"
    for text in overrides:
        name = text.partition("=")[0]
        if name in texts:
            raise ValueError(f"--{name.replace('_', '-')} and {text}: give one of them")
    return [*texts.values(), *overrides]


@functools.cache
def field_docs() -> dict[str, str]:
    """{field: first sentence of its docstring}; {} where there is no source."""
    try:
        tree = ast.parse(inspect.getsource(_recipe))
    except OSError:
        return {}
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef)]
    return {
        field.target.id: _first_sentence(text.value.value)
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def _first_sentence(text):
    return _SENTENCE.split(" ".join(text.split()))[0]


def _is_override(text):
    names = {field.name for field in dataclasses.fields(_recipe.Recipe)}
    return text.partition("=")[0] in names and "=" in text


def _kind(field):
    """How argparse is to read an option of a field's type."""
    if field.type is bool:
        return {"action": argparse.BooleanOptionalAction}
    if field.name in _recipe.WORDS:
        return {"choices": _recipe.WORDS[field.name], "type": field.type}
    kind = _recipe_files.without_none(field.type)
    if typing.get_origin(kind) is tuple:
        return {"nargs": "*", "metavar": _METAVARS[typing.get_args(kind)[0]]}
    return {"type": kind, "metavar": _METAVARS[kind]}


def _shown(default):
    """A default as it would be typed; "" for nothing."""
    if default is dataclasses.MISSING or default in ("", ()):
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
