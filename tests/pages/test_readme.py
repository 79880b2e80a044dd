"""What the README shows runs: its Python is executed, its commands exist."""

import pathlib
import re

import pytest

README = pathlib.Path("README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, *others = [text for language, text in BLOCKS if language == "python"]
    assert len(first.splitlines()) <= 25 and "model.fit(" in first
    for code in (first, *others):
        exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "served/shapes/1/saved_model.pb").exists()
    assert (tmp_path / "shapes.tflite").exists()


def test_the_commands_of_the_readme_exist():
    commands = "".join(text for language, text in BLOCKS if language == "sh")
    targets = re.findall(r"^(\w+):", pathlib.Path("Makefile").read_text(), re.M)
    assert set(re.findall(r"^make (\w+)", commands, re.M)) <= set(targets)
    for name in re.findall(r"training/recipes/\w+\.py", commands):
        assert pathlib.Path(name).exists()
    for name in re.findall(r"-m (training\.\w+)", commands):
        assert pathlib.Path(name.replace(".", "/") + ".py").exists()


def test_the_readme_names_every_file_of_the_flow_that_exists():
    for name in re.findall(r"`((?:keras_dup|training)/(?!runs)[\w/.]+)`", README):
        assert pathlib.Path(name).exists(), name


def test_the_benchmarks_that_are_named_exist():
    pages = README + pathlib.Path("research/benchmarks/RESULTS.md").read_text()
    names = set(re.findall(r"\bresearch/benchmarks/\w+\.(?:py|md)", pages))
    assert len(names) > 5
    for name in names:
        assert pathlib.Path(name).exists(), name


def test_the_figures_of_trainings_are_those_of_the_page():
    """All with two digits or more, in the sections that summarise research/RESULTS.md."""
    _, _, after = README.partition("**What each upsampling can reach**")
    summary, _, _ = after.partition("**Speed.**")
    page = pathlib.Path("research/RESULTS.md").read_text()
    figures = set(re.findall(r"\d+\.\d\d+", summary))
    assert len(figures) > 50 and figures <= set(re.findall(r"\d+\.\d\d+", page))
