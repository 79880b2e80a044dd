"""The picture and the table of the README: `python tests/benchmarks/figure.py`.

Reads results/speed.json and results/training_step.json, which `speed.py` and `training_step.py`
wrote, draws results/speed.png and prints the table.
"""

import json
import pathlib
import statistics

from matplotlib.figure import Figure

RESULTS = pathlib.Path(__file__).parent / "results"


def main():
    speed = json.loads((RESULTS / "speed.json").read_text())
    training = json.loads((RESULTS / "training_step.json").read_text())
    milliseconds = {n: 1000 * statistics.median(s) for n, s in speed["seconds"].items()}
    first, second = list(milliseconds.values())[:2]
    print("| network | time | of ours at 32 | of ours at 16 | memory |\n|---|---|---|---|---|")
    for name, time in milliseconds.items():
        ratios = f"{time / first:.2f} | {time / second:.2f}"
        print(f"| {name} | {time:.0f} ms | {ratios} | {speed['mib'][name]:.0f} MiB |")
    print(speed["machine"], training["machine"], sep="\n")
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 3, 4))
    title = f"{speed['size'][0]} x {speed['size'][1]}, batch {speed['batch']}"
    _bars(left, milliseconds, f"image to label map, ms\n{title}")
    _bars(middle, speed["mib"], "peak memory, MiB above the network\n" + title)
    middle.set_yticklabels([])
    _curves(right, training["rows"])
    figure.savefig(RESULTS / "speed.png", dpi=100)


def _bars(axes, values, title):
    colours = ["tab:blue" if name.startswith("ours") else "tab:gray" for name in values]
    bars = axes.barh(list(values), list(values.values()), color=colours)
    axes.bar_label(bars, fmt="%.0f", padding=2)
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)


def _curves(axes, rows):
    for side, style in zip(sorted({row["side"] for row in rows}), ("--", "-"), strict=True):
        some = [row for row in rows if row["side"] == side]
        for loss, colour in (("plain", "tab:gray"), ("packed", "tab:blue")):
            mib = [row[loss]["peak_mib"] - row[loss]["before_mib"] for row in some]
            classes = [row["classes"] for row in some]
            label = f"{loss} loss, {side} x {side}"
            axes.plot(classes, mib, style, marker="o", color=colour, label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("classes")
    batch, backbone = rows[0]["batch"], rows[0]["backbone"]
    axes.set_title(f"training step, MiB above the inputs\n{backbone}, batch {batch}", fontsize=10)
    axes.legend(fontsize=9)


if __name__ == "__main__":
    main()
