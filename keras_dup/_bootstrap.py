"""Whether two models differ by more than the choice of the images: the paired bootstrap."""

import warnings
from typing import Any

import numpy as np

__all__ = ["areas", "differences"]

DRAWS = 2000
_BOUNDS = 2.5, 97.5  # percentiles
_AT_ONCE = 200  # draws


def areas(confusion: np.ndarray) -> np.ndarray:
    """(3, K) counts of pixels from (K, K): right, of the class, predicted as it."""
    return np.stack([np.diagonal(confusion), confusion.sum(1), confusion.sum(0)])


def differences(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """Compares two models on the same images, which are drawn with replacement (Efron 1979).

    Each of 2000 draws has as many images as there are, the same ones for both models. A class that
    a draw lacks is left out of its means.

    Args: ours, theirs, (n, 3, K): `areas` of each image.

    Returns: {"miou", "pixel_accuracy"} of [ours - theirs on all images, lower and upper bound of
        the middle 95 % of the draws], and "iou", a list of the same for each class. None where one
        of the models never has the class.
    """
    n = len(ours)
    rng = np.random.default_rng(seed)
    found = [_scores(ours.sum(0)[None]) - _scores(theirs.sum(0)[None])]
    for first in range(0, DRAWS, _AT_ONCE):
        taken = rng.multinomial(n, np.full(n, 1 / n), min(_AT_ONCE, DRAWS - first))
        ours_drawn, theirs_drawn = (np.tensordot(taken, counts, 1) for counts in (ours, theirs))
        found.append(_scores(ours_drawn) - _scores(theirs_drawn))
    both = np.concatenate(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns that are all NaN
        bounds = np.nanpercentile(both[1:], _BOUNDS, axis=0)
    miou, accuracy, *iou = (
        None if np.isnan([first, low, high]).any() else [float(first), float(low), float(high)]
        for first, low, high in zip(both[0], *bounds, strict=True)
    )
    return {"miou": miou, "pixel_accuracy": accuracy, "iou": iou}


def _scores(counts):
    """(D, 2 + K) of (D, 3, K): mIoU, pixel accuracy, IoU of each class or NaN."""
    right, true, predicted = np.moveaxis(counts.astype(float), 1, 0)
    union = true + predicted - right
    iou = np.divide(right, union, out=np.full(union.shape, np.nan), where=union > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # draws of images without a label
        miou = np.nanmean(iou, axis=1)
    accuracy = right.sum(1) / np.maximum(true.sum(1), 1)
    return np.column_stack([miou, accuracy, iou])
