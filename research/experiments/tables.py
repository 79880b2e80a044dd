"""The tables of experiments, read from the TOML files of this folder.

A file holds several tables, a table holds one row per network:

    [NAME]                       # also the folder in research/results/
    title = "..."
    sentence = "..."             # what is compared, and what came of it
    recipe = "..."               # of training/recipes/
    overrides = "key=value ..."  # of the recipe, for every row
    subset = ["cat", ...]        # optional: classes whose mean IoU stands beside mIoU,
    subset_name = "..."          #   and the title of that column

    [NAME.rows]
    ROW = { label = "...", overrides = "key=value ...", paper = 70.77, runs = ["TABLE", "ROW"] }

`paper` is the paper's mIoU. A row with `runs` is trained once, as that row of that table.
"""

import dataclasses
import pathlib
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "research/results"
RUNS = ROOT / "training/runs"  # models and reports, ignored by git
FILES = ("label_maps", "camvid", "animals", "shapes")


@dataclasses.dataclass(frozen=True)
class Row:
    """One network."""

    label: str
    overrides: str = ""
    paper: float | None = None
    runs: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Networks to compare, everything else equal."""

    title: str
    sentence: str
    recipe: str
    overrides: str
    rows: dict[str, Row]
    subset: tuple[str, ...] = ()
    subset_name: str = ""


def read(path):
    """{name: Table} of a TOML file."""
    tables = {}
    for name, table in tomllib.loads(path.read_text()).items():
        rows = {key: Row(**_tuples(row)) for key, row in table.pop("rows").items()}
        tables[name] = Table(rows=rows, **_tuples(table))
    return tables


def _tuples(fields):
    return {key: tuple(x) if isinstance(x, list) else x for key, x in fields.items()}


TABLES = {}
for name in FILES:
    TABLES |= read(pathlib.Path(__file__).with_name(f"{name}.toml"))
