"""Compares rules for void when W is fitted: which one rebuilds label maps best?

    python -m research.projections.void_rules --labels SegmentationClass \
        --train train.txt --val val.txt --num-classes 21 --ratio 16 --channels 64 128

fits W to the label maps of --train by each rule and prints the reconstruction mIoU (void pixels
left out) on those of --val, in percent. The rule chosen is `keras_dup.projection.fit`'s.

    nearest in label map   a void pixel takes the label of the nearest valid pixel (the package)
    nearest in window      the same, among the pixels of its window
    background             a void pixel is class 0
    drop                   windows with void are left out of W; compressed by the first rule; nan
                           where too few different windows are left for the channels
    zeros                  the one-hot vector of a void pixel is zero for every class
    masked least squares   void entries are unknown, PCA by expectation-maximisation

The last two have no label maps that `fit` could read: they start from the first rule's W and
improve it by --passes of block power iteration, masked least squares with the void entries
replaced by their reconstruction (EM for PCA, Roweis 1998) before each pass.
A pass takes half a minute to minutes on two cores; --rules leaves rules out.
"""

import argparse
import pathlib
from collections import Counter

import numpy as np
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from keras_dup import projection

VOID = 255
BATCH = 512


def main():
    args = parse()
    train, val = (maps_of(args, names) for names in (args.train, args.val))
    print(f"{'ratio ' + str(args.ratio):24}" + "".join(f"{c:>9}" for c in args.channels))
    for rule in filter(args.rules.__contains__, COMPLETE):
        print_row(rule, [label_rule(rule, train, val, args, c) for c in args.channels])
    rounds = {"zeros": 0, "masked least squares": args.rounds}
    rules = [rule for rule in rounds if rule in args.rules]
    if rules:
        starts = [fit_label_rule("nearest in label map", train, args, c) for c in args.channels]
        train, val = (distinct(maps, nearest, args.ratio) for maps in (train, val))
    for rule in rules:
        scores = [vector_rule(rounds[rule], start, train, val, args) for start in starts]
        print_row(rule, scores)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=pathlib.Path, required=True, help="folder of PNGs")
    parser.add_argument("--train", type=pathlib.Path, required=True, help="one name per line")
    parser.add_argument("--val", type=pathlib.Path, required=True, help="one name per line")
    parser.add_argument("--num-classes", type=int, required=True)
    parser.add_argument("--ratio", type=int, default=16)
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--passes", type=int, default=4, help="over the windows, last two rules")
    parser.add_argument("--rounds", type=int, default=4, help="of filling void in, last rule")
    rules = [*COMPLETE, "zeros", "masked least squares"]
    parser.add_argument("--rules", nargs="+", choices=rules, default=rules, help="default: all")
    return parser.parse_args()


def print_row(rule, scores):
    print(f"{rule:24}" + "".join(f"{100 * score:9.3f}" for score in scores), flush=True)


def maps_of(args, names):
    """Reads all label maps once: seconds and 0.3 GB for VOC, and every rule needs them."""
    names = names.read_text().split()
    return [np.array(Image.open(args.labels / f"{n}.png")) for n in tqdm(names, "reading")]


# Rules that complete a label map: (H, W) with void -> (H', W') without, edges repeated to r.


def nearest(label_map, ratio):
    void = label_map == VOID
    if void.all():
        return pad(label_map, ratio)
    index = ndimage.distance_transform_edt(void, return_distances=False, return_indices=True)
    return pad(label_map[tuple(index)], ratio)


def nearest_in_window(label_map, ratio):
    label_map = pad(label_map, ratio)
    grids = cut(label_map, ratio).reshape(-1, ratio, ratio)
    # One call for all windows: the distance from one to the next is beyond any other.
    far = (1000 * ratio, 1, 1)
    some = (grids != VOID).any((1, 2))
    index = ndimage.distance_transform_edt(
        grids[some] == VOID, far, return_distances=False, return_indices=True
    )
    grids[some] = grids[some][tuple(index)]
    return join(grids, label_map.shape, ratio)


def background(label_map, ratio):
    return pad(np.where(label_map == VOID, 0, label_map), ratio)


def drop(label_map, ratio):
    label_map = pad(label_map, ratio)
    grids = cut(label_map, ratio)
    grids[(grids == VOID).any(1)] = VOID  # `fit` leaves out windows that are void throughout
    return join(grids, label_map.shape, ratio)


COMPLETE = {
    "nearest in label map": nearest,
    "nearest in window": nearest_in_window,
    "background": background,
    "drop": drop,
}


def fit_label_rule(rule, train, args, channels):
    """Returns None where the windows are too few for the channels."""
    c, r = args.num_classes, args.ratio
    maps = (COMPLETE[rule](label_map, r) for label_map in train)
    counts = projection.count_windows(maps, c, r, VOID, verbose=True, total=len(train))
    if len(counts) <= channels:
        return None
    return projection.fit_counts(counts, c, r, channels, VOID, verbose=True)


def label_rule(rule, train, val, args, channels):
    fitted = fit_label_rule(rule, train, args, channels)
    if fitted is None:
        return np.nan
    if rule == "nearest in label map":
        return projection.reconstruction_miou(fitted, val, verbose=True)
    windows = distinct(val, nearest if rule == "drop" else COMPLETE[rule], args.ratio)
    return miou(fitted.matrix, fitted.mean, *windows, None, args.num_classes)


def vector_rule(rounds, start, train, val, args):
    matrix, mean = start.matrix, start.mean
    windows = partly_valid(train)
    for _ in range(args.passes):
        matrix, mean = power_pass(matrix, mean, *windows, rounds, args.num_classes)
    return miou(matrix, mean, *val, rounds, args.num_classes)


def partly_valid(windows):
    """Leaves out windows that are void throughout."""
    ids, raw, weights = windows
    valid = (raw != VOID).any(1)
    return ids[valid], raw[valid], weights[valid]


# Windows: completed and raw class ids (n, r*r), and how often each pair occurs (n,).


def distinct(maps, complete, ratio):
    counts = Counter()
    for label_map in tqdm(maps, "counting windows"):
        pair = [cut(m, ratio) for m in (complete(label_map, ratio), pad(label_map, ratio))]
        pair = np.ascontiguousarray(np.concatenate(pair, 1))
        counts.update(pair.view(f"V{pair.shape[1]}")[:, 0].tolist())
    pairs = np.frombuffer(b"".join(counts), np.uint8).reshape(len(counts), 2, -1)
    return pairs[:, 0], pairs[:, 1], np.array(list(counts.values()), np.float64)


def pad(label_map, ratio):
    return np.pad(label_map, [(0, -size % ratio) for size in label_map.shape], mode="edge")


def cut(label_map, ratio):
    h, w = (size // ratio for size in label_map.shape)
    grids = label_map.reshape(h, ratio, w, ratio).swapaxes(1, 2)
    return np.array(grids).reshape(h * w, ratio * ratio)


def join(grids, shape, ratio):
    h, w = (size // ratio for size in shape)
    return grids.reshape(h, w, ratio, ratio).swapaxes(1, 2).reshape(shape)


def batches(ids, raw, weights, title):
    for i in tqdm(range(0, len(ids), BATCH), title):
        yield ids[i : i + BATCH], raw[i : i + BATCH], weights[i : i + BATCH]


def vectors(ids, raw, matrix, mean, rounds, num_classes):
    """(n, r*r*C) float32. rounds: None keeps the completed labels, 0 puts zeros at void, more
    start from the completed labels and replace void by its reconstruction that many times."""
    v = (ids[..., None] == np.arange(num_classes)).astype(np.float32).reshape(len(ids), -1)
    if rounds is None:
        return v
    void = np.repeat(raw == VOID, num_classes, axis=1)
    if rounds == 0:
        v[void] = 0
    holes = np.flatnonzero(void.any(1))
    part, void = v[holes], void[holes]
    for _ in range(rounds):
        part = np.where(void, (part - mean) @ matrix.T @ matrix + mean, part)
    v[holes] = part
    return v


def power_pass(matrix, mean, ids, raw, weights, rounds, num_classes):
    """One step of block power iteration on the covariance: a better matrix and mean."""
    total, product = np.zeros(len(mean)), np.zeros(matrix.shape)
    projected = np.zeros(len(matrix))
    for part, part_raw, weight in batches(ids, raw, weights / weights.sum(), "power pass"):
        v = vectors(part, part_raw, matrix, mean, rounds, num_classes)
        x = (v - mean) @ matrix.T * weight[:, None].astype(np.float32)
        total += weight @ v
        projected += x.sum(0)
        product += x.T @ v
    product -= np.outer(projected, total)  # E[x v] - E[x] E[v]
    basis, _ = np.linalg.qr(product.T)
    return basis.T.astype(np.float32), total.astype(np.float32)


def miou(matrix, mean, ids, raw, weights, rounds, num_classes):
    confusion = np.zeros(num_classes**2)
    for part, part_raw, weight in batches(ids, raw, weights, "reconstructing"):
        v = vectors(part, part_raw, matrix, mean, rounds, num_classes)
        scores = (v - mean) @ matrix.T @ matrix + mean
        predicted = scores.reshape(*part.shape, num_classes).argmax(-1)
        valid = part_raw != VOID
        pairs = part_raw[valid] * np.int64(num_classes) + predicted[valid]
        weight = np.broadcast_to(weight[:, None], part.shape)[valid]
        confusion += np.bincount(pairs, weight, num_classes**2)
    confusion = confusion.reshape(num_classes, num_classes)
    true, right = confusion.sum(1), confusion.diagonal()
    union = true + confusion.sum(0) - right
    return (right[true > 0] / union[true > 0]).mean()


if __name__ == "__main__":
    main()
