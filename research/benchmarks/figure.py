"""Draws results/speed.png and prints the tables: `python -m research.benchmarks.figure`.

Reads from results/ what `speed`, `training_peers` and `training_step` wrote.
"""

import json
import pathlib
import statistics

from matplotlib.figure import Figure

from research.benchmarks.speed import table

RESULTS = pathlib.Path(__file__).parent / "results"


def main():
    speed, peers, training = (
        json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("speed", "training_peers", "training_step")
    )
    print(table(speed), speed["machine"], sep="\n")
    figure = Figure(figsize=(12, 9), layout="constrained")
    (left, middle), (below, right) = figure.subplots(2, 2, height_ratios=(5, 4))
    what = f"image to label map, {_size(speed)}"
    milliseconds = {n: 1000 * statistics.median(s) for n, s in speed["seconds"]["graph"].items()}
    _bars(left, milliseconds, f"{what}: ms")
    _bars(middle, speed["mib"], f"{what}: MiB above the network")
    middle.set_yticklabels([])
    seconds = {name: 1000 * row["seconds"] for name, row in peers["rows"].items()}
    _bars(below, seconds, f"a training step, {_size(peers)}: ms")
    _curves(right, training["rows"])
    figure.savefig(RESULTS / "speed.png", dpi=100)


def _size(results):
    return f"{results['size'][0]} x {results['size'][1]}, batch {results['batch']}"


def _bars(axes, values, title):
    colours = ["tab:blue" if name.startswith("ours") else "tab:gray" for name in values]
    bars = axes.barh(list(values), list(values.values()), color=colours)
    axes.bar_label(bars, fmt="%.0f", padding=2)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)


def _curves(axes, rows):
    sides = sorted({row["side"] for row in rows})
    for side, style in zip(sides, ("--", "-", ":"), strict=False):
        some = [row for row in rows if row["side"] == side]
        for loss, colour in (("plain", "tab:gray"), ("packed", "tab:blue")):
            mib = [row[loss]["peak_mib"] - row[loss]["before_mib"] for row in some]
            classes = [row["classes"] for row in some]
            label = f"{loss} loss, {side} x {side}"
            axes.plot(classes, mib, style, marker="o", color=colour, label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("classes")
    batch, backbone = rows[0]["batch"], rows[0]["backbone"]
    axes.set_title(f"a training step, {backbone}, batch {batch}: MiB above the inputs", fontsize=10)
    axes.legend(fontsize=9)


if __name__ == "__main__":
    main()
