"""The notebooks run in a fresh kernel, and what is stored in them is fit to be read."""

import re

import nbclient
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import keras_dup
from training.notebooks import run as run_notebooks

NOTEBOOKS = sorted(run_notebooks.FOLDER.glob("*.ipynb"))
MOST_BYTES = 500_000
# paths, colours and overwritten lines of terminals, bars, warnings
SPAM = re.compile(r"(^|[\s'\"(])(/|[A-Z]:\\)\w|[\r\b\x1b]|it/s|%\|| ━|Warning:|WARNING")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def check(notebook):
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    for output in outputs:
        assert output.output_type != "error" and output.get("name") != "stderr", output
        data = output.get("data", {})
        assert data.keys() <= {"text/plain", "image/png"}
        for text in (output.get("text", ""), data.get("text/plain", "")):
            assert not SPAM.search(text), text


@each_notebook
def test_the_stored_outputs_are_small_in_order_and_clean(path):
    assert path.stat().st_size < MOST_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    check(notebook)
    assert all(re.fullmatch(r"[a-z_]+", cell.id) for cell in notebook.cells)  # stay in a diff


@each_notebook
def test_a_notebook_takes_public_names_alone(path):
    code = "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code")
    imported = re.findall(r"^(?:from|import) (keras_dup\S*)(?: import (.*))?", code, re.M)
    assert imported
    for module, names in imported:
        assert module == "keras_dup" and set(names.split(", ")) <= set(keras_dup.__all__)


@pytest.mark.slow
@each_notebook
def test_a_notebook_runs(path):
    stored = path.read_bytes()
    notebook = run_notebooks.run(path, STEPS=2, IMAGES=48)
    for cell in notebook.cells:  # networks of two steps are warned about
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if ": UserWarning: " not in o.get("text", "")]
    check(notebook)
    assert path.read_bytes() == stored


def write(path, *cells):
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), path)
    return path


def test_an_error_in_a_cell_is_an_error(tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="no such thing"):
        run_notebooks.run(write(tmp_path / "a.ipynb", "raise ValueError('no such thing')"))


def test_a_run_is_in_an_empty_folder_and_keeps_warnings(tmp_path):
    first = "import os, sys, tempfile, warnings\nSTEPS = 300  # a note\nwarnings.warn('two')"
    second = "print(STEPS, os.listdir(), tempfile.gettempdir() == os.getcwd())"
    third = "print('I0000 00:00:17.2 3 port.cc:153] oneDNN is on', file=sys.stderr)"
    path = write(tmp_path / "a.ipynb", first, second, third)
    cells = run_notebooks.run(path, STEPS=7).cells
    assert "UserWarning: two" in cells[0].outputs[0].text
    assert cells[1].outputs[0].text == "7 [] True\n"
    assert cells[2].outputs == []


def test_a_parameter_has_to_be_set_once_in_the_first_code_cell(tmp_path):
    path = write(tmp_path / "a.ipynb", "x = 1", "STEPS = 3")
    with pytest.raises(ValueError, match="STEPS is set 0 times"):
        run_notebooks.run(path, STEPS=2)
