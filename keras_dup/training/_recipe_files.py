"""From files and key=value texts to a recipe."""

import dataclasses
import json
import os
import pathlib
import runpy
import typing
from collections.abc import Iterable

from keras_dup._nearest import hint
from keras_dup.training._recipe import Recipe

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def load_recipe(path: str | os.PathLike, overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe: a Python file with a variable `recipe`, or the recipe.json of a run.

    Args:
        path: the file.
        overrides: texts like "steps=100", as for `override`.

    Raises:
        ValueError: no recipe in the file, an unknown key, or a value of another type.
    """
    if str(path).endswith(".json"):
        return override(read_json(path), overrides)
    recipe = runpy.run_path(str(path)).get("recipe")
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path}: a recipe file has a variable `recipe` of type Recipe")
    return override(recipe, overrides)


def override(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """Returns the recipe with texts like "steps=100" or "crop_size=257,257" applied.

    Raises ValueError for an unknown key, or a value of another type.
    """
    return dataclasses.replace(recipe, **dict(_parse(text) for text in overrides))


def read_json(path: str | os.PathLike) -> Recipe:
    """Reads the recipe.json of a run; fields that it lacks have their defaults."""
    fields = load_json(path)
    try:
        known: dict[str, typing.Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return Recipe(**known)
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path}: not the recipe.json of a run of this version ({error})"
        ) from error


def load_json(path: str | os.PathLike) -> typing.Any:
    """Reads a JSON file of a run.

    Raises ValueError, with the file and what to do, for one that was cut short.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: the file is damaged or cut short ({error}); copy it again, or delete it"
        ) from error


def _parse(text):
    key, equals, value = text.partition("=")
    types = {field.name: field.type for field in dataclasses.fields(Recipe)}
    if not equals or key not in types:
        known = hint(key, types) or f" with a key of {', '.join(types)}"
        raise ValueError(f"{text!r}: expected key=value{known}")
    kind = types[key]
    if type(None) in typing.get_args(kind) and value.lower() == "none":
        return key, None
    kind = without_none(kind)
    if typing.get_origin(kind) is not tuple:
        return key, _value(text, key, value, kind)
    kind, *_ = typing.get_args(kind)
    items = [item.strip() for item in value.split(",") if item.strip()]
    return key, tuple(_value(text, key, item, kind) for item in items)


def without_none(kind):
    """X of the type `X | None`; another type as it is."""
    kinds = typing.get_args(kind)
    return kinds[0] if type(None) in kinds else kind


def _value(text, key, value, kind):
    try:
        return _BOOLEANS[value.lower()] if kind is bool else kind(value)
    except (ValueError, KeyError):
        raise ValueError(f"{text!r}: {key} is a {kind.__name__}, not {value!r}") from None
