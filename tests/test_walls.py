"""Who may import whom: the table of CONTRIBUTING.md, read from the imports of every file."""

import ast
import importlib
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
ABOVE = "training", "research", "saved_models", "tests"  # the package knows none of these
BACKENDS = {"tensorflow", "jax", "torch", "tf2onnx", "tensorflow_datasets"}
WITH_TENSORFLOW = "data", "training", "export", "cli"
# at the top of a file: what JAX without TensorFlow never imports
TENSORFLOW_AT_TOP = {
    *(f"data/{name}.py" for name in ("_augment", "_effects", "_streams_tensorflow")),
    "data/_builders/contract.py",
    *(f"export/_{name}.py" for name in ("agreement", "encoded", "exchange", "mobile")),
    *(f"export/_{name}.py" for name in ("serving", "signatures")),
}
# inside a function, where the backend is TensorFlow already or a TensorFlow file is read
TENSORFLOW_ON_CALL = {"keras_dup/layers.py", "keras_dup/_loss_terms.py", "keras_dup/_deeplab.py"}
KERAS_IN_PROJECTION = {"_autoencoder.py", "_compression.py"}
STAGES = {  # part of the flow -> the parts of the flow that it may import
    "projection": {"projection", "label_maps", "whole", "layers"},
    "layers": {"layers", "edges"},
    "backbones": {"backbones", "layers", "keras_private"},
    "decoders": {"decoders", "layers", "backbones", "projection"},
}


def files(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path):
    """[(module, name or None, whether at the top of the file)] of a file."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, None, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found += [(node.module, alias.name, id(node) in top) for alias in node.names]
    return found


def roots(path):
    return {module.split(".")[0] for module, _, _ in imports(path)}


def parts(path):
    """The parts of the package that a file imports, without the underscore of inner ones."""
    found = set()
    for module, name, _ in imports(path):
        if module == "keras_dup":
            found.add(name.lstrip("_"))
        elif module.startswith("keras_dup."):
            found.add(module.split(".")[1].lstrip("_"))
    return found


def of(path):
    """The part of the package that a file of it belongs to."""
    return path.relative_to(ROOT / "keras_dup").parts[0].removesuffix(".py").lstrip("_")


def named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", files("keras_dup"), ids=named)
def test_the_package_knows_nothing_above_it_and_each_stage_its_ground_alone(path):
    assert not roots(path) & set(ABOVE)
    if of(path) in STAGES:
        assert parts(path) <= STAGES[of(path)]


@pytest.mark.parametrize("path", files("keras_dup"), ids=named)
def test_backends_are_imported_where_the_table_says(path):
    if of(path) == "jax":
        assert not roots(path) & BACKENDS - {"jax"}
        return
    at_top = {module.split(".")[0] for module, _, top in imports(path) if top}
    assert not at_top & BACKENDS or named(path).removeprefix("keras_dup/") in TENSORFLOW_AT_TOP
    if of(path) in WITH_TENSORFLOW:
        return
    if named(path) not in TENSORFLOW_ON_CALL:
        assert not roots(path) & BACKENDS
    if of(path) == "projection" and path.name not in KERAS_IN_PROJECTION:
        assert "keras" not in roots(path)


def private(path):
    """What a file imports of the package that is not public."""
    public = set(importlib.import_module("keras_dup").__all__)
    found = []
    for module, name, _ in imports(path):
        if module.split(".")[0] != "keras_dup":
            continue
        _, _, inside = module.partition(".")
        if not inside:  # import keras_dup, from keras_dup import NAME
            found += [name] if name and name not in public else []
        elif inside.split(".")[0] not in public or "." in inside:
            found.append(module)
        elif name and name not in importlib.import_module(module).__all__:
            found.append(f"{module}.{name}")
    return found


@pytest.mark.parametrize("path", files("training") + files("research"), ids=named)
def test_what_users_run_and_the_evidence_take_public_names_alone(path):
    assert not private(path)
    others = {"training": {"research", "tests"}, "research": {"training", "tests"}}
    assert not roots(path) & others[path.relative_to(ROOT).parts[0]]


def test_private_names_of_keras_are_in_one_file():
    """Attributes of Keras's own objects that begin with `_`, and keras.src."""
    names = {
        "_flatten_layers",
        "_inbound_nodes",
        "_keras_history",
        "_model_variables_moving_average",
        "_nodes_by_depth",
        "_run_through_graph",
    }
    found = set()
    for path in files("keras_dup") + files("training") + files("research"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        private_keras = any(module.startswith("keras.src") for module, _, _ in imports(path))
        if attributes & names or private_keras:
            found.add(named(path))
    assert found <= {"keras_dup/_keras_private.py"}


def lengths(path):
    """[(function, lines)] of a file; a docstring does not count."""
    functions = ast.FunctionDef, ast.AsyncFunctionDef
    return [
        (node.name, node.end_lineno - node.lineno + 1 - documented(node))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, functions)
    ]


def documented(function):
    """The lines of a docstring."""
    first = function.body[0]
    return first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0


FOLDERS = "keras_dup", "training", "research", "saved_models", "tests"


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_have_350_lines_and_functions_60_at_most(folder):
    for path in files(folder):
        assert len(path.read_text().splitlines()) <= 350, named(path)
        for function, lines in lengths(path):
            assert lines <= 60, f"{named(path)}: {function}"


def test_training_is_eight_files_beside_the_recipes():
    found = [path for path in files("training") if "recipes" not in path.parts]
    assert len([path for path in found if "runs" not in path.parts]) <= 8


def test_no_merge_is_left_half_done():
    command = ["git", "grep", "-l", "-E", "^(<{7}|>{7}) "]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == ""
