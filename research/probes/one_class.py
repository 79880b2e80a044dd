"""Where the networks of a table of experiments find a class: by how much of a window it fills.

    python -m research.probes.one_class camvid_long bicyclist --seeds 0 1

Measures finished runs on val: recall, precision and IoU of the class, and its recall where it fills
up to 10, 25, 50, 75 and 100 % of a window of the output stride. Measures the same for the label
maps of val rebuilt by the W of a row, which its networks can hardly exceed. Writes
research/results/TABLE/class_NAME.json, with the share of the class in the pixels of train and val.
"""

import numpy as np

from keras_dup import evaluation, models, projection
from keras_dup.training import datasets, predictor, provenance
from research.experiments import tables
from research.experiments.runs import finished_run, parse, recipe_of
from research.files import write_json

FILLED = (0.1, 0.25, 0.5, 0.75, 1.0)


def filled(mask, ratio):
    """(H, W) -> (H, W): the share of each pixel's window, as far as it goes, that is True."""
    height, width = mask.shape
    edges = [(0, -side % ratio) for side in mask.shape]

    def sums(pixels):
        windows = np.pad(pixels, edges).astype(float)
        shape = windows.shape[0] // ratio, ratio, windows.shape[1] // ratio, ratio
        return windows.reshape(shape).sum((1, 3))

    shares = sums(mask) / sums(np.ones_like(mask))
    return np.kron(shares, np.ones((ratio, ratio)))[:height, :width]


def shares(dataset):
    """(classes,): the share of each class in the labelled pixels."""
    counts = sum(
        np.bincount(label_map.ravel(), minlength=256) for label_map in dataset.label_maps()
    )[: dataset.num_classes]
    return counts / counts.sum()


def measure(predict, dataset, k, ratio):
    """{what: number} of class k; `predict` gives the (H, W) ids of image i."""
    confusion, pixels, hits = 0, 0, 0
    for i in range(len(dataset)):
        labels, found = dataset.label_map(i), predict(i)
        confusion = confusion + evaluation.confusion(labels, found, dataset.num_classes)
        own = labels == k
        which = np.searchsorted(FILLED, filled(own, ratio)[own])
        pixels = pixels + np.bincount(which, minlength=len(FILLED))
        hits = hits + np.bincount(which, found[own] == k, minlength=len(FILLED))
    return {
        "recall": confusion[k, k] / confusion[k].sum(),
        "precision": confusion[k, k] / max(1, confusion[:, k].sum()),
        "iou": evaluation.ious(confusion)[k],
        "pixels": (pixels / pixels.sum()).tolist(),
        "recalls": [hit / all_ if all_ else None for hit, all_ in zip(hits, pixels, strict=True)],
    }


def main(arguments=None):
    arguments, command = parse(__doc__, "one_class", arguments, "class_name")
    found = []
    for row in arguments.rows:
        recipe = recipe_of(arguments.table, row)
        train, val = datasets(recipe)
        names = list(val.class_names)
        if arguments.class_name not in names:
            raise SystemExit(f"no class {arguments.class_name}; it is one of {', '.join(names)}")
        k = names.index(arguments.class_name)
        runs = [finished_run(arguments.table, row, seed) for seed in arguments.seeds]
        ways = [(seed, _network(run, val)) for seed, run in zip(arguments.seeds, runs, strict=True)]
        if (runs[0] / "projection.npz").exists():
            ways.append((None, _labels(runs[0], val)))  # W is that of every seed
        for seed, predict in ways:
            numbers = measure(predict, val, k, recipe.output_stride)
            found.append({"row": row, "seed": seed, **numbers})
            print(f"{row}, seed {seed}: recall {numbers['recall']:.3f}, IoU {numbers['iou']:.3f}")
    result = {"command": command, "class": arguments.class_name, "filled": FILLED}
    result["shares"] = {"train": shares(train)[k], "val": shares(val)[k]}
    path = tables.RESULTS / arguments.table / f"class_{arguments.class_name}.json"
    write_json({**result, "rows": found, "run": provenance()}, path)


def _network(run, val):
    predict = predictor(models.load(run / "model.keras"))
    return lambda i: predict(val.image(i))


def _labels(run, val):
    """The label maps through W."""
    fitted = projection.load(run / "projection.npz")

    def rebuilt(i):
        labels = val.label_map(i)
        height, width = labels.shape
        return fitted.reconstruct(fitted.compress(labels)).argmax(-1)[:height, :width]

    return rebuilt


if __name__ == "__main__":
    main()
