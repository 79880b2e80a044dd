"""The section of what W adds, by the number of images that it is learned from."""

import json

from research.experiments import tables
from research.experiments.runs import recipe_of
from research.page.markdown import bounds, table
from research.page.probes import MEASURED_ON

PROBED = """\
## What W adds, by the number of images it is learned from

By how much W beside interpolated scores changes the cross-entropy on val, on the features of a
trained bilinear network, which stay as they are: above 0 it costs, below it helps. From the tables
of `research.probes.learning_curve` above; the paper's ablations have 1464 images."""
TRAINED = """\
And networks trained whole, DUpsampling from the bilinear start: by how many points mIoU, the pixel
accuracy and the mean IoU of the frequent classes differ from bilinear's, means over the seeds of
both, on the images they were trained on and on others, and the bounds that 95 % of the draws of
these lie in. 1,350 steps over 12.5 % of train are as many passes as 10,800 over all of it, 2,025
over 50 % as many as 4,050. From the tables of `research.probes.bootstrap` above."""
SCORES = "mIoU", "pixel accuracy", "of the frequent"  # the first of a bootstrap's


def probed():
    """{"table, row_seed": {images: by how much W changes the loss on val}} of all probed."""
    losses = {}
    for path in sorted(tables.RESULTS.glob("*/pictures.json")):
        for one in json.loads(path.read_text())["rows"]:
            network = f"{path.parent.name}, {one['row']}_{one['seed']}"
            counts = losses.setdefault(network, {})
            counts.setdefault(one["pictures"], {})[one["head"]] = one["val_loss"]
    without, beside = "interpolated", "interpolated + W"
    return {
        network: {
            count: two[beside] - two[without]
            for count, two in sorted(counts.items())
            if len(two) == 2  # a probe may have been stopped between them
        }
        for network, counts in losses.items()
    }


def trained():
    """[{share of train, "steps", "on", "seeds", differences}], from `research.probes.bootstrap`.

    Of DUpsampling from the bilinear start, in tables that were measured on the images of train.
    """
    row, found = "interpolated32_fixed", []
    folders = [path.parent for path in tables.RESULTS.glob("*/bootstrap_train.json")]
    for path in sorted(file for folder in folders for file in folder.glob("bootstrap*.json")):
        measured = json.loads(path.read_text())
        ours = [one for one in measured["rows"] if one["row"] == row]
        if ours:
            seeds, differences = ours[-1]["seeds"], ours[-1]["differences"]  # the last: the mean
            recipe = recipe_of(path.parent.name, row)
            one = {"share": recipe.train_share, "steps": recipe.steps, "on": measured["on"]}
            found.append({**one, "seeds": seeds, **dict(zip(SCORES, differences, strict=False))})
    return sorted(found, key=lambda one: (one["share"], one["steps"], one["on"]))


def section(changes, runs):
    """The Markdown of what `probed` and `trained` give."""
    rows = [
        (network, f"{count:,}", f"{change:+.3f}")
        for network, points in changes.items()
        for count, change in points.items()
    ]
    lines = [PROBED, "", *table(["network", "images", "change"], rows)]
    if runs:
        columns = ["trained on", "steps", "measured on", "seeds", *SCORES]
        lines += ["", TRAINED, "", *table(columns, map(_cells, runs))]
    picture = "![What W changes over the number of images](results/pictures.png)"
    return "\n".join([*lines, "", picture, ""])


def _cells(one):
    cells = [f"{100 * one['share']:g} % of train", f"{one['steps']:,}", MEASURED_ON[one["on"]]]
    return [*cells, ", ".join(map(str, one["seeds"])), *(bounds(one[key], 2) for key in SCORES)]
