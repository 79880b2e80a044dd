"""The runs of a table: the command that trains a row, its result file, its recipe and its model."""

import argparse
import csv
import json
import shlex
import subprocess
import sys

from keras_dup import training
from research.experiments import tables
from research.files import write_json

UNUSED = ("image_miou", "confusion")  # long parts of a report that no page shows


def command(table, row, seed):
    """The words of the command that trains a row."""
    table = tables.TABLES[table]
    overrides = f"{table.overrides} {table.rows[row].overrides} seed={seed}".split()
    return ["python", "-m", "training.train", f"training/recipes/{table.recipe}.py", *overrides]


def origin(table, row):
    """The table and the row under which the runs of a row are kept."""
    return tables.TABLES[table].rows[row].runs or (table, row)


def recipe_of(table, row, seed=0):
    """The recipe of a row, with its overrides. Drawn shapes depend on the seed."""
    _, _, _, path, *overrides = command(table, row, seed)
    return training.load_recipe(tables.ROOT / path, overrides)


def train(table, row, seed):
    """Trains one row in a process of its own.

    Returns the path of its result, or None where the run was interrupted. A row with a result is
    not trained again.
    """
    table, row = origin(table, row)
    path = tables.RESULTS / table / f"{row}_{seed}.json"
    if path.exists():
        return path
    words, output = command(table, row, seed), tables.RUNS / table / f"{row}_{seed}"
    here = [sys.executable, *words[1:], "--output", str(output)]
    subprocess.run(here, check=True, cwd=tables.ROOT)
    if not (output / "report.json").exists():
        return None
    write_json(result(output, words), path)
    return path


def result(output, words):
    """What is kept of a finished run: command, recipe, machines, report and log."""
    report = json.loads((output / "report.json").read_text())
    return {
        "command": shlex.join(words),
        "recipe": json.loads((output / "recipe.json").read_text()),
        "runs": json.loads((output / "runs.json").read_text()),
        "report": {key: value for key, value in report.items() if key not in UNUSED},
        "log": log(output / "log.csv"),
    }


def log(path):
    """The rows of a run's log, {column: text} each."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def finished_run(table, row, seed):
    """The folder of a finished run, with its model and report; exits where there is none."""
    folder, name = origin(table, row)
    run = tables.RUNS / folder / f"{name}_{seed}"
    if not (run / "report.json").exists():
        words = f"python -m research.experiments {table} {row} --seeds {seed}"
        raise SystemExit(f"{run} holds no finished run; {words}")
    return run


def results(table):
    """{row: [its results, by seed]} of the rows that have any."""
    found = {}
    for row in tables.TABLES[table].rows:
        folder, name = origin(table, row)
        paths = sorted((tables.RESULTS / folder).glob(f"{name}_[0-9]*.json"))
        if paths:
            found[row] = [json.loads(path.read_text()) for path in paths]
    return found


def parse(doc, name, arguments, *positional):
    """Parses the arguments of a probe: a table, its rows and seeds.

    Returns the parsed arguments and the probe's command in words.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("table", choices=tables.TABLES)
    for argument in positional:
        parser.add_argument(argument)
    parser.add_argument("--rows", nargs="+", default=["bilinear32", "stride32"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parsed = parser.parse_args(arguments)
    words = ["python", "-m", f"research.probes.{name}", parsed.table]
    words += [getattr(parsed, argument) for argument in positional]
    words += ["--rows", *parsed.rows, "--seeds", *map(str, parsed.seeds)]
    return parsed, shlex.join(words)
