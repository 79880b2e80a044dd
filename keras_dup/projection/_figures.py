"""Pictures of a projection, drawn by Matplotlib (extra `train`)."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from keras_dup._whole import writing
from keras_dup.projection._label_projection import LabelProjection

__all__ = ["components", "reconstruction"]

_BLUE = "tab:blue"
_STYLES = {"nearest": ("tab:orange", ":"), "bilinear": ("tab:green", "--")}


def reconstruction(
    path: str | os.PathLike,
    variance: np.ndarray,
    channels: Sequence[int],
    ious: np.ndarray,
    resampled: Mapping[str, np.ndarray],
    title: str = "",
    class_names: Sequence[str] | None = None,
) -> None:
    """Draws what a projection keeps: variance and mIoU against channels, and IoU class by class.

    Args:
        path: the PNG to write, whole or not at all.
        variance: (C~,), the explained variance ratio of each row.
        channels: k numbers of channels.
        ious: (k, C), of `keras_dup.projection._reconstruction.ious_by_channels`.
        resampled: {name: (C,)}, what to compare with.
        class_names: C strings; the ids by default.
    """
    height = 0.6 + 0.16 * np.isfinite(ious[0]).sum()  # inches, of the classes
    figure = _figure((11, 4 + height), title)
    top, bottom = figure.subfigures(2, 1, height_ratios=(4, height))
    left, right = top.subplots(1, 2)
    left.plot(np.arange(1, len(variance) + 1), 100 * np.cumsum(variance), color=_BLUE)
    left.set_ylabel("explained variance, %")
    _draw_mious(right, channels, ious, resampled)
    for axes in (left, right):
        axes.set(xlabel="channels", xscale="log")
        axes.set_xticks(channels, channels)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    rows = {**resampled, f"W, {channels[-1]}": ious[-1]}
    _draw_classes(bottom.subplots(), rows, class_names)
    _save(figure, path)


def _draw_mious(axes, channels, ious, resampled):
    mean = 100 * np.nanmean(ious, 1)
    axes.plot(channels, 100 * ious, color=_BLUE, alpha=0.15, linewidth=0.8)
    axes.plot(channels, mean, marker="o", color=_BLUE, label="W (pale: each class)")
    levels = {name: 100 * np.nanmean(values) for name, values in resampled.items()}
    for name, level in levels.items():
        colour, line = _STYLES[name]
        axes.axhline(level, color=colour, linestyle=line, label=name)
    # What decides lies between plain resampling and 100 %.
    axes.set_ylim(max(0, min(*levels.values(), mean[-1]) - 10), 100.5)
    axes.set_ylabel("mIoU of what is rebuilt, %")
    axes.legend()


def _draw_classes(axes, rows, class_names):
    """rows: {name: (C,) IoU}; sorted by the last, which is W."""
    last = list(rows.values())[-1]
    order = np.argsort(last)[: np.isfinite(last).sum()]  # nan comes last
    names = _names(class_names, len(last))[order]
    for name, values in rows.items():
        colour = _STYLES.get(name, (_BLUE,))[0]
        axes.plot(100 * values[order], np.arange(len(order)), "o", color=colour, label=name)
    axes.set_yticks(np.arange(len(order)), names)
    axes.set(xlabel="IoU of what is rebuilt, %", ylabel="class")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def _names(class_names, count):
    return np.asarray(class_names or [str(k) for k in range(count)])


def components(
    path: str | os.PathLike,
    projection: LabelProjection,
    rows: Sequence[int] = (1, 2, 3, 4),
    columns: int = 8,
    class_names: Sequence[str] | None = None,
) -> None:
    """Draws rows of W as r x r windows, for the classes that vary most in them.

    Red raises the score of the class at that pixel, blue lowers it; the first line is the mean.

    Args:
        path: the PNG to write, whole or not at all.
        projection: a `LabelProjection`.
        rows: which ones, counted from 1.
        columns: how many classes.
        class_names: C strings; the ids by default.
    """
    r, c = projection.ratio, projection.num_classes
    windows = projection.matrix[np.subtract(rows, 1)].reshape(-1, r, r, c)
    classes = np.sort(np.argsort(-(windows**2).sum((0, 1, 2)))[:columns])
    names = _names(class_names, c)[classes]
    figure = _figure((1.05 * len(classes) + 0.4, 1.05 * len(windows) + 1.3))
    grid = figure.subplots(len(windows) + 1, len(classes), squeeze=False)
    shares = 100 * projection.explained_variance_ratio
    labels = ["mean", *(f"{row}: {shares[row - 1]:.2f} %" for row in rows)]
    for label, window, line in zip(labels, [projection.mean, *windows], grid, strict=True):
        _draw_line(line, window.reshape(r, r, c)[..., classes])
        line[0].set_ylabel(label, fontsize=9)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(name, fontsize=9)
    _save(figure, path)


def _draw_line(line, window):
    """(r, r, k) -> k panels of one scale."""
    limit = np.abs(window).max()
    for k, axes in enumerate(line):
        axes.imshow(window[..., k], cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set(xticks=[], yticks=[])


def _figure(size, title=""):
    try:
        import matplotlib.figure
    except ImportError as error:
        raise ImportError("pictures need Matplotlib: pip install 'keras-dup[train]'") from error
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    return figure


def _save(figure, path):
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
