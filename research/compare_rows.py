"""Draws where one row of a table of experiments does best and worst beside another one.

    python -m research.compare_rows camvid_long bilinear32 stride32

Takes the runs of `python -m research.experiments`, whose models lie in training/runs/, and the val
pictures at which the image mIoU of the second is furthest above the first's, and furthest below.
Writes research/results/TABLE/FIRST-SECOND.png, which research/RESULTS.md shows.
"""

import argparse
import json

import numpy as np

from keras_dup import models, pictures
from keras_dup.training import datasets, predictor
from research.experiments import RESULTS, TABLES, finished_run, recipe_of


def extremes(first, second, count):
    """The `count` pictures of the largest gains of `second`, and as many of its largest losses.

    Args: lists of the mIoU of each picture, None where all of it is void.
    """
    gains = [
        (b - a, i) for i, (a, b) in enumerate(zip(first, second, strict=True)) if a is not None
    ]
    order = [i for _, i in sorted(gains, reverse=True)]
    return [*order[:count], *order[max(count, len(order) - count) :]]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("rows", nargs=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=3, help="pictures of either kind")
    arguments = parser.parse_args(arguments)
    table, predictors, mious = TABLES[arguments.table], {}, []
    for row in arguments.rows:
        run = finished_run(arguments.table, row, arguments.seed)
        mious.append(json.loads((run / "report.json").read_text())["image_miou"])
        predictors[table.rows[row].label] = predictor(models.load(run / "model.keras"))
    _, val = datasets(recipe_of(arguments.table, arguments.rows[0], arguments.seed))
    chosen = extremes(*mious, arguments.count)
    picture = pictures.comparison(val, predictors, width=200, chosen=chosen)
    path = RESULTS / arguments.table / f"{'-'.join(arguments.rows)}.png"
    pictures.save(picture, path)
    differences = np.subtract(*[[miou[i] for i in chosen] for miou in reversed(mious)])
    print(path, "image mIoU:", ", ".join(f"{100 * d:+.1f}" for d in differences))


if __name__ == "__main__":
    main()
