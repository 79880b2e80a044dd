"""What label maps of the trials are worth: IoU, boundaries, and windows that show as blocks.

    python -m research.decoder_measure TRUTH.npz OUTPUT.json PREDICTIONS.npy ...

TRUTH.npz has "labels" (n, H, W) with void 255 and "sizes" (n, 2); a prediction (n, H, W) class ids.
"""

import concurrent.futures
import json
import pathlib
import sys

import numpy as np

from keras_dup.evaluation import confusion, distance_to_a_change, ious

__all__ = ["borders", "measure"]

GRIDS = (4, 8, 16)
DISTANCES = (2, 4, 8, 16)


def borders(label_map, grid, valid=None):
    """Counts: borders on the grid, all borders, pairs of neighbours on the grid, all pairs."""
    counts = np.zeros(4, np.int64)
    for axis in (0, 1):
        ids = np.moveaxis(label_map, axis, 0)
        change, pairs = ids[1:] != ids[:-1], np.ones((len(ids) - 1, ids.shape[1]), bool)
        if valid is not None:
            both = np.moveaxis(valid, axis, 0)
            pairs = both[1:] & both[:-1]
        on_grid = (np.arange(1, len(ids)) % grid == 0)[:, None] & pairs
        change = change & pairs
        counts += [(change & on_grid).sum(), change.sum(), on_grid.sum(), pairs.sum()]
    return counts


def measure(truths, sizes, predictions, classes):
    """A report as JSON of predictions (n, H, W) of one network."""
    total, trimaps = np.zeros((classes, classes), np.int64), {4: 0, 8: 0}
    hits, pixels = np.zeros((2, len(DISTANCES) + 1), np.int64)
    ours, theirs = ({grid: np.zeros(4, np.int64) for grid in GRIDS} for _ in range(2))
    for truth, (height, width), found in zip(truths, sizes, predictions, strict=True):
        truth, found = truth[:height, :width], found[:height, :width]
        total += confusion(truth, found, classes)
        distance = distance_to_a_change(truth)
        for band in trimaps:
            near = np.where(distance < band, truth, 255)
            trimaps[band] = trimaps[band] + confusion(near, found, classes)
        valid = truth != 255
        band = np.digitize(distance[valid], DISTANCES)
        pixels += np.bincount(band, minlength=len(pixels))
        hits += np.bincount(band[(found == truth)[valid]], minlength=len(pixels))
        for grid in GRIDS:
            ours[grid] += borders(found, grid)
            theirs[grid] += borders(truth, grid, valid)
    iou = ious(total)
    return {
        "miou": float(np.nanmean(iou)),
        "iou": [None if np.isnan(value) else float(value) for value in iou],
        "pixel_accuracy": float(np.trace(total) / total.sum()),
        "trimap_miou": {band: float(np.nanmean(ious(c))) for band, c in trimaps.items()},
        "distances": DISTANCES,
        "accuracy_by_distance": (hits / pixels).tolist(),
        "blocks": {grid: _over_chance(counts) for grid, counts in ours.items()},
        "blocks_of_truth": {grid: _over_chance(counts) for grid, counts in theirs.items()},
        "confusion": total.tolist(),
    }


def _over_chance(counts):
    on_grid, all_borders, pairs_on_grid, pairs = (int(count) for count in counts)
    share = on_grid / all_borders if all_borders else None
    return {"share": share, "chance": pairs_on_grid / pairs, "borders": all_borders}


def _one(arguments):
    path, truth, classes = arguments
    with np.load(truth) as file:
        labels, sizes = file["labels"], file["sizes"]
    predictions = np.load(path)[: len(labels)]
    return pathlib.Path(path).stem, measure(labels, sizes, predictions, classes)


def main(truth, classes, output, *paths):
    jobs = [(path, truth, int(classes)) for path in paths]
    with concurrent.futures.ProcessPoolExecutor(14) as pool:
        reports = dict(pool.map(_one, jobs))
    pathlib.Path(output).write_text(json.dumps(reports) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
