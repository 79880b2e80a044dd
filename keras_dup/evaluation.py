"""How good predictions are on labelled data, at source size: IoU, accuracy, boundaries.

NumPy and SciPy: a prediction may come from a Keras model, an exported one or a file.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from keras_dup.label_maps import VOID


def evaluate(predict, dataset, trimap_widths=(), boundary=False, verbose=True, threads=1):
    """Compares a label map of every image with the truth.

    Args:
        predict: image (H, W, 3) uint8 -> (H, W) class ids.
        dataset: a data set of `keras_dup.data` (`image(i)`, `label_map(i)` with void 255,
            `num_classes`, `class_names`).
        trimap_widths: widths in pixels. For each the mIoU of the pixels nearer than that to a
            change of label, void being a label (Chen et al. 2018, Sec. 4.4).
        boundary: also boundary IoU: of the pixels of a class within 2 % of the image's diagonal of
            its contour or of the image's edge (Cheng et al. 2021, Eq. 1), over all images together.
        verbose: show a progress bar.
        threads: how many images to predict at once; more than 1 calls `predict` from threads.

    Returns:
        {"miou", "pixel_accuracy", "iou": {class name: IoU or None}, "images", "confusion" (rows are
        the truth), "image_miou": [mIoU of each image, None where all is void]} and, as asked for,
        "trimap_miou": {width: mIoU} and "boundary_iou": {class name: IoU or None, "mean": mean}.
        A mean is over the classes that are present in truth or prediction, as in the paper.

    Raises:
        ValueError: a prediction of another size than its truth, or an id outside the classes.
    """
    size, names = dataset.num_classes, dataset.class_names
    total = np.zeros((size, size), np.int64)
    bands = {width: np.zeros_like(total) for width in trimap_widths}
    contours, image_miou = np.zeros((2, size), np.int64), []
    predicted = _predicted(predict, dataset, threads)
    bar = {"desc": "evaluating", "unit": " images", "total": len(dataset), "disable": not verbose}
    for i, found in enumerate(tqdm(predicted, **bar)):
        truth = dataset.label_map(i)
        _check(found, truth, size, i)
        counts = confusion(truth, found, size)
        total += counts
        image_miou.append(_mean(ious(counts)))
        if bands:
            distance = distance_to_a_change(truth)
        for width, band in bands.items():
            band += confusion(np.where(distance < width, truth, VOID), found, size)
        if boundary:
            contours += boundary_counts(truth, found, size)
    report = _report(total, names, len(dataset), image_miou)
    if bands:
        report["trimap_miou"] = {width: _mean(ious(band)) for width, band in bands.items()}
    if boundary:
        both, either = contours
        iou = np.divide(both, either, out=np.full(size, np.nan), where=either > 0)
        report["boundary_iou"] = {**named(iou, names), "mean": _mean(iou)}
    return report


def _predicted(predict, dataset, threads):
    """Yields the predictions of all images, in order."""

    def one(i):
        return np.asarray(predict(dataset.image(i)))

    if threads == 1:
        yield from map(one, range(len(dataset)))
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(one, range(len(dataset)))


def confusion(truth, found, num_classes):
    """(K, K) counts of the pixels of two label maps: row = truth, column = found; void left out."""
    valid = truth != VOID
    pairs = truth[valid].astype(np.int64) * num_classes + found[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def ious(counts):
    """(K, K) counts -> (K,) IoU, NaN for a class in neither truth nor prediction."""
    right = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - right
    return np.divide(right, union, out=np.full(len(counts), np.nan), where=union > 0)


def boundary_counts(truth, found, num_classes):
    """(2, K): pixels in both and in either of the boundaries of each class."""
    width = max(1, round(0.02 * float(np.hypot(*truth.shape))))
    counts = np.zeros((2, num_classes), np.int64)
    valid = truth != VOID
    for k in np.union1d(truth[valid], found[valid]):
        ours, theirs = (_boundary((ids == k) & valid, width) for ids in (truth, found))
        counts[:, k] = np.sum(ours & theirs), np.sum(ours | theirs)
    return counts


def table(report):
    """The report as lines of text, one class a line."""
    rows = [*report["iou"].items(), ("mIoU", report["miou"])]
    rows.append(("pixel accuracy", report["pixel_accuracy"]))
    for width, value in report.get("trimap_miou", {}).items():
        rows.append((f"mIoU less than {width} px from a boundary", value))
    if "boundary_iou" in report:
        rows.append(("mean boundary IoU", report["boundary_iou"]["mean"]))
    length = max(len(name) for name, _ in rows)
    return "\n".join(
        f"{name:{length}}  " + ("absent" if value is None else f"{100 * value:6.2f} %")
        for name, value in rows
    )


def _check(found, truth, num_classes, i):
    if found.shape != truth.shape:
        raise ValueError(f"image {i}: predicted {found.shape}, but its truth is {truth.shape}")
    if found.min() < 0 or found.max() >= num_classes:
        raise ValueError(
            f"image {i}: predicted class id {found.max()}, but the data set has {num_classes} "
            f"classes (ids 0..{num_classes - 1}); is the model of another data set?"
        )


def _report(counts, names, images, image_miou):
    iou, pixels = ious(counts), counts.sum()
    if not pixels:
        raise ValueError("every pixel of every label map is void")
    return {
        "miou": _mean(iou),
        "pixel_accuracy": float(np.trace(counts) / pixels),
        "iou": named(iou, names),
        "images": images,
        "confusion": counts.tolist(),
        "image_miou": image_miou,
    }


def _mean(iou):
    return None if np.isnan(iou).all() else float(np.nanmean(iou))


def named(iou, names):
    """{class name: IoU, None where it is nan}."""
    values = [None if np.isnan(value) else float(value) for value in iou]
    return dict(zip(names, values, strict=True))


def distance_to_a_change(truth):
    """(H, W): straight distance to the nearest pixel beside one of another label, itself 0."""
    edge = np.zeros(truth.shape, bool)
    for axis in (0, 1):
        differs = np.diff(truth.astype(np.int16), axis=axis) != 0
        first = [slice(None, -1) if a == axis else slice(None) for a in (0, 1)]
        second = [slice(1, None) if a == axis else slice(None) for a in (0, 1)]
        edge[tuple(first)] |= differs
        edge[tuple(second)] |= differs
    if not edge.any():
        return np.full(truth.shape, np.inf)
    return ndimage.distance_transform_edt(~edge)


def _boundary(mask, width):
    """The pixels of a mask that `width` erosions with 3 x 3 take away; outside nothing is set."""
    inside = ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1]
    return mask & (inside <= width)
