"""Is this ratio good enough for these labels? What W rebuilds, beside plain resampling."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dup.projection import _figures
from keras_dup.projection._label_projection import LabelProjection
from keras_dup.projection._reconstruction import count_with_void, ious_by_channels
from keras_dup.projection._resampling import METHODS, resampling_ious

__all__ = ["Report", "flat_classes", "measure"]


def measure(
    projection: LabelProjection, label_maps: Sequence[np.ndarray], **options: Any
) -> "Report":
    """Measures reconstruction against channels and resampling, class by class.

    Args:
        projection: a `LabelProjection` of method "pca".
        label_maps: read twice, so with `len()` and `[i]`.
        options: `verbose`, `workers`, `on_error` as in `keras_dup.projection.fit`.

    Returns: a `Report`.

    Raises: ValueError as `fit` does for the label maps.
    """
    counts = count_with_void(projection, label_maps, **options)
    steps = sorted({2**i for i in range(2, 12)} | {3 * 2**i for i in range(1, 11)})
    channels = [*(k for k in steps if k < projection.channels), projection.channels]
    ious = ious_by_channels(projection, counts, channels, options.get("verbose", False))
    shape = projection.num_classes, projection.ratio, projection.ignore_class
    resampled = resampling_ious(label_maps, *shape, **options)
    variance = projection.explained_variance_ratio
    return Report(
        projection.ratio,
        counts.label_maps,
        variance,
        channels,
        ious,
        dict(zip(METHODS, resampled, strict=True)),
    )


def flat_classes(
    projection: LabelProjection, class_names: Sequence[str] | None = None
) -> str | None:
    """Returns a line about the classes that W can hardly interpolate; None if there are none.

    These are the classes of which `projection.class_ramps` is under a half.
    """
    names = class_names or range(projection.num_classes)
    shares = projection.class_shares, projection.class_ramps
    flat = [
        f"{name} {100 * ramps:.0f} %"
        for name, share, ramps in zip(names, *shares, strict=True)
        if share > 0 and ramps < 0.5
    ]
    if not flat:
        return None
    return (
        f"of scores that rise over a window W holds little in {len(flat)} classes: "
        f"{', '.join(flat)}; a class_balance of 0.25 or more channels hold more"
    )


@dataclasses.dataclass
class Report:
    """Attributes: ratio; label_maps, how many were measured; variance (C~,), explained by each
    row; channels, k numbers; ious (k, C), nan for classes that do not occur; resampled,
    {"nearest": (C,), "bilinear": (C,)}, of the same ratio.
    """

    ratio: int
    label_maps: int
    variance: np.ndarray
    channels: list[int]
    ious: np.ndarray
    resampled: dict[str, np.ndarray]

    @property
    def miou(self) -> float:
        """With all channels, 0..1."""
        return float(np.nanmean(self.ious[-1]))

    def table(self, class_names: Sequence[str] | None = None) -> str:
        """Returns variance and mIoU in percent, one line per number of channels."""
        names = class_names or range(self.ious.shape[1])
        explained = self.variance.cumsum()
        lines = [f"{'channels':>9}{'variance':>11}{'mIoU':>10}{'worst class':>18}"]
        for k, ious in zip(self.channels, self.ious, strict=True):
            lines.append(f"{k:>9}{100 * explained[k - 1]:>9.2f} %{_scores(ious, names)}")
        for name, ious in self.resampled.items():
            lines.append(f"{name:>9}{'':>11}{_scores(ious, names)}")
        return "\n".join(lines)

    def draw(self, path: str | os.PathLike, class_names: Sequence[str] | None = None) -> None:
        """Writes the picture, a PNG, by Matplotlib (extra `train`; ImportError without it)."""
        title = f"{self.label_maps} label maps, rebuilt at ratio {self.ratio}"
        _figures.reconstruction(
            path, self.variance, self.channels, self.ious, self.resampled, title, class_names
        )


def _scores(ious, names):
    worst = int(np.nanargmin(ious))
    return f"{100 * np.nanmean(ious):>8.3f} %{100 * ious[worst]:>9.3f} % ({names[worst]})"
