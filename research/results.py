"""Writes research/RESULTS.md and its pictures from research/results/: `python -m research.results`.

Nothing in that page is typed by hand but the words of `research.experiments.TABLES`.
"""

import itertools
import json
import statistics

import numpy as np

from keras_dup.whole import writing
from research.experiments import RESULTS, TABLES, origin, recipe_of

PAGE = RESULTS.parent / "RESULTS.md"
PEER = RESULTS / "peer.json"  # of research.peer
BOUNDS = RESULTS / "label_bounds.json"  # of research.label_bounds
PANELS = {"loss": "loss", "val_miou": "val mIoU", "temperature": "T"}
HEAD = """# Results

Written by `python -m research.results` from the files in `research/results/`, of which each has the
command, the recipe, commit, versions, machine and log of one run. mIoU is over the classes that
occur, at the size of the pictures, on all pictures of val, after the last step. With several seeds:
the mean, and lowest to highest. "Paper" is what the paper has for its own networks and data. Of the
animals of VOC seven classes are frequent; the other nine are in 1 to 11 pictures of val each, so
that their IoU, and with it mIoU, hangs on few pictures; the mean of the seven stands beside it.
"""

BOUNDS_TEXT = """\
Val label maps brought down and up again, mIoU and IoU by class in %: by the label in the middle of
each window, by the shares of the classes in it, interpolated, and by W, fitted to the label maps of
train, as the paper has it and with `class_balance=0.25`. No bound in the strict sense: scores need
not be shares."""
PICTURES_TEXT = """\
## What W adds, by the number of pictures it is learned from

By how much W beside interpolated scores changes the cross-entropy on val, on the features of a
trained bilinear network, which stay as they are: above 0 it costs, below it helps. From the tables
of `research.picture_probe` above; the paper trains on 10,582 pictures."""
SEEN_TEXT = """\
And networks trained whole, DUpsampling from the bilinear start: by how many points mIoU, the pixel
accuracy and the mean IoU of the frequent classes differ from bilinear's, means over the seeds of
both, on the pictures they were trained on and on others, and the bounds that 95 % of the draws of
these lie in. 1,350 steps over 12.5 % of train are as many passes as 10,800 over all of it, 2,025
over 50 % as many as 4,050. From the tables of `research.bootstrap` above."""
SCORES = "mIoU", "pixel accuracy", "of the frequent"  # the first of research.bootstrap's
MEASURED_ON = {  # research.bootstrap --on
    "val": "val",
    "train": "the pictures they were trained on",
    "unseen": "val and the pictures of train that were left out",
}
RAMPS_TEXT = """\
How much W holds, in %, of scores of a class that rise linearly over a window, which is what
bilinear interpolation adds to constant ones (`LabelProjection.class_ramps`):"""


def main():
    sections = [HEAD]
    for name, table in TABLES.items():
        found = results(name)
        if found:
            if logs := logged(found):
                draw(table, logs, RESULTS / f"{name}.png")
            sections.append(section(name, table, found))
    if changes := pictures_probed():
        seen = seen_and_unseen()
        draw_pictures(changes, seen, RESULTS / "pictures.png")
        sections.append(learned_from(changes, seen))
    sections += [write() for path, write in ((BOUNDS, label_bounds), (PEER, peer)) if path.exists()]
    sections.append(not_run())
    with writing(PAGE) as path:
        path.write_text("\n".join(sections))
    print(PAGE)


def results(table):
    """{name of the row: [what `research.experiments.run` wrote, by seed]} of the rows that ran."""
    found = {}
    for row in TABLES[table].rows:
        folder, name = origin(table, row)
        paths = sorted((RESULTS / folder).glob(f"{name}_[0-9]*.json"))
        if paths:
            found[row] = [json.loads(path.read_text()) for path in paths]
    return found


def not_run():
    """The rows of all tables that no file is of."""
    lines = ["## Not run", "", "Rows that have no result yet, by the command that makes it:", ""]
    for name, table in TABLES.items():
        found = results(name)
        missing = [row for row in table.rows if row not in found]
        if missing:
            command = f"python -m research.experiments {name} {' '.join(missing)}"
            lines.append(f"- {table.title}: `{command}`")
    return "\n".join([*lines, ""])


def logged(found):
    """[(row, log)] of the runs of `results` that were validated more than once: their curves."""
    logs = [(row, run["log"]) for row, runs in found.items() for run in runs]
    return [(row, log) for row, log in logs if len(log) > 1]


def label_bounds():
    """What `research.label_bounds` measured."""
    found = json.loads(BOUNDS.read_text())
    lines = ["## What the stride leaves of the labels", "", BOUNDS_TEXT]
    lines += _by_class(found["rows"], "mIoU")
    lines += ["", RAMPS_TEXT, *_by_class(found["ramps"], "mean")]
    lines += ["", "```sh", found["command"], "```", "", _where({"runs": [found["run"]]}), ""]
    return "\n".join(lines)


def _by_class(rows, mean):
    """A table for each of the photograph sets: numbers by class, without those that are None."""
    lines, names = [], None
    for row, numbers in rows.items():
        numbers = {name: x for name, x in numbers.items() if x is not None}
        if names != list(numbers):
            names = list(numbers)
            lines += ["", f"| | {mean} | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
        cells = [f"{100 * x:.1f}" for x in (statistics.mean(numbers.values()), *numbers.values())]
        lines.append(f"| {' | '.join([row, *cells])} |")
    return lines


def peer():
    """What `research.peer` measured."""
    found = json.loads(PEER.read_text())
    lines = ["## The model of the package beside a trained peer", ""]
    lines += ["Pictures of animals of PASCAL VOC 2012 val; the peer, DeepLabv3 on MobileNetV2 in 8"]
    lines += ["bits, was trained on more pictures, in which all classes occur.", ""]
    lines += ["| | mIoU | pixel accuracy | cat | cow | dog | horse | person | sheep |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for name, row in found["rows"].items():
        animals = (row["iou"][k] for k in ("cat", "cow", "dog", "horse", "person", "sheep"))
        cells = [f"{100 * x:.2f} %" for x in (row["miou"], row["pixel_accuracy"], *animals)]
        lines.append(f"| {' | '.join([name, *cells])} |")
    lines += ["", "```sh", found["command"], "```", "", _where({"runs": [found["run"]]}), ""]
    return "\n".join(lines)


def section(name, table, found):
    """A table of the page, in Markdown."""
    lines = [f"## {table.title}", "", *([table.text, ""] if table.text else [])]
    columns = ["mIoU", *([table.subset_name] if table.subset else []), "seeds", "paper"]
    columns += ["pixel accuracy", "T", "decoder", "whole", "steps"]
    lines += [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [_line(table, row, runs) for row, runs in found.items()]
    some = next(iter(found.values()))[0]
    size = " x ".join(map(str, some["recipe"]["crop_size"]))
    lines += ["", f"Decoder, whole: multiply-adds in millions at {size}. IoU by class, in %:", ""]
    lines += _classes(table, found)
    lines.append("")
    if logged(found):
        lines += [f"![Loss, mIoU and T over the steps](results/{name}.png)", ""]
    pairs = [path.stem.split("-") for path in sorted((RESULTS / name).glob("*.png"))]
    for pair in pairs:
        lines += [f"![{' beside '.join(pair)}](results/{name}/{'-'.join(pair)}.png)", ""]
        lines += ["First where the right one gains most, then where it loses most.", ""]
    commands, places = [], []
    for pattern, write in MEASURED.items():
        for path in sorted((RESULTS / name).glob(pattern)):
            measured = json.loads(path.read_text())
            lines += [*write(table, measured), ""]
            commands.append(measured["command"])
            places.append(f"{_where({'runs': [measured['run']]})}: {path.stem}")
    lines.append("```sh")
    for row, runs in found.items():
        seeds = " ".join(str(run["recipe"]["seed"]) for run in runs)
        lines.append(f"python -m research.experiments {name} {row} --seeds {seeds}")
    lines += [f"python -m research.compare_rows {name} {' '.join(pair)}" for pair in pairs]
    lines += commands
    where = sorted({_where(run) for runs in found.values() for run in runs})
    return "\n".join([*lines, "```", "", *where, *places, ""])


def _line(table, row, runs):
    row, reports = table.rows[row], [run["report"] for run in runs]
    cells = [
        row.label,
        _percent([report["miou"] for report in reports]),
        *_of_subset(table, reports),
        str(len(runs)),
        f"{row.paper:.2f} %" if row.paper else "",
        _percent([report["pixel_accuracy"] for report in reports]),
        ", ".join(f"{report['temperature']:.3f}" for report in reports if "temperature" in report),
        *_millions(reports[0]["multiply_adds"]),
        f"{reports[0]['steps']:,}",
    ]
    return f"| {' | '.join(cells)} |"


def _of_subset(table, reports):
    """The mean IoU of a table's subset of classes, where it names one."""
    ious = [[report["iou"][name] for name in table.subset] for report in reports]
    return [_percent([statistics.mean(several) for several in ious])] if table.subset else []


def _millions(counts):
    """Of the decoder and of the whole; empty where a network has layers that cannot be counted."""
    return [f"{counts[part] / 1e6:,.1f}" if counts else "" for part in ("decoder", "total")]


def _classes(table, found):
    """The IoU of each class, a line a row of the table."""
    ious = {row: [run["report"]["iou"] for run in runs] for row, runs in found.items()}
    names = [name for name, iou in next(iter(ious.values()))[0].items() if iou is not None]
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for row, several in ious.items():
        means = [100 * statistics.mean(iou[name] or 0 for iou in several) for name in names]
        lines.append(f"| {table.rows[row].label} | {' | '.join(f'{m:.0f}' for m in means)} |")
    return lines


def _one_class(table, found):
    """What `research.one_class` measured, a line a network or W."""
    columns = [f"to {100 * share:.0f} %" for share in found["filled"]]
    shares = " | ".join(f"{100 * share:.0f}" for share in found["rows"][0]["pixels"])
    train, val = (f"{100 * found['shares'][split]:.1f} %" for split in ("train", "val"))
    lines = [
        f"Class {found['class']}, {train} of the pixels of train and {val} of those of val: IoU,"
    ]
    lines += [
        "recall and precision on val, and the recall of its pixels by how much of their window"
    ]
    lines += ["it fills; in %:", ""]
    lines += [f"| | seed | IoU | recall | precision | {' | '.join(columns)} |"]
    lines += ["|---" * (len(columns) + 5) + "|", f"| share of its pixels | | | | | {shares} |"]
    for one in found["rows"]:
        label = table.rows[one["row"]].label
        label, seed = (f"W of {label}", "") if one["seed"] is None else (label, one["seed"])
        cells = [100 * one[key] for key in ("iou", "recall", "precision")]
        cells = [f"{cell:.1f}" for cell in cells]
        cells += ["" if share is None else f"{100 * share:.0f}" for share in one["recalls"]]
        lines.append(f"| {' | '.join([label, str(seed), *cells])} |")
    return lines


def _priors(table, found):
    """What `research.class_priors` measured, a line a row of the table, and the shares."""
    taus = [numbers["tau"] for numbers in found["rows"][0]["taus"]]
    lines = [
        "mIoU where probabilities are divided by the shares of the classes in train to the power"
    ]
    lines += ["of tau, and these shares:", ""]
    lines += [f"| | {' | '.join(f'tau {tau:g}' for tau in taus)} |"]
    lines += ["|---" * (len(taus) + 1) + "|"]
    for row in dict.fromkeys(one["row"] for one in found["rows"]):
        runs = [one["taus"] for one in found["rows"] if one["row"] == row]
        cells = [
            _percent([numbers["miou"] for numbers in column]) for column in zip(*runs, strict=True)
        ]
        lines.append(f"| {' | '.join([table.rows[row].label, *cells])} |")
    lines += ["", f"| | {' | '.join(found['class_names'])} |"]
    lines += ["|---" * (len(found["class_names"]) + 1) + "|"]
    for split, shares in found["shares"].items():
        cells = [f"{100 * share:.2f} %" for share in shares]
        lines.append(f"| {' | '.join([split, *cells])} |")
    return lines


def _edges(table, found):
    """What `research.edges` measured, two lines a row of the table."""
    distances = found["distances"]
    columns = [f"under {distances[0]}", *(f"{a} to {b}" for a, b in itertools.pairwise(distances))]
    columns.append(f"from {distances[-1]}")
    lines = [
        "Pixel accuracy by the distance to the nearest change of label, void being a label, in"
    ]
    lines += ["pixels, on val and on as many pictures of train; in %:", ""]
    lines += [f"| | | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for split in ("train", "val"):
        pixels = next(one["pixels"] for one in found["rows"] if one["split"] == split)
        shares = " | ".join(f"{100 * share:.1f}" for share in pixels)
        lines.append(f"| share of the pixels | {split} | {shares} |")
    for row, split in dict.fromkeys((one["row"], one["split"]) for one in found["rows"]):
        runs = [
            one["accuracies"] for one in found["rows"] if (one["row"], one["split"]) == (row, split)
        ]
        means = [
            "" if None in column else f"{100 * statistics.mean(column):.1f}"
            for column in zip(*runs, strict=True)
        ]
        lines.append(f"| {' | '.join([table.rows[row].label, split, *means])} |")
    return lines


def _probe(table, found):
    """What `research.feature_probe` measured, a line a network."""
    lines = ["What the mean of the encoder's last feature over a picture knows of the shares of"]
    lines += ["the classes in it, by a linear map:", ""]
    lines += ["| | seed | R2 on val |", "|---|---|---|"]
    for one in found["rows"]:
        label = table.rows[one["row"]].label if one["row"] else "before the training"
        seed = "" if one["seed"] is None else one["seed"]
        lines.append(f"| {label} | {seed} | {one['r2']:.3f} |")
    return lines


def _heads(table, found):
    """What `research.head_probe` measured, a line a head."""
    lines = [
        "Upsampling trained on what ASPP of a network gives, which stays as it is: from a feature"
    ]
    lines += [
        f"alone or from 3 x 3, cross-entropy on {found['pictures']} pictures of train, mIoU and"
    ]
    lines += ["pixel accuracy on val:", ""]
    lines += ["| ASPP of | seed | upsampling | kernel | cross-entropy | mIoU | pixel accuracy |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for one in found["rows"]:
        cells = [table.rows[one["row"]].label, str(one["seed"]), one["head"]]
        cells += [f"{one['size']} x {one['size']}", f"{one['loss']:.3f}"]
        cells += [f"{100 * one[key]:.2f} %" for key in ("miou", "pixel_accuracy")]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _pictures(table, found):
    """What `research.picture_probe` measured, a line a head."""
    lines = ["Interpolated scores without W and with it, from a feature alone, trained for"]
    lines += [f"{found['steps']} steps on more and more pictures of train, cross-entropy on these"]
    lines += ["and on val, mIoU and pixel accuracy on val:", ""]
    lines += ["| ASPP of | seed | pictures | upsampling | train | val | mIoU | pixel accuracy |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for one in found["rows"]:
        cells = [table.rows[one["row"]].label, str(one["seed"]), f"{one['pictures']:,}"]
        cells += [one["head"], *(f"{one[key]:.3f}" for key in ("loss", "val_loss"))]
        cells += [f"{100 * one[key]:.2f} %" for key in ("miou", "pixel_accuracy")]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def pictures_probed():
    """{"table, row_seed": {pictures: by how much W changes the loss on val}} of all probed."""
    losses = {}
    for path in sorted(RESULTS.glob("*/pictures.json")):
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


def seen_and_unseen():
    """[{share of train, "steps", "on", "seeds", differences}], from `research.bootstrap`.

    Of DUpsampling that started as bilinear, in tables that were measured on the pictures of train.
    """
    row, found = "interpolated32_fixed", []
    folders = [path.parent for path in RESULTS.glob("*/bootstrap_train.json")]
    for path in sorted(file for folder in folders for file in folder.glob("bootstrap*.json")):
        measured = json.loads(path.read_text())
        ours = [one for one in measured["rows"] if one["row"] == row]
        if ours:
            seeds, differences = ours[-1]["seeds"], ours[-1]["differences"]  # the last: the mean
            recipe = recipe_of(path.parent.name, row)
            one = {"share": recipe.train_share, "steps": recipe.steps, "on": measured["on"]}
            found.append({**one, "seeds": seeds, **dict(zip(SCORES, differences, strict=False))})
    return sorted(found, key=lambda one: (one["share"], one["steps"], one["on"]))


def learned_from(changes, seen):
    """The section of what `pictures_probed` and `seen_and_unseen` give."""
    lines = [PICTURES_TEXT, "", "| network | pictures | change |", "|---|---|---|"]
    for network, points in changes.items():
        lines += [f"| {network} | {count:,} | {change:+.3f} |" for count, change in points.items()]
    if seen:
        lines += ["", SEEN_TEXT, ""]
        lines += [f"| trained on | steps | measured on | seeds | {' | '.join(SCORES)} |"]
        lines += ["|---" * (4 + len(SCORES)) + "|"]
    for one in seen:
        cells = [f"{100 * one['share']:g} % of train", f"{one['steps']:,}", MEASURED_ON[one["on"]]]
        cells += [", ".join(map(str, one["seeds"])), *(_bounds(one[key], 2) for key in SCORES)]
        lines.append(f"| {' | '.join(cells)} |")
    picture = "![What W changes over the number of pictures](results/pictures.png)"
    return "\n".join([*lines, "", picture, ""])


def draw_pictures(changes, seen, path):
    """What `pictures_probed` gives, a line a network, and beside it what `seen_and_unseen` does."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(11, 4.4), layout="constrained")
    probed, whole = figure.subplots(1, 2)
    for name, points in changes.items():
        probed.plot(list(points), list(points.values()), ".-", label=name)
    probed.set(xlabel="pictures that W is learned from", ylabel="change of cross-entropy on val")
    probed.set(xscale="log", title="on the features of a bilinear network")
    probed.set_yscale("symlog", linthresh=0.01)
    trained = list(dict.fromkeys((one["share"], one["steps"]) for one in seen))
    for shift, (on, words) in zip((0, -0.1, 0.1), MEASURED_ON.items(), strict=True):
        points = [one for one in seen if one["on"] == on]
        places = [trained.index((one["share"], one["steps"])) + shift for one in points]
        middle, low, high = 100 * np.reshape([one["of the frequent"] for one in points], (-1, 3)).T
        bars = middle - low, high - middle
        whole.errorbar(places, middle, bars, fmt="o", capsize=3, label=f"on {words}")
    names = [f"{100 * share:g} %\n{steps:,} steps" for share, steps in trained]
    whole.set_xticks(range(len(trained)), names)
    whole.set(xlabel="of the animals' pictures", ylabel="points of the frequent classes")
    whole.set(xlim=(-0.5, len(trained) - 0.5), title="DUpsampling beside bilinear, trained whole")
    for axis in (probed, whole):
        axis.axhline(0, color="black", linewidth=0.8)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.25))
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=100, bbox_inches="tight")


def _bootstrap(table, found):
    """What `research.bootstrap` measured: a line a run, then one a row of several seeds."""
    first = found["rows"][0]
    lines = [f"Networks on {MEASURED_ON[found['on']]}: of {table.rows[first['row']].label}, seed"]
    lines += [f"{first['seeds'][0]}, the scores, of the others by how many points they differ"]
    lines += [f"from it, in brackets the bounds that 95 % of {found['draws']:,} draws of these"]
    lines += ["pictures lie in; means of several seeds beside the mean of its seeds. Before them"]
    lines += ["in how many pictures each class occurs:", ""]
    columns = [k for k, difference in enumerate(first["differences"]) if difference]
    if not table.subset:
        columns.remove(2)
    names = ["mIoU", "pixel accuracy", table.subset_name, *found["class_names"]]
    lines += [f"| | seeds | {' | '.join(names[k] for k in columns)} |"]
    lines += ["|---" * (len(columns) + 2) + "|"]
    for split, pictures in found["pictures"].items():
        cells = [f"{pictures[k - 3]:,}" if k > 2 else "" for k in columns]
        lines.append(f"| pictures of {split} | | {' | '.join(cells)} |")
    for one in found["rows"]:
        of_first = one["row"] == first["row"] and not any(one["differences"][0])
        cells = [
            _percent([one["scores"][k]]) if of_first else _bounds(one["differences"][k])
            for k in columns
        ]
        seeds = ", ".join(map(str, one["seeds"]))
        lines.append(f"| {' | '.join([table.rows[one['row']].label, seeds, *cells])} |")
    return lines


def _bounds(difference, digits=1):
    """A difference and its bounds, in points."""
    middle, low, high = (f"{100 * x:+.{digits}f}" for x in difference)
    return f"{middle} ({low} to {high})"


# files of a table's folder in research/results/, beside those of its runs
MEASURED = {
    "class_*.json": _one_class,
    "priors.json": _priors,
    "edges.json": _edges,
    "probe.json": _probe,
    "heads.json": _heads,
    "pictures.json": _pictures,
    "bootstrap*.json": _bootstrap,
}


def _percent(values):
    text = f"{100 * statistics.mean(values):.2f} %"
    if len(values) > 1:
        text += f" ({100 * min(values):.2f} to {100 * max(values):.2f})"
    return text


def _where(run):
    start = run["runs"][-1]
    versions = start["versions"]
    commits = dict.fromkeys(one["commit"][:7] for one in run["runs"])
    processors = dict.fromkeys(one["processor"] for one in run["runs"])
    return (
        f"- {', then '.join(processors)}; Keras {versions['keras']} on {start['backend']} "
        f"{versions[start['backend']]}; commit {', then '.join(commits)}"
    )


def draw(table, logs, path):
    """Loss, mIoU on val and T over the steps, a line a run, those of a row in one colour."""
    import matplotlib.figure

    rows = dict.fromkeys(row for row, _ in logs)
    panels = [panel for panel in PANELS if any(log[-1].get(panel) for _, log in logs)]
    size = 4.5 * len(panels), 3.6 + 0.1 * len(rows)  # the names stand below, in two columns
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    colours = {row: f"C{i}" for i, row in enumerate(rows)}
    for axis, panel in zip(axes, panels, strict=True):
        named = set()
        for row, log in logs:
            points = [(int(line["step"]), float(line[panel])) for line in log if line.get(panel)]
            if points:
                label = None if row in named else table.rows[row].label
                axis.plot(*zip(*points, strict=True), ".-", color=colours[row], label=label)
                named.add(row)
        axis.set(xlabel="step", ylabel=PANELS[panel])
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    names = axes[min(1, len(panels) - 1)].get_legend_handles_labels()
    figure.legend(*names, loc="outside lower center", ncols=2, fontsize="small")
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=100)


if __name__ == "__main__":
    main()
