"""The page that says why the three sets of defaults differ has the values of the code."""

import inspect
import pathlib
import re

from keras_dup import _network, models, training
from keras_dup._cli.train import _DEFAULTS

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "training.md"


def test_the_page_of_defaults_has_the_values_of_the_code():
    table = PAGE.read_text().split("## Why defaults differ")[1].split("##")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", table, re.M)
    recipe = training.Recipe("default", 2)
    build = {k: p.default for k, p in inspect.signature(models.build).parameters.items()}
    build |= _network._DEFAULTS
    assert set(_DEFAULTS) - {"checkpoint_steps"} <= {name for name, *_ in rows}
    for name, of_build, of_recipe, of_command in rows:
        value = str(getattr(recipe, name) or False).replace("False", "none")
        assert of_recipe.strip("`").startswith(value) or of_recipe == str(getattr(recipe, name))
        if name in _DEFAULTS:
            assert of_command.strip("`").startswith(str(_DEFAULTS[name])), name
        if of_build != "-" and build[name] is not None:
            assert of_build.strip("`").startswith(str(build[name])), name
