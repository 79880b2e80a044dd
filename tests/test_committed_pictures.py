"""Which pictures the repository holds: none shows a photograph of PASCAL VOC or CamVid.

Their terms allow research, not publishing. A picture that is added gets a line here, with what it
shows; photographs have to be free (CC0, public domain, CC BY).
"""

import fnmatch
import json
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PICTURES = {
    "research/results/*.png": "curves",
    "research/benchmarks/results/speed.png": "bars and curves",
    "docs/images/astronaut.jpg": "Eileen Collins, NASA, public domain",
    "docs/images/cat.jpg": "the cat Chelsea, Stéfan van der Walt, CC0",
    "docs/images/coffee.jpg": "a cup, Rachel Michetti, CC0",
    "docs/images/pareto.png": "mIoU against time",
    "docs/images/predictions.jpg": "predictions on the two above",
    "saved_models/voc2012_components.png": "rows of W, a matrix",
}
SUFFIXES = [".bmp", ".gif", ".jpeg", ".jpg", ".pdf", ".png", ".svg", ".tif", ".tiff", ".webp"]


def committed():
    command = ["git", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git repository")
    return done.stdout.split("\0")


def allowed(path):
    """fnmatch's `*` takes slashes too; here it stays within a folder."""
    return any(
        fnmatch.fnmatch(path, pattern) and path.count("/") == pattern.count("/")
        for pattern in PICTURES
    )


def test_every_committed_picture_is_listed_with_what_it_shows():
    pictures = [path for path in committed() if pathlib.Path(path).suffix.lower() in SUFFIXES]
    assert len(pictures) > 10
    assert [path for path in pictures if not allowed(path)] == []


def test_every_line_of_the_list_is_of_a_picture():
    paths = committed()
    for pattern in PICTURES:
        assert fnmatch.filter(paths, pattern), pattern


def test_a_picture_beside_the_runs_of_a_table_is_not_listed():
    assert allowed("research/results/shapes.png")
    assert not allowed("research/results/camvid_long/bilinear32-stride32.png")


def test_notebooks_show_the_shapes_that_the_package_draws():
    for path in committed():
        if path.endswith(".ipynb"):
            cells = json.loads((ROOT / path).read_text())["cells"]
            code = "".join("".join(cell["source"]) for cell in cells)
            assert "data.Shapes(" in code, path
