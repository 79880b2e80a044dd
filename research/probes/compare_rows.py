"""Draws where one row of a table of experiments does best and worst beside another one.

    python -m research.probes.compare_rows camvid_long bilinear32 stride32

Draws the images of val on which the second row's mIoU is furthest above the first's, and those on
which it is furthest below. Writes training/runs/TABLE/FIRST-SECOND.png, which git ignores: the
photographs of CamVid and PASCAL VOC may not be published.
"""

import argparse
import json

import numpy as np

from keras_dup import models, pictures
from keras_dup.training import datasets, predictor
from research.experiments import tables
from research.experiments.runs import finished_run, recipe_of


def extremes(first, second, count):
    """Indices of the `count` largest gains of `second`, and of as many of its largest losses.

    Args: lists of the mIoU of each image, None where all of it is void.
    """
    gains = [
        (b - a, i) for i, (a, b) in enumerate(zip(first, second, strict=True)) if a is not None
    ]
    order = [i for _, i in sorted(gains, reverse=True)]
    return [*order[:count], *order[max(count, len(order) - count) :]]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=tables.TABLES)
    parser.add_argument("rows", nargs=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=3, help="images of either kind")
    arguments = parser.parse_args(arguments)
    table, predictors, mious = tables.TABLES[arguments.table], {}, []
    for row in arguments.rows:
        run = finished_run(arguments.table, row, arguments.seed)
        mious.append(json.loads((run / "report.json").read_text())["image_miou"])
        predictors[table.rows[row].label] = predictor(models.load(run / "model.keras"))
    _, val = datasets(recipe_of(arguments.table, arguments.rows[0], arguments.seed))
    chosen = extremes(*mious, arguments.count)
    picture = pictures.comparison(val, predictors, width=200, chosen=chosen)
    path = tables.RUNS / arguments.table / f"{'-'.join(arguments.rows)}.png"
    picture.save(path)
    differences = np.subtract(*[[miou[i] for i in chosen] for miou in reversed(mious)])
    print(path, "image mIoU:", ", ".join(f"{100 * d:+.1f}" for d in differences))


if __name__ == "__main__":
    main()
