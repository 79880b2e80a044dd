"""The pictures of RESULTS.md: curves of the runs, and what W adds by the number of images."""

import matplotlib.figure
import numpy as np

from research.page.probes import MEASURED_ON

PANELS = {"loss": "loss", "val_miou": "val mIoU", "temperature": "T"}


def draw_logs(table, logs, path):
    """Loss, mIoU on val and T over the steps: a line per run, one colour per row."""
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
    figure.savefig(path, dpi=100)


def draw_learning(changes, runs, path):
    """What `learning.probed` gives, a line per network, and beside it what `trained` gives."""
    figure = matplotlib.figure.Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, points in changes.items():
        left.plot(list(points), list(points.values()), ".-", label=name)
    left.set(xlabel="images that W is learned from", ylabel="change of cross-entropy on val")
    left.set(xscale="log", title="on the features of a bilinear network")
    left.set_yscale("symlog", linthresh=0.01)
    _draw_runs(right, runs)
    for axis in (left, right):
        axis.axhline(0, color="black", linewidth=0.8)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.25))
    figure.savefig(path, dpi=100, bbox_inches="tight")


def _draw_runs(axis, runs):
    """Points and bounds of the frequent classes, by the share of train and the steps."""
    trained = list(dict.fromkeys((one["share"], one["steps"]) for one in runs))
    for shift, (on, words) in zip((0, -0.1, 0.1), MEASURED_ON.items(), strict=True):
        points = [one for one in runs if one["on"] == on]
        places = [trained.index((one["share"], one["steps"])) + shift for one in points]
        middle, low, high = 100 * np.reshape([one["of the frequent"] for one in points], (-1, 3)).T
        bars = middle - low, high - middle
        axis.errorbar(places, middle, bars, fmt="o", capsize=3, label=f"on {words}")
    names = [f"{100 * share:g} %\n{steps:,} steps" for share, steps in trained]
    axis.set_xticks(range(len(trained)), names)
    axis.set(xlabel="of the animals' images", ylabel="points of the frequent classes")
    axis.set(
        xlim=(-0.5, max(len(trained), 1) - 0.5), title="DUpsampling beside bilinear, trained whole"
    )
