"""How good the networks of a table of experiments are at borders, and whether their windows show.

    python -m research.probes.borders camvid_features_long --rows thin_dupsampling --seeds 0 1 2

Measures finished runs on val: mIoU, mIoU of the pixels less than 4 pixels from a change of label,
mean boundary IoU, and how many borders lie on the grids of 4 and of 16 pixels. A network whose W is
added to interpolated scores is measured a second time with the added codes set to zero: with its
interpolated scores alone, as near as W rebuilds them. Writes
research/results/TABLE/borders_seedSEEDS.json.
"""

import numpy as np
from tqdm import tqdm

from keras_dup import evaluation, models
from keras_dup.training import datasets, predictor, provenance
from research.experiments import tables
from research.experiments.runs import finished_run, parse, recipe_of
from research.files import write_json

GRIDS = (4, 16)  # in pixels
WIDTH = 4  # in pixels: what is near a change of label


def without_added_codes(model):
    """Sets what a model adds to the codes of its interpolated scores to zero, -P mean.

    Returns False, without a change, for a model that adds nothing.
    """
    names = [layer.name for layer in model.layers]
    if "compressed_edges" not in names:
        return False
    w = model.get_layer("dupsampling")
    matrix, mean = np.squeeze(w.kernel, (0, 1)), np.asarray(w.bias)
    edges = model.get_layer("compressed_edges")
    edges.kernel.assign(np.zeros(edges.kernel.shape))
    edges.bias.assign(-np.linalg.pinv(matrix.T) @ mean)
    return True


def measure(predict, dataset):
    """The scores of a predictor, and by grid how many borders lie on it."""
    totals = [evaluation.Totals(dataset, (WIDTH,), True, GRIDS[0])]
    totals += [evaluation.Totals(dataset, (), False, grid) for grid in GRIDS[1:]]
    for i in tqdm(range(len(dataset)), unit=" images"):
        truth, found = dataset.label_map(i), predict(dataset.image(i))
        for one in totals:
            one.add(truth, found)
    first, *others = (one.report() for one in totals)
    return {
        "miou": first["miou"],
        "near": first["trimap_miou"][WIDTH],
        "boundary_iou": first["boundary_iou"]["mean"],
        "blocks": [one["blocks"] for one in (first, *others)],
    }


def main(arguments=None):
    arguments, command = parse(__doc__, "borders", arguments)
    found = []
    for row in arguments.rows:
        for seed in arguments.seeds:
            model = models.load(finished_run(arguments.table, row, seed) / "model.keras")
            _, val = datasets(recipe_of(arguments.table, row, seed))
            found.append(
                {"row": row, "seed": seed, "added": True, **measure(predictor(model), val)}
            )
            if without_added_codes(model):
                alone = measure(predictor(model), val)
                found.append({"row": row, "seed": seed, "added": False, **alone})
    result = {"command": command, "width": WIDTH, "rows": found, "run": provenance()}
    seeds = "-".join(map(str, arguments.seeds))
    write_json(result, tables.RESULTS / arguments.table / f"borders_seed{seeds}.json")


if __name__ == "__main__":
    main()
