"""The public names, what they may be, and that each has types and a docstring."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys

import keras
import pytest

import keras_dup

NAMES = [
    (module, name)
    for module in keras_dup.__all__
    for name in getattr(getattr(keras_dup, module), "__all__", ())
]
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "reference.md"


def test_there_are_60_public_names_at_most_and_the_documentation_lists_them():
    assert len(NAMES) <= 60
    listed = set(re.findall(r"`keras_dup\.(\w+)\.(\w+)`", PAGE.read_text()))
    assert listed == set(NAMES)


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_has_types_and_a_docstring(module, name):
    value = getattr(getattr(keras_dup, module), name)
    if not callable(value):
        return
    assert inspect.getdoc(value)
    for function in signatures(value):
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name in ("self", "cls", "kwargs"):
                continue
            assert parameter.annotation is not parameter.empty, (function, parameter)


def signatures(value):
    """The functions whose parameters a user gives: of a class its `__init__` and its methods."""
    if not inspect.isclass(value):
        return [value]
    if getattr(value, "_is_protocol", False):
        return [member for key, member in vars(value).items() if key in ("image", "label_map")]
    if issubclass(value, (keras.layers.Layer, keras.losses.Loss)):
        return [value.__init__]  # call, build and get_config are Keras's
    members = [member for key, member in vars(value).items() if not key.startswith("_")]
    functions = [member for member in members if inspect.isfunction(member)]
    return functions if "__init__" not in vars(value) else [value.__init__, *functions]


def test_every_module_of_a_public_name_can_be_reached_from_the_package():
    code = "import keras_dup; [getattr(keras_dup, name) for name in keras_dup.__all__]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_of_the_package_says_what_is_public():
    """A module has `__all__`, or a name that begins with an underscore in its path."""
    folder = pathlib.Path(keras_dup.__file__).parent
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if any(part.startswith("_") for part in parts) or parts[:1] in ((), ("cli",)):
            continue
        targets = [
            target.id
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        assert "__all__" in targets, path
