"""Every decoder at output stride 16: mIoU against time and multiply-adds, whole networks.

    python -m research.benchmarks.pareto [--size 512 512] [--runs 15] [--draw]

The rows are those of two tables of experiments that have several results, as they are deployed
(`export.fold`): image -> label map. All networks run in TensorFlow's graph mode and in LiteRT,
float32, in one process, interleaved, medians, on all cores. mIoU is the mean of a row's seeds on
val; of the animals that of the frequent classes. Weights are drawn at random: the time does not
depend on them. Writes results/pareto.json and draws docs/images/pareto.png. `--draw` measures no
time: it reads the mIoU of the rows anew, whose seeds may have become more, and draws.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from keras_dup import export, flops, training
from keras_dup.data import Shapes
from keras_dup.projection import LabelProjection
from research.benchmarks.machine import machine
from research.benchmarks.networks import disturbed
from research.benchmarks.speed import graph, interleaved, litert
from research.experiments import runs, tables

RESULTS = pathlib.Path(__file__).parent / "results"
TABLES = {"camvid_features_long": "CamVid, 2700 steps", "animals_decoders": "animals, 4050 steps"}
RUNTIMES = {"TensorFlow": graph, "LiteRT": litert}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[512, 512])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--draw", action="store_true", help="measure no time")
    arguments = parser.parse_args()
    path = RESULTS / "pareto.json"
    if arguments.draw:
        results = json.loads(path.read_text())
        for table, rows in results["rows"].items():
            found = runs.results(table)
            for row, figures in rows.items():
                figures["miou"] = [miou(table, result["report"]) for result in found[row]]
    else:
        results = measured(arguments.size, arguments.runs)
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(lines(results), results["machine"], sep="\n")
    draw(results).savefig(tables.ROOT / "docs/images/pareto.png", dpi=100)


def measured(size, repeats):
    """{"rows": {table: {row: its figures}}} of all rows with results."""
    image = tf.cast(Shapes(1, size).image(0), tf.float32)[None]
    rows, functions = {}, {}
    for table in TABLES:
        rows[table], found = {}, runs.results(table)
        for row, results in found.items() if len(found) > 1 else ():
            model = network(table, row)
            counts = flops.count(model, tuple(size))
            own = "" if results[0]["recipe"]["decoder"] == "bilinear" else "DUpsampling, "
            rows[table][row] = {
                "label": own + tables.TABLES[table].rows[row].label,
                "miou": [miou(table, result["report"]) for result in results],
                "multiply_adds": {"decoder": counts["decoder"], "total": counts["total"]},
            }
            folded = export.fold(disturbed(model))
            for name, runtime in RUNTIMES.items():
                run = runtime(lambda x, folded=folded: folded(x, training=False), image)
                functions[table, row, name] = run
    for (table, row, name), seconds in interleaved(functions, repeats).items():
        rows[table][row].setdefault("seconds", {})[name] = seconds
    return {"size": list(size), "rows": rows, "machine": machine("ai-edge-litert")}


def network(table, row):
    """The network of a row, weights at random, W too."""
    keras.utils.clear_session()
    recipe = dataclasses.replace(runs.recipe_of(table, row), weights=None)
    return training.build_network(recipe, drawn(recipe) if recipe.interpolated_scores else None)


def drawn(recipe):
    """A W with orthonormal rows, which the start of interpolated scores needs."""
    channels, size = recipe.channels, recipe.window_ratio**2 * recipe.num_classes
    rows = np.linalg.qr(np.random.default_rng(0).normal(size=(size, channels)))[0].T
    shares = np.full(channels, 1 / channels)
    return LabelProjection(
        rows, np.zeros(size), shares, recipe.num_classes, recipe.window_ratio, recipe.ignore_class
    )


def miou(table, report):
    """The mean IoU of a report over the table's subset of classes, or over all."""
    subset = tables.TABLES[table].subset
    return statistics.fmean(report["iou"][name] for name in subset) if subset else report["miou"]


def lines(results):
    """The results as a table in Markdown: a row a line."""
    columns = ["data", "decoder", "mIoU", "seeds", "decoder", "in all", *RUNTIMES]
    found = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for table, rows in results["rows"].items():
        for row in rows.values():
            low, high = min(row["miou"]), max(row["miou"])
            spread = f" ({100 * low:.2f} to {100 * high:.2f})" if high > low else ""
            cells = [
                TABLES[table],
                row["label"],
                f"{100 * statistics.fmean(row['miou']):.2f} %{spread}",
                f"{len(row['miou'])}",
                *(f"{count / 1e6:,.0f} M" for count in row["multiply_adds"].values()),
                *(f"{1000 * statistics.median(s):.1f} ms" for s in row["seconds"].values()),
            ]
            found.append(f"| {' | '.join(cells)} |")
    return "\n".join(found)


def draw(results):
    """A panel for each data set: mIoU against milliseconds in TensorFlow, a bar over the seeds."""
    shown = {table: rows for table, rows in results["rows"].items() if rows}
    figure = Figure(figsize=(5.5 * len(shown), 4.4), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (table, rows) in zip(panels, shown.items(), strict=True):
        for row in rows.values():
            seeds = [100 * value for value in row["miou"]]
            time = 1000 * statistics.median(row["seconds"]["TensorFlow"])
            mean = statistics.fmean(seeds)
            error = [[mean - min(seeds)], [max(seeds) - mean]]
            label = f"{row['label']}: {row['multiply_adds']['decoder'] / 1e6:,.0f} M"
            axes.errorbar(time, mean, error, fmt="o", capsize=4, label=label)
        size = " x ".join(map(str, results["size"]))
        of = tables.TABLES[table].subset_name
        measure = f"mean IoU {of} classes" if of else "mIoU"
        axes.set(xlabel=f"ms, image to label map, {size}", ylabel=f"{measure} on val, %")
        axes.set_title(f"{TABLES[table]}; multiply-adds of the decoder", fontsize=10)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    main()
