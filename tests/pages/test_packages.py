"""Wheel and source archive: built, installed in a fresh environment, used from another folder."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

import keras_dup

ROOT = pathlib.Path(__file__).parents[2]
BUILD = "import sys, setuptools.build_meta as build; build.build_{}(sys.argv[1])"
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(*command, **options):
    """Runs a command to success. Returns its standard output."""
    done = subprocess.run(command, capture_output=True, text=True, **{"env": QUIET, **options})
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(kind, source, folder, **variables):
    """Builds "wheel" or "sdist" of a source folder. Returns the path of the one file made."""
    run(sys.executable, "-c", BUILD.format(kind), folder, cwd=source, env={**QUIET, **variables})
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the files of the repository: a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("source")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in listed.splitlines():
        if name.startswith(("research/", "tests/")) or not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def sdist(source, tmp_path_factory):
    return build("sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel as an installer makes it of the source archive."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin folder of a new environment that has the wheel; what it needs comes from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    present = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "present.pth").write_text("\n".join(present))
    python = folder / "bin/python"
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet")
    run(*pip, "--no-index", "--no-deps", "--force-reinstall", str(wheel))
    return python.parent


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        head, _, page = archive.read(name).decode().partition("\n\n")
    return head, page


@pytest.mark.slow
def test_the_wheel_has_every_package_the_models_and_the_marker_of_types(source, wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    code = {str(path.relative_to(source)) for path in source.glob("keras_dup/**/*.py")}
    code |= {"keras_dup/py.typed"}
    shipped = {
        f"keras_dup/saved_models/{path.name}"
        for ending in ("npz", "keras", "txt", "LICENSE")
        for path in source.glob(f"saved_models/*.{ending}")
    }
    assert code <= held and shipped <= held
    assert all(name.startswith(("keras_dup/", "keras_dup-")) for name in held)


@pytest.mark.slow
def test_the_metadata_says_licence_pythons_and_which_keras(wheel):
    head, page = metadata(wheel)
    assert "License-Expression: Apache-2.0" in head
    for minor in (11, 12, 13):
        assert f"Classifier: Programming Language :: Python :: 3.{minor}\n" in head + "\n"
    assert re.search(r"Requires-Dist: keras<3\.\d+,>=3\.\d+", head)
    assert not re.search(r"\]\((?!https?:|#)", page)  # no relative link: they break on an index


@pytest.mark.slow
def test_links_of_the_page_of_the_index_lead_to_the_repository_that_is_named(source, tmp_path):
    file = build("wheel", source, tmp_path, KERAS_DUP_URL="https://example.org/someone/keras-dup")
    head, page = metadata(file)
    assert "https://example.org/someone/keras-dup" in head
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page)
    assert pictures and all(path.startswith("https://example.org/") for path in pictures)
    for path in re.findall(r"https://example\.org/someone/keras-dup/\w+/v[\d.]+/([^)#]+)", page):
        assert (ROOT / path).exists(), path


@pytest.mark.slow
def test_an_installed_wheel_runs_what_the_readme_does_in_a_minute(installed, tmp_path):
    python = str(installed / "python")
    where = run(python, "-c", "import keras_dup; print(keras_dup.__file__)", cwd=tmp_path)
    assert where.startswith(str(installed.parent))
    version = run(str(installed / "keras-dup"), "--version", cwd=tmp_path)
    assert version == f"keras-dup {keras_dup.__version__}\n"
    code = """
import keras_dup
keras_dup.models.build("efficientnet_lite0", num_classes=2, decoder="bilinear", weights="imagenet")
"""
    run(python, "-c", code, cwd=tmp_path)
    shutil.copy(ROOT / "docs/images/cat.jpg", tmp_path / "photo.jpg")
    run(
        str(installed / "keras-dup"),
        "predict",
        "voc_animals",
        "photo.jpg",
        "-o",
        "out",
        cwd=tmp_path,
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "photo.png",
        "photo_overlay.png",
    }
