"""The page of an evaluation: everything in it, nothing outside it."""

import base64
import html.parser
import io

import numpy as np
import pytest
from PIL import Image

from keras_dup import evaluation
from keras_dup._report_page import report_page
from keras_dup.data import Shapes


class Page(html.parser.HTMLParser):
    """Tags that are open, attributes by tag, and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


class Named(Shapes):
    """Shapes with a class that a page must not take for markup."""

    class_names = ("<b>&\"ground'", *Shapes(1).class_names[1:])


def predict(image):
    """Only the ground, which is where it is bright."""
    return np.where(image.mean(-1) > 128, 0, 1).astype(np.uint8)


@pytest.fixture(scope="module")
def report():
    dataset = Named(5, (32, 40))
    return dataset, evaluation.evaluate(
        predict, dataset, verbose=False, warn=False, against=lambda image: predict(image) * 0
    )


def test_a_page_is_whole_and_needs_no_network(report):
    dataset, found = report
    plain = {key: value for key, value in found.items() if key not in ("against", "difference")}
    colours = [(1, 2, 3)] * 7
    text = report_page(plain, dataset, {"a/best.keras": predict}, colours, ["5 images"], count=2)
    page = Page(text)
    assert not page.open and "http" not in text and "<script" not in text
    images = [values["src"] for tag, values in page.attributes if tag == "img"]
    assert len(images) == 4 * 4  # two of the worst, two of the best: image, truth, found, wrong
    for address in images:
        kind, _, content = address.partition(",")
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(content))).size == (40, 32)
    words = " ".join(page.text)
    assert "Evaluation of a/best.keras" in words and "5 images" in words
    assert f"{100 * found['miou']:.2f} %" in words
    assert found["warnings"] and all(warning in words for warning in found["warnings"])
    assert all(name in words for name in dataset.class_names) and text.count("rgb(1,2,3)") == 7
    order = np.argsort([value for value in found["image_miou"]])
    places = [words.index(f"image {i}:") for i in (order[0], order[1], order[-1], order[-2])]
    assert places == sorted(places)
    (title,) = [v["title"] for t, v in page.attributes if "taken for" in v.get("title", "")][:1]
    share = np.array(found["confusion"])[0]
    assert title.endswith(f"{share[0]} pixels, {100 * share[0] / share.sum():.1f} %")


def test_a_page_compares_two_models(report):
    dataset, found = report
    predictors = {"one": predict, "two": lambda image: predict(image) * 0}
    page = Page(report_page(found, dataset, predictors, count=1))
    words, (value, low, high) = " ".join(page.text), found["difference"]["miou"]
    assert f"one minus two: {100 * value:+.2f} points of mIoU, {100 * low:+.2f} to" in words
    assert f"{100 * high:+.2f}" in words and "IoU of the other" in words
    assert sum(tag == "img" for tag, _ in page.attributes) == 2 * 6
