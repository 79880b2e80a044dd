"""Writes docs/reference.md, the list of all public names: `python docs/make_reference.py`.

As a hook of MkDocs it also writes a page for each public module to docs/reference/, which
mkdocstrings fills from the docstrings, and puts these pages into the navigation.
"""

import importlib
import inspect
import pathlib

import keras_dup

FOLDER = pathlib.Path(__file__).parent
HEAD = """# All names

These names stay. What is not listed here may change in any version.
"""


def first_sentence(value):
    """The first line of a docstring; of plain data what type it is."""
    if not (inspect.isroutine(value) or inspect.isclass(value)):
        return f"data ({type(value).__name__})."
    return inspect.getdoc(value).splitlines()[0]


def public_names():
    """Yields (module name, module, {public name: where it is defined})."""
    for module_name in keras_dup.__all__:
        module = importlib.import_module(f"keras_dup.{module_name}")
        names = getattr(module, "__all__", ())
        yield module_name, module, {name: defined_at(module, name) for name in names}


def defined_at(module, name):
    """The path that mkdocstrings finds a name by: modules may load their names on first use."""
    value = getattr(module, name)
    if inspect.isroutine(value) or inspect.isclass(value):
        return f"{value.__module__}.{value.__qualname__}"
    return f"{module.__name__}.{name}"


def block(module, name, path):
    """What mkdocstrings makes a public name of; a table of data is too long to be shown."""
    table = isinstance(getattr(module, name), dict)
    return f"::: {path}" + "\n    options:\n      show_attribute_values: false" * table


def write_list():
    lines = [HEAD]
    for module_name, module, names in public_names():
        lines.append(f"\n## keras_dup.{module_name}\n\n")
        for name, anchor in names.items():
            link = f"[`keras_dup.{module_name}.{name}`](reference/{module_name}.md#{anchor})"
            lines.append(f"- {link}: {first_sentence(getattr(module, name))}\n")
    (FOLDER / "reference.md").write_text("".join(lines))


def on_config(config):
    """Called by MkDocs before it looks for pages."""
    write_list()
    (FOLDER / "reference").mkdir(exist_ok=True)
    section = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    for module_name, module, names in public_names():
        path = f"keras_dup.{module_name}"
        blocks = [
            f"# `{path}`",
            inspect.getdoc(module),
            *(block(module, *item) for item in names.items()),
        ]
        (FOLDER / "reference" / f"{module_name}.md").write_text("\n\n".join(blocks) + "\n")
        section.append({path: f"reference/{module_name}.md"})
    return config


if __name__ == "__main__":
    write_list()
