"""How far from an edge of the labels the networks of a table of experiments go wrong.

    python -m research.edges camvid_features --rows none b2u2c3 vanilla --seeds 0

Takes the runs of `python -m research.experiments`, whose models lie in training/runs/: their pixel
accuracy by the distance to the nearest change of label, void being a label, on val and on as many
pictures of train: what a network gets wrong there too it has not learned, what it gets wrong on val
alone it learned by heart. Writes research/results/TABLE/edges.json, which research/RESULTS.md
shows.
"""

import numpy as np
from tqdm import tqdm

from keras_dup import models
from keras_dup.data import VOID
from keras_dup.evaluation import distance_to_a_change
from keras_dup.training import datasets, predictor, provenance
from keras_dup.whole import write_json
from research.experiments import RESULTS, finished_run, parse, recipe_of

DISTANCES = (2, 4, 8, 16)  # in pixels: below each, then all that is further away


def measure(predict, pictures, chosen):
    """{"pixels": their shares, "accuracies": by distance} on the pictures `chosen`, by number."""
    pixels, hits = (np.zeros(len(DISTANCES) + 1, np.int64) for _ in range(2))
    for i in tqdm(chosen, unit=" images"):
        truth, found = pictures.label_map(i), predict(pictures.image(i))
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
            for split, pictures in splits.items():
                numbers = measure(predict, *pictures)
                found.append({"row": row, "seed": seed, "split": split, **numbers})
                print(row, seed, split, *(_percent(x) for x in numbers["accuracies"]), flush=True)
    result = {"command": command, "distances": DISTANCES, "rows": found, "run": provenance()}
    path = RESULTS / arguments.table / "edges.json"
    write_json(result, path)
    print(path)


def _percent(share):
    return "-" if share is None else f"{100 * share:.2f} %"


if __name__ == "__main__":
    main()
