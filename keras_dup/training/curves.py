"""How a run goes, as a picture."""

from keras_dup.whole import writing

PANELS = {"loss": "loss", "val_miou": "validation mIoU", "temperature": "T"}


def draw(rows, path):
    """Draws loss, validation mIoU and T over the steps.

    Args:
        rows: of a run's log.csv, dicts with "step" and what `PANELS` names as far as it is there.
        path: the picture, a PNG.
    """
    import matplotlib.figure

    panels = [name for name in PANELS if rows[-1].get(name) not in (None, "")]
    figure = matplotlib.figure.Figure(figsize=(4 * len(panels), 3.3), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, name in zip(axes, panels, strict=True):
        points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        axis.plot(*zip(*points, strict=True), marker=".")
        axis.set(xlabel="step", ylabel=PANELS[name])
        axis.grid(alpha=0.3)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=110)
