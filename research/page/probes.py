"""What the probes measured, as lines of Markdown: a function for each kind of file."""

import itertools
import statistics

from research.page.markdown import bounds, percent, table

MEASURED_ON = {  # research.probes.bootstrap --on
    "val": "val",
    "train": "the images they were trained on",
    "unseen": "val and the images of train that were left out",
}


def one_class(experiments, found):
    """A line per network, and one per W."""
    train, val = (f"{100 * found['shares'][split]:.1f} %" for split in ("train", "val"))
    lines = [
        f"Class {found['class']}, {train} of the pixels of train and {val} of those of val: IoU,"
        " recall and precision on val, and the recall of its pixels by how much of their window"
        " the class fills; in %:",
        "",
    ]
    columns = ["", "seed", "IoU", "recall", "precision"]
    columns += [f"to {100 * share:.0f} %" for share in found["filled"]]
    shares = [f"{100 * share:.0f}" for share in found["rows"][0]["pixels"]]
    rows = [["share of its pixels", "", "", "", "", *shares]]
    for one in found["rows"]:
        label = experiments.rows[one["row"]].label
        label, seed = (f"W of {label}", "") if one["seed"] is None else (label, one["seed"])
        cells = [f"{100 * one[key]:.1f}" for key in ("iou", "recall", "precision")]
        cells += ["" if share is None else f"{100 * share:.0f}" for share in one["recalls"]]
        rows.append([label, seed, *cells])
    return lines + table(columns, rows)


def priors(experiments, found):
    """A line per row, and the shares of the classes."""
    lines = [
        "mIoU where probabilities are divided by the shares of the classes in train to the power"
        " of tau, and these shares:",
        "",
    ]
    columns = ["", *(f"tau {numbers['tau']:g}" for numbers in found["rows"][0]["taus"])]
    rows = []
    for row in dict.fromkeys(one["row"] for one in found["rows"]):
        runs = [one["taus"] for one in found["rows"] if one["row"] == row]
        mious = [[numbers["miou"] for numbers in column] for column in zip(*runs, strict=True)]
        rows.append([experiments.rows[row].label, *map(percent, mious)])
    lines += [*table(columns, rows), ""]
    shares = [[name, *(f"{100 * x:.2f} %" for x in row)] for name, row in found["shares"].items()]
    return lines + table(["", *found["class_names"]], shares)


def edges(experiments, found):
    """Two lines per row: on val and on train."""
    distances = found["distances"]
    columns = [f"under {distances[0]}", *(f"{a} to {b}" for a, b in itertools.pairwise(distances))]
    columns.append(f"from {distances[-1]}")
    lines = [
        "Pixel accuracy by the distance to the nearest change of label (void is a label), in"
        " pixels, on val and on as many images of train; in %:",
        "",
    ]
    rows = []
    for split in ("train", "val"):
        pixels = next(one["pixels"] for one in found["rows"] if one["split"] == split)
        rows.append(["share of the pixels", split, *(f"{100 * share:.1f}" for share in pixels)])
    for row, split in dict.fromkeys((one["row"], one["split"]) for one in found["rows"]):
        runs = [
            one["accuracies"] for one in found["rows"] if (one["row"], one["split"]) == (row, split)
        ]
        means = [
            "" if None in column else f"{100 * statistics.mean(column):.1f}"
            for column in zip(*runs, strict=True)
        ]
        rows.append([experiments.rows[row].label, split, *means])
    return lines + table(["", "", *columns], rows)


def borders(experiments, found):
    """A line per row, and per row without its added codes; the label maps first."""
    blocks = found["rows"][0]["blocks"]
    columns = ["", "mIoU", f"mIoU under {found['width']} px", "mean boundary IoU"]
    columns += [f"on the grid of {one['ratio']}" for one in blocks]
    lines = [
        "mIoU on val, mIoU of the pixels near a change of label, mean boundary IoU, and the share"
        " of the predicted borders between labels that lie on a grid of pixels; chance gives"
        f" {' and '.join(percent([one['chance']]) for one in blocks)}:",
        "",
    ]
    rows = [["label maps", "", "", "", *(percent([one["truth"]]) for one in blocks)]]
    for row, added in dict.fromkeys((one["row"], one["added"]) for one in found["rows"]):
        runs = [one for one in found["rows"] if (one["row"], one["added"]) == (row, added)]
        label = experiments.rows[row].label + ("" if added else ", what W adds set to 0")
        cells = [percent([one[key] for one in runs]) for key in ("miou", "near", "boundary_iou")]
        shares = zip(*(one["blocks"] for one in runs), strict=True)
        shares = [[one["predicted"] for one in grid] for grid in shares]
        cells += ["" if None in grid else percent(grid) for grid in shares]  # no borders
        rows.append([label, *cells])
    return lines + table(columns, rows)


def features(experiments, found):
    """A line per network."""
    lines = [
        "What the mean of the encoder's last feature over an image knows of the shares of the"
        " classes in it, by a linear map:",
        "",
    ]
    rows = []
    for one in found["rows"]:
        label = experiments.rows[one["row"]].label if one["row"] else "before the training"
        rows.append([label, "" if one["seed"] is None else one["seed"], f"{one['r2']:.3f}"])
    return lines + table(["", "seed", "R2 on val"], rows)


def heads(experiments, found):
    """A line per kind of upsampling."""
    lines = [
        "Upsampling trained on ASPP's output of a network, which stays as it is: from one"
        f" feature or from 3 x 3, cross-entropy on {found['pictures']} images of train, mIoU and"
        " pixel accuracy on val:",
        "",
    ]
    rows = []
    for one in found["rows"]:
        cells = [experiments.rows[one["row"]].label, one["seed"], one["head"]]
        cells += [f"{one['size']} x {one['size']}", f"{one['loss']:.3f}"]
        rows.append([*cells, *_percents(one)])
    columns = ["ASPP of", "seed", "upsampling", "kernel", "cross-entropy", "mIoU"]
    return lines + table([*columns, "pixel accuracy"], rows)


def learning_curve(experiments, found):
    """A line per kind of upsampling and number of images."""
    lines = [
        "Interpolated scores without W and with it, from one feature, trained for"
        f" {found['steps']} steps on more and more images of train: cross-entropy on these and on"
        " val, mIoU and pixel accuracy on val:",
        "",
    ]
    rows = []
    for one in found["rows"]:
        cells = [experiments.rows[one["row"]].label, one["seed"], f"{one['pictures']:,}"]
        cells += [one["head"], *(f"{one[key]:.3f}" for key in ("loss", "val_loss"))]
        rows.append([*cells, *_percents(one)])
    columns = ["ASPP of", "seed", "images", "upsampling", "train", "val", "mIoU"]
    return lines + table([*columns, "pixel accuracy"], rows)


def _percents(one):
    return [f"{100 * one[key]:.2f} %" for key in ("miou", "pixel_accuracy")]


def bootstrap(experiments, found):
    """A line per run, then one per row of several seeds."""
    first = found["rows"][0]
    lines = [
        f"Networks on {MEASURED_ON[found['on']]}. Of {experiments.rows[first['row']].label}, seed"
        f" {first['seeds'][0]}, the scores; of the others by how many points they differ from it,"
        f" in brackets the bounds that 95 % of {found['draws']:,} draws of these images lie in;"
        " means over several seeds are compared with the mean over its seeds. Before them, in how"
        " many images each class occurs:",
        "",
    ]
    shown = [k for k, difference in enumerate(first["differences"]) if difference]
    if not experiments.subset:
        shown.remove(2)
    names = ["mIoU", "pixel accuracy", experiments.subset_name, *found["class_names"]]
    rows = []
    for split, images in found["pictures"].items():
        rows.append(
            [f"images of {split}", "", *(f"{images[k - 3]:,}" if k > 2 else "" for k in shown)]
        )
    for one in found["rows"]:
        of_first = one["row"] == first["row"] and not any(one["differences"][0])
        cells = [
            percent([one["scores"][k]]) if of_first else bounds(one["differences"][k])
            for k in shown
        ]
        label = experiments.rows[one["row"]].label
        rows.append([label, ", ".join(map(str, one["seeds"])), *cells])
    return lines + table(["", "seeds", *(names[k] for k in shown)], rows)


# files of a table's folder in research/results/, beside those of its runs
PROBES = {
    "class_*.json": one_class,
    "priors.json": priors,
    "edges.json": edges,
    "borders_*.json": borders,
    "probe.json": features,
    "heads.json": heads,
    "pictures.json": learning_curve,
    "bootstrap*.json": bootstrap,
}
