"""The tables of experiments: rows are recipes that parse, and a table is told in one sentence."""

import json
import re

import numpy as np
import pytest

from keras_dup import training
from research.experiments import __main__ as main
from research.experiments import runs, tables


def test_every_row_is_a_recipe_with_overrides_that_parse():
    for name, table in tables.TABLES.items():
        for row in table.rows:
            words = runs.command(name, row, seed=3)
            assert words[:3] == ["python", "-m", "training.train"]
            assert training.load_recipe(tables.ROOT / words[3], words[4:]).seed == 3


def test_every_table_says_what_it_is_in_one_sentence():
    for name, table in tables.TABLES.items():
        assert table.title and table.sentence.endswith("."), name
        assert not re.search(r"[.?!] [A-Z]", table.sentence), name
        labels = [row.label for row in table.rows.values()]
        assert len(set(labels)) == len(labels), name


def test_every_file_of_tables_is_read():
    folder = tables.ROOT / "research/experiments"
    assert {path.stem for path in folder.glob("*.toml")} == set(tables.FILES)


def test_rows_that_share_their_runs_are_the_same_recipe():
    shared = 0
    for name, table in tables.TABLES.items():
        for row in table.rows:
            origin = runs.origin(name, row)
            assert runs.recipe_of(name, row) == runs.recipe_of(*origin)
            shared += origin != (name, row)
    assert shared == 5


def test_every_result_is_of_a_row():
    rows = {runs.origin(name, row) for name, table in tables.TABLES.items() for row in table.rows}
    paths = [path for name in tables.TABLES for path in tables.RESULTS.glob(f"{name}/*_[0-9].json")]
    assert len(paths) > 100
    for path in paths:
        assert (path.parent.name, path.stem[:-2]) in rows, path


def test_the_weights_of_classes_are_those_of_their_shares():
    priors = json.loads((tables.RESULTS / "camvid_long/priors.json").read_text())
    shares = np.round(100 * np.array(priors["shares"]["train"]), 2)  # as the page prints them
    recipe = runs.recipe_of("camvid_weighted", "dupsampling")
    weights = (np.median(shares) / shares) ** 0.5
    np.testing.assert_allclose(recipe.class_weights, weights, atol=0.0051)  # two digits


def test_a_row_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit):
        main.main(["upper_bound", "stride64"])
    assert "upper_bound has no row stride64; bilinear32, stride32" in capsys.readouterr().err
