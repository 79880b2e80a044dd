"""`with_constant_windows`: the constant windows as the first rows of a W that lacks them."""

import dataclasses

import numpy as np

from keras_dup.projection.covariance import constant_windows
from keras_dup.projection.label_projection import LabelProjection


def with_constant_windows(
    projection: LabelProjection, channels: int | None = None
) -> LabelProjection:
    """A projection whose first rows are the constant windows, from one that was fitted without.

    The other rows are the principal components of what the given rows know beyond them, so the
    more rows are given, the closer is the result to `fit(..., constant_windows=True)`.

    Args:
        projection: of method "pca".
        channels: how many rows the result has, C or more; None keeps the number.

    Returns: a `LabelProjection`. Its shares of the variance are those that the given rows know.

    Raises:
        ValueError: fewer channels than classes, or more than there is to know.
    """
    count, c = projection.channels if channels is None else channels, projection.num_classes
    mean = projection.mean.astype(np.float64)
    constant = constant_windows(c, len(mean))
    centre = mean @ constant.T @ constant
    variance = projection.ratio**2 - mean @ mean  # of one-hot windows
    rows = projection.matrix * np.sqrt(projection.explained_variance_ratio * variance)[:, None]
    rows = np.concatenate([rows, [mean - centre]])
    rest = rows - rows @ constant.T @ constant
    _, sizes, vectors = np.linalg.svd(rest, full_matrices=False)
    known = c + int((sizes**2 > 1e-12 * variance).sum())
    if not c <= count <= known:
        raise ValueError(f"channels is {count}; {c} (the classes) to {known} are expected")
    matrix = np.concatenate([constant, vectors[: count - c]])
    explained = ((rows @ matrix.T) ** 2).sum(0) / (variance + ((mean - centre) ** 2).sum())
    return dataclasses.replace(
        projection,
        matrix=matrix.astype(np.float32),
        mean=centre.astype(np.float32),
        explained_variance_ratio=explained,
    )
