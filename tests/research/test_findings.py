"""The page of findings: short, its links are there, its figures are those of the results."""

import json
import pathlib
import re

import pytest

RESEARCH = pathlib.Path(__file__).parents[2] / "research"
PAGE = (RESEARCH / "FINDINGS.md").read_text()
RESULTS = "RESULTS.md", "benchmarks/RESULTS.md", "../saved_models/README.md"


def test_it_is_one_page_with_the_conclusion_first():
    assert len(PAGE.splitlines()) <= 120
    assert PAGE.splitlines()[2].startswith("**In short.**")


@pytest.mark.parametrize("name", ["FINDINGS.md", *RESULTS[:2]])
def test_what_a_page_links_is_there(name):
    page = RESEARCH / name
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert links
    for link in links:
        assert (page.parent / link).exists(), link


def of_trials():
    """mIoU and shares of borders of the decoders on frozen features, in %."""
    shares = set()
    for path in (RESEARCH / "results/decoders_frozen").glob("*.json"):
        found = json.loads(path.read_text())
        shares |= {found["miou"], found["blocks"]["4"]["share"]}
        shares.add(found["blocks_of_truth"]["4"]["share"])
    return {f"{100 * share:.2f}" for share in shares}


def test_its_figures_are_those_of_the_results():
    """With two digits after the point, and milliseconds; the card of W has four digits."""
    known = "".join((RESEARCH / name).read_text() for name in RESULTS)
    numbers = set(re.findall(r"\d+\.\d\d+|\d+(?= ms)", known))
    numbers |= {f"{float(x):.2f}" for x in numbers if "." in x} | of_trials()
    found = set(re.findall(r"\d+\.\d\d+|\d+(?= ms)", PAGE))
    assert len(found) > 80 and found <= numbers, found - numbers
