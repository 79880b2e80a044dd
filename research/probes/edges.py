"""How far from an edge of the labels the networks of a table of experiments go wrong.

    python -m research.probes.edges camvid_features --rows none b2u2c3 vanilla --seeds 0

Measures the pixel accuracy of finished runs by the distance to the nearest change of label (void
is a label), on val and on as many images of train. What a network gets wrong on both it has not
learned; what it gets wrong on val alone it knows by heart. Writes
research/results/TABLE/edges.json.
"""

import numpy as np
from tqdm import tqdm

from keras_dup import models
from keras_dup.data import VOID
from keras_dup.evaluation import distance_to_a_change
from keras_dup.training import datasets, predictor, provenance
from research.experiments import tables
from research.experiments.runs import finished_run, parse, recipe_of
from research.files import write_json

DISTANCES = (2, 4, 8, 16)  # in pixels: below each, then all that is further away


def measure(predict, dataset, chosen):
    """{"pixels": their shares, "accuracies": by distance} on the images `chosen`, by index."""
    pixels, hits = (np.zeros(len(DISTANCES) + 1, np.int64) for _ in range(2))
    for i in tqdm(chosen, unit=" images"):
        truth, found = dataset.label_map(i), predict(dataset.image(i))
        labelled = truth != VOID
        band = np.digitize(distance_to_a_change(truth)[labelled], DISTANCES)
        right = (found == truth)[labelled]
        pixels += np.bincount(band, minlength=len(pixels))
        hits += np.bincount(band[right], minlength=len(pixels))
    accuracies = [hit / all_ if all_ else None for hit, all_ in zip(hits, pixels, strict=True)]
    return {"pixels": (pixels / pixels.sum()).tolist(), "accuracies": accuracies}


def main(arguments=None):
    arguments, command = parse(__doc__, "edges", arguments)
    found = []
    for row in arguments.rows:
        for seed in arguments.seeds:
            run = finished_run(arguments.table, row, seed)
            predict = predictor(models.load(run / "model.keras"))
            train, val = datasets(recipe_of(arguments.table, row, seed))
            step = max(1, len(train) // len(val))
            splits = {
                "train": (train, range(0, len(train), step)[: len(val)]),
                "val": (val, range(len(val))),
            }
            for split, images in splits.items():
                numbers = measure(predict, *images)
                found.append({"row": row, "seed": seed, "split": split, **numbers})
                print(row, seed, split, *(_percent(x) for x in numbers["accuracies"]), flush=True)
    result = {"command": command, "distances": DISTANCES, "rows": found, "run": provenance()}
    path = tables.RESULTS / arguments.table / "edges.json"
    write_json(result, path)


def _percent(share):
    return "-" if share is None else f"{100 * share:.2f} %"


if __name__ == "__main__":
    main()
