"""One code into many: the rows of a projection of large windows as those of small ones."""

import numpy as np

from keras_dup.projection._label_projection import LabelProjection

__all__ = ["recode"]


def recode(source: LabelProjection, target: LabelProjection) -> tuple[np.ndarray, np.ndarray]:
    """The map from a code of `source` to the codes of `target` in the same window.

    With q = source.ratio / target.ratio a window of the source is q x q windows of the target, and

        depth_to_space(x @ matrix + bias, q)    equals    P_t (v~ - mean_t),    v~ = W_s x + mean_s

    cut into windows of the target: what `target` makes of the class scores that `source` rebuilds.

    Args:
        source: of C~s channels.
        target: of C~t channels, the same classes, and a ratio that divides the source's.

    Returns: matrix, (C~s, q*q*C~t) float32, columns ordered (row, column, channel) of the windows,
        and bias, (q*q*C~t,) float32.

    Raises:
        TypeError: not a `LabelProjection`.
        ValueError: other classes, or a ratio that does not divide the source's.
    """
    for projection in (source, target):
        if not isinstance(projection, LabelProjection):
            raise TypeError(f"a LabelProjection is expected, not {type(projection).__name__}")
    if source.num_classes != target.num_classes:
        raise ValueError(
            f"the projections are of {source.num_classes} and of {target.num_classes} classes; "
            "the same classes are expected"
        )
    if source.ratio % target.ratio:
        raise ValueError(
            f"the ratio of the target, {target.ratio}, does not divide that of the source, "
            f"{source.ratio}"
        )
    p = target.p.T.astype(np.float64)
    matrix = _cut(source.matrix, source.ratio, target.ratio) @ p
    bias = (_cut(source.mean[None], source.ratio, target.ratio) - target.mean) @ p
    return matrix.reshape(len(matrix), -1).astype(np.float32), bias.ravel().astype(np.float32)


def _cut(rows, ratio, smaller):
    """(n, r*r*C) -> (n, q*q, s*s*C) float64: windows of r x r into q x q of s x s."""
    q = ratio // smaller
    windows = rows.astype(np.float64).reshape(len(rows), q, smaller, q, smaller, -1)
    return windows.swapaxes(2, 3).reshape(len(rows), q * q, -1)
