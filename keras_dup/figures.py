"""Pictures of a projection, drawn by Matplotlib (extra `train`)."""

import os
from pathlib import Path

import numpy as np

_STYLES = {"nearest": ("tab:orange", ":"), "bilinear": ("tab:green", "--")}


def reconstruction(path, variance, channels, ious, resampled, title="", class_names=None):
    """Draws what a projection keeps: variance and mIoU against channels, and IoU class by class.

    Args:
        path: the PNG to write, whole or not at all.
        variance: (C~,), the explained variance ratio of each row.
        channels: k numbers of channels.
        ious: (k, C), of `keras_dup.reconstruction.ious_by_channels`.
        resampled: {name: (C,)}, what to compare with.
        class_names: C strings; the ids by default.
    """
    figure = _figure((11, 4.2 + 0.16 * np.isfinite(ious[0]).sum()), title)
    top, bottom = figure.subfigures(
        2, 1, height_ratios=(4, 0.6 + 0.16 * np.isfinite(ious[0]).sum())
    )
    left, right = top.subplots(1, 2)
    left.plot(np.arange(1, len(variance) + 1), 100 * np.cumsum(variance), color="tab:blue")
    left.set(xlabel="channels", ylabel="explained variance, %", xscale="log")
    right.plot(channels, 100 * np.nanmean(ious, 1), marker="o", color="tab:blue", label="W")
    for name, values in resampled.items():
        colour, line = _STYLES[name]
        right.axhline(100 * np.nanmean(values), color=colour, linestyle=line, label=name)
    right.set(xlabel="channels", ylabel="mIoU of what is rebuilt, %", xscale="log")
    right.legend()
    for axes in (left, right):
        axes.set_xticks(channels, channels, minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    _draw_classes(bottom.subplots(), channels[-1], ious[-1], resampled, class_names)
    _save(figure, path)


def _draw_classes(axes, channels, ious, resampled, class_names):
    present = np.flatnonzero(np.isfinite(ious))
    names = np.asarray(class_names if class_names is not None else np.arange(len(ious)).astype(str))
    order = present[np.argsort(ious[present])]
    for name, values in resampled.items():
        axes.plot(
            100 * values[order], np.arange(len(order)), "o", color=_STYLES[name][0], label=name
        )
    axes.plot(
        100 * ious[order], np.arange(len(order)), "o", color="tab:blue", label=f"W, {channels}"
    )
    axes.set_yticks(np.arange(len(order)), names[order])
    axes.set(xlabel="IoU of what is rebuilt, %", ylabel="class")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")


def components(path, projection, rows=8, columns=8, class_names=None):
    """Draws the first rows of W as r x r windows, for the classes that vary most in them.

    Red raises the score of the class at that pixel, blue lowers it; the first line is the mean.

    Args:
        path: the PNG to write, whole or not at all.
        projection: a `LabelProjection`.
        rows, columns: how many components and classes.
        class_names: C strings; the ids by default.
    """
    r, c = projection.ratio, projection.num_classes
    windows = projection.matrix[:rows].reshape(-1, r, r, c)
    energy = (windows**2).sum((0, 1, 2))
    classes = np.sort(np.argsort(-energy)[:columns])
    names = class_names if class_names is not None else np.arange(c).astype(str)
    figure = _figure((1.05 * len(classes) + 1.3, 1.05 * len(windows) + 1.6))
    grid = figure.subplots(len(windows) + 1, len(classes), squeeze=False)
    lines = [projection.mean.reshape(r, r, c), *windows]
    for i, (line, axes) in enumerate(zip(lines, grid, strict=True)):
        limit = np.abs(line[..., classes]).max()
        for k, panel in zip(classes, axes, strict=True):
            panel.imshow(line[..., k], cmap="RdBu_r", vmin=-limit, vmax=limit)
            panel.set(xticks=[], yticks=[])
            if i == 0:
                panel.set_title(names[k], fontsize=9)
        share = 100 * projection.explained_variance_ratio[i - 1]
        label = f"{i}: {share:.1f} %" if i else "mean"
        axes[0].set_ylabel(label, fontsize=9)
    _save(figure, path)


def _figure(size, title=""):
    try:
        import matplotlib.figure
    except ImportError as error:
        raise ImportError("pictures need Matplotlib: pip install 'keras-dup[train]'") from error
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    return figure


def _save(figure, path):
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        figure.savefig(temporary, format="png", dpi=110)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
