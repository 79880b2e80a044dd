"""How good predictions are on labelled data, at source size: IoU, accuracy, boundaries, blocks.

NumPy and SciPy only: predictions may come from a Keras model, an exported model or files.
"""

import collections
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from keras_dup._bootstrap import areas, differences
from keras_dup._borders import block_borders, boundary_counts, distance_to_a_change
from keras_dup._label_maps import VOID, IdCounts, confusion, doubt, ious

if typing.TYPE_CHECKING:  # it imports TensorFlow
    from keras_dup.data._protocol import Dataset

__all__ = ["block_borders", "confusion", "distance_to_a_change", "evaluate", "ious", "table"]


def evaluate(
    predict: Callable[[np.ndarray], np.ndarray],
    dataset: "Dataset",
    trimap_widths: Sequence[float] = (),
    boundary: bool = False,
    verbose: bool = True,
    threads: int = 1,
    grid: int | None = None,
    warn: bool = True,
    against: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[str, typing.Any]:
    """Predicts all images of a data set and compares the label maps with the true ones.

    Args:
        predict: image (H, W, 3) uint8 -> (H, W) class ids.
        dataset: a data set of `keras_dup.data`, or any object with `image(i)`, `label_map(i)`
            (void is 255), `num_classes`, `class_names` and a length.
        trimap_widths: distances in pixels. For each the report has the mIoU of the pixels closer
            than that to a change of label; void is a label here (Chen et al. 2018, Sec. 4.4).
        boundary: also report boundary IoU. It takes the pixels of a class within 2 % of the image
            diagonal from its contour or the image edge (Cheng et al. 2021, Eq. 1), all images
            together.
        verbose: show a progress bar.
        threads: the number of images to predict at once. `predict` is called from threads if it
            is more than 1.
        grid: the ratio r of the model. Also report how many borders lie between r x r windows,
            see `block_borders`.
        warn: warn if a class occurs in no mask, or if masks and predictions do not fit together.
        against: `predict` of another model of the same classes, to compare with.

    Returns:
        A dict:
        miou: the mean of `iou` over the classes in truth or prediction, as in the paper
        pixel_accuracy: the share of the labelled pixels that is right
        iou: {class name: IoU, None for a class in neither}; equal names get their ids, "other (2)"
        dice, precision, recall: the same of 2 TP / (2 TP + FP + FN), TP / (TP + FP), TP / (TP + FN)
        mean_dice: the mean of `dice`, as `miou` is of `iou`
        images: the number of images
        confusion: (K, K) counts of pixels as lists, row = truth, column = prediction
        image_miou: the mIoU of each image, None for an image without labels
        warnings: what `warn` warns of, as sentences
        trimap_miou: {width: mIoU}, if asked for
        boundary_iou: {class name: IoU or None, "mean": their mean}, if asked for
        blocks: if `grid` is given, {"ratio": r, "chance": 1/r, "predicted" and "truth": the share
            of the borders on the grid, "predicted_over_chance" and "truth_over_chance"}; None
            without borders
        against: if given, the report of the other model
        difference: then {"miou", "pixel_accuracy": [first model minus other, low, high], "iou":
            {class name: the same or None}}. The bounds hold 95 % of 2000 draws of the images with
            replacement (the paired bootstrap): where 0 lies between them, other images of this kind
            could turn the order round. They hold the chance of the images alone; another training
            adds its own.

    Raises:
        ValueError: a prediction has another size than its truth or an id that is no class; all
            pixels are void.
    """
    predictors = [predict] if against is None else [predict, against]
    keep = against is not None
    totals = [Totals(dataset, trimap_widths, boundary, grid, keep) for _ in predictors]
    predicted = zip(*(_predicted(one, dataset, threads) for one in predictors), strict=True)
    bar = {"desc": "evaluating", "unit": " images", "total": len(dataset), "disable": not verbose}
    bar["leave"] = None  # not under the bar of a training
    for i, label_maps in enumerate(tqdm(predicted, **bar)):
        truth = dataset.label_map(i)
        for one, found in zip(totals, label_maps, strict=True):
            check(found, truth, dataset.num_classes, f"image {i}")
            one.add(truth, found)
    report = totals[0].report()
    if against is not None:
        report["against"] = totals[1].report()
        report["difference"] = totals[0].difference(totals[1])
    for message in report["warnings"] if warn else ():
        warnings.warn(message, stacklevel=2)
    return report


def _predicted(predict: Callable, dataset: "Dataset", threads: int) -> Iterator[np.ndarray]:
    """Yields the predictions of all images, in order."""

    def one(i):
        return np.asarray(predict(dataset.image(i)))

    if threads == 1:
        yield from map(one, range(len(dataset)))
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(one, range(len(dataset)))


def check(found: np.ndarray, truth: np.ndarray, num_classes: int, name: object) -> None:
    """Raises ValueError, with `name`, if a prediction does not fit its truth."""
    if found.shape != truth.shape:
        raise ValueError(f"{name}: predicted {found.shape}, but its truth is {truth.shape}")
    if found.dtype.kind not in "iu":
        raise ValueError(f"{name}: predicted {found.dtype} values; integer ids are expected")
    wrong = found[(found < 0) | (found >= num_classes)]
    if wrong.size:
        raise ValueError(
            f"{name}: predicted class id {wrong.max()}, but the data set has {num_classes} "
            f"classes (ids 0..{num_classes - 1}); is the model of another data set?"
        )


class Totals:
    """Counts over all images so far. Counts of parts merge by addition.

    Args:
        dataset, trimap_widths, boundary, grid: as in `evaluate`.
        keep_areas: keep the counts of each image, for `difference`.
    """

    def __init__(self, dataset, trimap_widths, boundary, grid, keep_areas=False):
        size = dataset.num_classes
        self.names, self.grid = list(dataset.class_names), grid
        self.counts = np.zeros((size, size), np.int64)
        self.bands = {width: np.zeros_like(self.counts) for width in trimap_widths}
        self.contours = np.zeros((2, size), np.int64) if boundary else None
        self.borders = np.zeros((2, 2), np.int64)  # predicted, truth: on the grid, all
        self.image_miou, self.ids = [], IdCounts()
        self.image_areas = [] if keep_areas else None

    def add(self, truth, found):
        size = len(self.counts)
        counts = confusion(truth, found, size)
        self.counts += counts
        self.image_miou.append(_mean(ious(counts)))
        if self.image_areas is not None:
            self.image_areas.append(areas(counts))
        self.ids.add(truth)
        if self.bands:
            distance = distance_to_a_change(truth)
        for width, band in self.bands.items():
            band += confusion(np.where(distance < width, truth, VOID), found, size)
        if self.contours is not None:
            self.contours += boundary_counts(truth, found, size)
        if self.grid:
            self.borders += [block_borders(ids, self.grid) for ids in (found, truth)]

    def merge(self, other):
        """Adds the counts of other images, which come after these; not for `difference`."""
        self.counts += other.counts
        self.borders += other.borders
        self.image_miou += other.image_miou
        self.ids.merge(other.ids)
        for width, band in self.bands.items():
            band += other.bands[width]
        if self.contours is not None:
            self.contours += other.contours

    def report(self):
        counts, pixels = self.counts, self.counts.sum()
        if not pixels:
            raise ValueError("every pixel of every label map is void")
        doubts = self.ids.complaint(len(counts), self.names), doubt(counts)
        right, true, predicted = areas(counts)
        dice = _ratio(2 * right, true + predicted)
        report = {
            "miou": _mean(ious(counts)),
            "pixel_accuracy": float(np.trace(counts) / pixels),
            "mean_dice": _mean(dice),
            "iou": _by_name(ious(counts), self.names),
            "dice": _by_name(dice, self.names),
            "precision": _by_name(_ratio(right, predicted), self.names),
            "recall": _by_name(_ratio(right, true), self.names),
            "images": len(self.image_miou),
            "confusion": counts.tolist(),
            "image_miou": self.image_miou,
            "warnings": [text for text in doubts if text],
        }
        if self.bands:
            means = {width: _mean(ious(band)) for width, band in self.bands.items()}
            report["trimap_miou"] = means
        if self.contours is not None:
            iou = _ratio(*self.contours)
            report["boundary_iou"] = {**_by_name(iou, self.names, "mean"), "mean": _mean(iou)}
        if self.grid:
            report["blocks"] = _blocks(self.borders, self.grid)
        return report

    def difference(self, other):
        """How much these scores are above those of another model, with bounds."""
        found = differences(np.array(self.image_areas), np.array(other.image_areas))
        iou = dict(zip(_by_name(np.zeros(len(self.names)), self.names), found["iou"], strict=True))
        return {**found, "iou": iou}


def _ratio(part, whole):
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _blocks(borders, ratio):
    shares = [None if np.isnan(share) else float(share) for share in _ratio(*borders.T)]
    found = dict(zip(("predicted", "truth"), shares, strict=True))
    over = {f"{k}_over_chance": None if v is None else ratio * v for k, v in found.items()}
    return {"ratio": ratio, "chance": 1 / ratio, **found, **over}


def _mean(iou):
    return None if np.isnan(iou).all() else float(np.nanmean(iou))


def _by_name(iou, names, *taken):
    """{class name: IoU, None for NaN}; a name that is not unique or is `taken` gets its id."""
    counts = collections.Counter([*names, *taken])
    found = {}
    for k, value in enumerate(iou):
        name = names[k] if counts[names[k]] == 1 else f"{names[k]} ({k})"
        while name in found or (name != names[k] and name in counts):
            name = f"{name} ({k})"
        found[name] = None if np.isnan(value) else float(value)
    return found


def table(report: dict[str, typing.Any]) -> str:
    """The report of `evaluate` as lines of text, one class per line.

    With a model to compare with, its values and the differences stand beside, in points.
    """
    rows = _rows(report)
    length = max(len(name) for name in rows)
    lines = [f"{name:{length}}  {_percent(value)}" for name, value in rows.items()]
    if "against" not in report:
        return "\n".join(lines)
    difference = report["difference"]
    bounds = {**difference["iou"], "mIoU": difference["miou"]}
    bounds["pixel accuracy"] = difference["pixel_accuracy"]
    theirs = _rows(report["against"])
    title = f"{'':{length}}  {'model':>8}  {'against':>8}  difference, 95 % of the draws"
    return "\n".join(
        [title]
        + [
            f"{line}  {_percent(theirs[name])}  {_points(bounds.get(name))}".rstrip()
            for name, line in zip(rows, lines, strict=True)
        ]
    )


def _rows(report):
    """{name: value} of a table; a class may be named like a score, which then gets a space."""
    rows = dict(report["iou"])
    others = [("mIoU", report["miou"]), ("mean Dice", report["mean_dice"])]
    others.append(("pixel accuracy", report["pixel_accuracy"]))
    for width, value in report.get("trimap_miou", {}).items():
        others.append((f"mIoU less than {width} px from a boundary", value))
    if "boundary_iou" in report:
        others.append(("mean boundary IoU", report["boundary_iou"]["mean"]))
    blocks = report.get("blocks")
    if blocks:
        grid = f"borders on the {blocks['ratio']} px grid"
        others += [(f"predicted {grid}", blocks["predicted"]), (f"true {grid}", blocks["truth"])]
        others.append((f"{grid} by chance", blocks["chance"]))
    for name, value in others:
        rows[f"{name} " if name in rows else name] = value
    return rows


def _percent(value):
    return f"{'absent':>8}" if value is None else f"{100 * value:6.2f} %"


def _points(bounds):
    if bounds is None:
        return ""
    value, low, high = (100 * bound for bound in bounds)
    return f"{value:+6.2f}  [{low:+.2f}, {high:+.2f}]"
