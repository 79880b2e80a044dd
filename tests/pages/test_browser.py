"""docs/browser.md: the label maps of the page, in Chromium, beside those of Keras.

With `--full-size`: the site is built, with npm.
"""

import base64
import functools
import http.server
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import types

import browser
import numpy as np
import pytest
from PIL import Image

from keras_dup import data, inference, models, pictures

ROOT = pathlib.Path(__file__).parents[2]
PHOTOGRAPHS = "cat", "astronaut", "coffee"
# the page dispatches what it found; bytes travel as base64
LISTEN = """
window.found = new Promise((done) => document.querySelector("#segmenter").addEventListener(
    "segmented", ({ detail }) => done(detail), { once: true })); 0
"""
FOUND = """
(async () => {
    const { error, height, width, labels, values } = await window.found;
    const text = (array) => Array.from(new Uint8Array(array.buffer), (b) => String.fromCharCode(b));
    return error ? { error } : { height, width,
        labels: btoa(text(labels).join("")), values: btoa(text(values).join("")) };
})()
"""


@pytest.fixture
def hook():
    spec = importlib.util.spec_from_file_location("make_browser", ROOT / "docs/make_browser.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("bad", ["", "offline"])
def test_without_npm_the_site_is_built_and_the_page_says_so(
    hook, bad, tmp_path, monkeypatch, capfd
):
    if bad:  # npm without its registry
        (tmp_path / "npm").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(hook, "MADE", tmp_path / "made")
    hook.on_post_build(types.SimpleNamespace(site_dir=tmp_path / "site"))
    assert "docs/browser.md is built without its network: " in capfd.readouterr().err
    assert not (tmp_path / "site").exists()
    page = (ROOT / "docs/browser.md").read_text()
    assert "<fieldset hidden>" in page and 'role="status">The network is not here.' in page


@pytest.fixture(scope="module")
def site(request, tmp_path_factory):
    """The address of a server of the whole documentation."""
    if not request.config.getoption("full_size"):
        pytest.skip("it builds the documentation and starts Chromium: see --full-size")
    for name, path in (("npm", shutil.which("npm")), ("Chromium", browser.chromium())):
        if path is None:
            pytest.skip(f"{name} is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("localhost", 0), functools.partial(Handler, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def page(site, tmp_path_factory):
    with browser.opened(tmp_path_factory.mktemp("profile")) as page:
        page.open(f"{site}/browser.html")
        yield page


def segmented(page, path):
    """(image that the network got, label map) of a file that is given to the page."""
    page.value(LISTEN)
    page.give_file("#segmenter input", path)
    found = page.value(FOUND)
    if "error" in found:
        raise ValueError(found["error"])
    size = found["height"], found["width"]
    values = np.frombuffer(base64.b64decode(found["values"]), np.float32)
    label_map = np.frombuffer(base64.b64decode(found["labels"]), np.uint8)
    return values.reshape(*size, 3), label_map.reshape(size)


def shown(page, size):
    """(H, W, 3) what the canvas has."""
    code = """
    (() => { const { data } = document.querySelector("#segmenter canvas").getContext("2d")
        .getImageData(0, 0, %d, %d);
        return btoa(Array.from(data, (b) => String.fromCharCode(b)).join("")); })()
    """
    found = np.frombuffer(base64.b64decode(page.value(code % (size[1], size[0]))), np.uint8)
    return found.reshape(*size, 4)[..., :3].astype(int)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_page_segments_a_photograph_as_keras_does(page, name):
    path = ROOT / f"docs/images/{name}.jpg"
    pixels, label_map = segmented(page, path)
    model = models.load("voc_animals")
    names, colours = models.class_names(model), model.colours
    assert np.abs(pixels - data.read_image(path)).max() <= 1  # two decoders of JPEG
    agreement = np.mean(label_map == inference.predict("voc_animals", path))
    print(f"{name}: {agreement:.4%} of {label_map.size} pixels as in Keras")
    assert agreement >= 0.999
    drawn = pictures.mixed(pixels.astype("uint8"), label_map, class_names=names, colours=colours)
    assert np.abs(shown(page, label_map.shape) - drawn.astype(int)).max() <= 1  # another rounding
    text = page.value("document.querySelector('#segmenter').innerText")
    assert f"{name}.jpg: {label_map.shape[1]} x {label_map.shape[0]} pixels" in text


def test_a_large_photograph_is_scaled_as_predict_scales(page, tmp_path):
    """Lossless, upright only by its EXIF data, and of sides that no factor divides."""
    image = Image.open(ROOT / "docs/images/cat.jpg").resize((1013, 701))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "large.png", exif=exif)
    pixels, label_map = segmented(page, tmp_path / "large.png")
    assert 0.98 * 2**18 < label_map.size <= 2**18
    expected = inference._resized(data.read_image(tmp_path / "large.png")[None], *label_map.shape)
    np.testing.assert_array_equal(pixels, expected[0])
    assert np.mean(label_map == inference.predict("voc_animals", expected[0])) >= 0.999


def test_a_file_that_is_no_image_gets_one_line(page, tmp_path):
    (tmp_path / "notes.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"notes\.jpg: this browser cannot read it"):
        segmented(page, tmp_path / "notes.jpg")


def test_nothing_is_uploaded_and_nothing_comes_from_elsewhere(page, site):
    assert len(page.requests) > 10
    for method, address in page.requests:
        assert method == "GET" and address.startswith((site, "data:", "blob:")), address
    about = json.loads(page.value("fetch('browser/network.json').then((found) => found.text())"))
    assert about["class_names"][0] == "background"
