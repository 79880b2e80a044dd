"""What README.md and docs/ show is right: Python runs, commands parse, files and figures exist."""

import argparse
import contextlib
import importlib.util
import json
import pathlib
import re
import shlex
import shutil
import statistics
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_dup import _cli, data

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]


def blocks(page, language):
    """The texts of the code blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


def named(page):
    return page.relative_to(ROOT).as_posix()


# {folder of masks: (ending, what is saved of a label map of 7 classes with void)}
_MASKS = {
    "binary_masks": (".png", lambda label_map: (label_map == 0).astype("uint8") * 255),
    "masks_from_1": (".png", lambda label_map: label_map + np.uint8(1)),
    "masks_without_void": (".png", lambda label_map: label_map % np.uint8(7)),
    "colour_masks": (".png", lambda label_map: data.palette()[label_map]),
    "numpy_masks": (".npy", lambda label_map: label_map),
    "tiff_masks": (".tif", lambda label_map: label_map),
    "webp_masks": (".webp", lambda label_map: label_map),
    "named_masks": ("_mask.png", lambda label_map: label_map),
    "jpeg_masks": (".jpg", lambda label_map: (label_map == 0).astype("uint8") * 255),
}


@pytest.fixture(scope="module")
def example_files(tmp_path_factory):
    """A folder as the pages suppose it: photo.jpg, images/, masks/, and masks of other kinds."""
    folder = tmp_path_factory.mktemp("user")
    shutil.copy(ROOT / "docs/images/cat.jpg", folder / "photo.jpg")
    parts = "images", "masks", "converted", "nested/images/part", "nested/masks/part"
    drawn, colours = data.Shapes(10, size=(96, 96)), data.palette()
    for name in (*parts, *_MASKS):
        (folder / name).mkdir(parents=True)
    for i in range(len(drawn)):
        label_map = drawn.label_map(i)
        Image.fromarray(drawn.image(i)).save(folder / f"images/{i}.jpg")
        Image.fromarray(drawn.image(i)).save(folder / f"nested/images/part/{i}.jpg")
        for place in (f"masks/{i}", f"nested/masks/part/{i}"):
            data.save_label_map(folder / f"{place}.png", label_map)
        for name, (ending, make) in _MASKS.items():
            made = make(label_map)
            if ending == ".npy":
                np.save(folder / f"{name}/{i}.npy", made)
            else:
                Image.fromarray(made).save(folder / f"{name}/{i}{ending}", lossless=True)
    lines = [
        f"{name} {r} {g} {b}"
        for name, (r, g, b) in zip(drawn.class_names, colours.tolist(), strict=False)
    ]
    (folder / "colours.txt").write_text("\n".join([*lines, "void 224 224 192"]))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON, ids=named)
def test_the_python_of_a_page_runs_from_its_first_line_to_its_last(
    page, example_files, tmp_path, monkeypatch
):
    if page.name == "beam.md":
        pytest.importorskip("apache_beam", reason="the extra beam has an environment of its own")
    shutil.copytree(example_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    found = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="build: no projection is given")
        for code in blocks(page, "python"):
            exec(compile(code, named(page), "exec"), found)


def test_the_readme_gets_from_masks_to_a_trained_model_in_25_lines():
    (code,) = [code for code in blocks(ROOT / "README.md", "python") if "model.fit(" in code]
    assert len(code.splitlines()) <= 25 and "projection.fit(" in code


def commands(page):
    """The command lines of a page, as lists of arguments, without comments."""
    for text in blocks(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


class Parsed(Exception):
    """The command line was understood."""


@pytest.fixture
def only_parsed(monkeypatch):
    """Ends `keras-dup` once its command line is parsed."""
    parse = argparse.ArgumentParser.parse_args

    def parse_args(self, *arguments):
        parse(self, *arguments)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_commands_of_a_page_exist_and_take_their_options(page, only_parsed):
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    for program, *arguments in commands(page):
        if program == "keras-dup":
            with contextlib.suppress(Parsed):
                _cli.main(arguments)
                pytest.fail(f"{arguments} did not reach the parser")
        elif program == "python":
            assert arguments[0] == "-m"
            assert importlib.util.find_spec(arguments[1]), arguments
        elif program == "make":
            assert set(arguments) <= set(targets)
        else:
            assert program in ("pip", "docker"), program


def test_a_command_with_an_unknown_option_is_seen(only_parsed):
    with pytest.raises(SystemExit):
        _cli.main(["predict", "voc_animals", "photo.jpg", "-o", "out", "--no-such-option"])


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=named)
def test_the_files_that_a_page_names_exist(page):
    text = page.read_text()
    names = re.findall(r"`((?:keras_dup|training|research|saved_models|tests|docs)/[\w/.]*)`", text)
    names += re.findall(r"training/recipes/\w+\.py", text)
    for name in names:
        assert (ROOT / name).exists(), name
    if page.parent == ROOT:  # MkDocs checks the links of the others
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (ROOT / link).exists(), link


def test_a_link_to_a_heading_that_is_not_there_fails_the_build(tmp_path, monkeypatch):
    """With the options of `make docs`: warnings that --quiet hides would not count."""
    mkdocs = pytest.importorskip("mkdocs.__main__", reason="extra docs is not installed")
    options = re.search(r"mkdocs build (.*)", (ROOT / "Makefile").read_text()).group(1).split()
    _, _, validation = (ROOT / "mkdocs.yml").read_text().partition("\nvalidation:")
    (tmp_path / "mkdocs.yml").write_text(f"site_name: a\nvalidation:{validation}")
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    for heading, status in (("# There", 0), ("# Elsewhere", 1)):
        (tmp_path / "docs/index.md").write_text(f"{heading}\n[link](#there)\n")
        with pytest.raises(SystemExit) as stopped:
            mkdocs.cli(["build", *options])
        assert stopped.value.code == status


def test_every_picture_of_the_documentation_has_its_source_and_licence():
    card = (ROOT / "docs/images/README.md").read_text()
    endings = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".svg"}
    found = [path for path in (ROOT / "docs").rglob("*") if path.suffix.lower() in endings]
    assert len(found) >= 3
    for path in found:
        assert f"| `{path.name}` |" in card, path


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 180 and len(text.encode()) <= 10_000


def printed(evidence):
    """Figures with two decimals, and the times of a benchmark as milliseconds."""
    text = "".join((ROOT / path).read_text() for path in evidence)
    speed, pareto = (
        json.loads((ROOT / f"research/benchmarks/results/{name}.json").read_text())
        for name in ("speed", "pareto")
    )
    runs = [found for networks in speed["seconds"].values() for found in networks.values()]
    for rows in pareto["rows"].values():
        runs += [seconds for row in rows.values() for seconds in row["seconds"].values()]
    times = {str(round(1000 * statistics.median(seconds))) for seconds in runs}
    return set(re.findall(r"\d+\.\d\d+(?= %)", text)) | times


def test_the_figures_of_the_pages_are_those_of_the_evidence():
    known = printed(["research/RESULTS.md", "saved_models/README.md"])
    page = (ROOT / "docs/results.md").read_text()
    decoders, _, formats = page.partition("\n## Formats")  # formats: printed by keras-dup export
    shown = set(re.findall(r"\d+\.\d\d+(?= %)|\d+(?= ms)", decoders))
    assert len(shown) > 10 and shown <= known
    shown = re.findall(r"\d+\.\d\d+(?= %)|\d+(?= ms)", (ROOT / "README.md").read_text())
    known |= set(re.findall(r"\d+(?= ms)", formats))
    assert len(shown) > 5 and set(shown) <= known
