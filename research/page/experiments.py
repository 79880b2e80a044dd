"""The section of a table of experiments: scores, classes, curves, probes, commands."""

import json
import statistics

from research.experiments import tables
from research.page.markdown import command, percent, table, where
from research.page.probes import PROBES


def section(name, found):
    """The Markdown of a table; `found` is `research.experiments.runs.results` of it."""
    experiments = tables.TABLES[name]
    some = next(iter(found.values()))[0]
    size = " x ".join(map(str, some["recipe"]["crop_size"]))
    lines = [f"## {experiments.title}", "", experiments.sentence, ""]
    lines += scores(experiments, found)
    lines += ["", f"Decoder, whole: multiply-adds in millions at {size}. IoU by class, in %:", ""]
    lines += [*classes(experiments, found), ""]
    lines += on_the_way(experiments, found)
    if logged(found):
        lines += [f"![Loss, mIoU and T over the steps](results/{name}.png)", ""]
    commands = [_command(name, row, runs) for row, runs in found.items()]
    places = sorted({where(run["runs"]) for runs in found.values() for run in runs})
    for pattern, write in PROBES.items():
        for path in sorted((tables.RESULTS / name).glob(pattern)):
            measured = json.loads(path.read_text())
            lines += [*write(experiments, measured), ""]
            commands.append(command(measured["command"]))
            places.append(f"{where([measured['run']])}: {path.stem}")
    return "\n".join([*lines, "```sh", *commands, "```", "", *places, ""])


def scores(experiments, found):
    """The lines of a table of mIoU, costs and steps, a line per row."""
    columns = ["", "mIoU", *([experiments.subset_name] if experiments.subset else []), "seeds"]
    columns += ["paper", "pixel accuracy", "T", "decoder", "whole", "steps"]
    return table(columns, (_scores(experiments, row, runs) for row, runs in found.items()))


def _scores(experiments, row, runs):
    row, reports = experiments.rows[row], [run["report"] for run in runs]
    temperatures = (report["temperature"] for report in reports if "temperature" in report)
    return [
        row.label,
        percent([report["miou"] for report in reports]),
        *_of_subset(experiments, reports),
        len(runs),
        f"{row.paper:.2f} %" if row.paper else "",
        percent([report["pixel_accuracy"] for report in reports]),
        ", ".join(f"{x:.3f}" for x in temperatures),
        *_millions(reports[0]["multiply_adds"]),
        f"{reports[0]['steps']:,}",
    ]


def _of_subset(experiments, reports):
    """The mean IoU of a table's subset of classes, where it names one."""
    ious = [[report["iou"][name] for name in experiments.subset] for report in reports]
    return [percent([statistics.mean(several) for several in ious])] if experiments.subset else []


def _millions(counts):
    """Of the decoder and of the whole; empty where a network has layers that cannot be counted."""
    return [f"{counts[part] / 1e6:,.1f}" if counts else "" for part in ("decoder", "total")]


def classes(experiments, found):
    """The lines of a table of the IoU of each class, means over the seeds."""
    ious = {row: [run["report"]["iou"] for run in runs] for row, runs in found.items()}
    names = [name for name, iou in next(iter(ious.values()))[0].items() if iou is not None]
    rows = []
    for row, several in ious.items():
        means = [100 * statistics.mean(iou[name] or 0 for iou in several) for name in names]
        rows.append([experiments.rows[row].label, *(f"{mean:.0f}" for mean in means)])
    return table(["", *names], rows)


def on_the_way(experiments, found):
    """The lines of a table of mIoU on val at a quarter, half and three quarters of the run."""
    scores = {}  # {step: {row: mIoU of each seed}}
    for row, log in logged(found):
        for line in log[:-1]:
            if line.get("val_miou"):
                by_row = scores.setdefault(int(line["step"]), {})
                by_row.setdefault(row, []).append(float(line["val_miou"]))
    steps = sorted(scores)
    chosen = sorted({steps[len(steps) * k // 4] for k in (1, 2, 3)}) if steps else []
    if not chosen:
        return []
    rows = [
        [experiments.rows[row].label]
        + [percent(scores[step][row]) if row in scores[step] else "" for step in chosen]
        for row in found
        if any(row in scores[step] for step in chosen)
    ]
    columns = ["", *(f"{step:,} steps" for step in chosen)]
    return ["mIoU on val on the way:", "", *table(columns, rows), ""]


def logged(found):
    """[(row, log)] of the runs that were validated more than once: their curves."""
    logs = [(row, run["log"]) for row, runs in found.items() for run in runs]
    return [(row, log) for row, log in logs if len(log) > 1]


def _command(name, row, runs):
    seeds = " ".join(str(run["recipe"]["seed"]) for run in runs)
    return f"python -m research.experiments {name} {row} --seeds {seeds}"


def not_run(found):
    """The section of the rows without a result; `found` has the results of every table."""
    lines = ["## Not run", "", "Rows that have no result yet, by the command that makes it:", ""]
    for name, experiments in tables.TABLES.items():
        missing = [row for row in experiments.rows if row not in found[name]]
        if missing:
            words = f"python -m research.experiments {name} {' '.join(missing)}"
            lines.append(f"- {experiments.title}: `{words}`")
    return "\n".join([*lines, ""])
