"""Compares the paper's three ways to W: PCA, gradient descent, auto-encoder (Sec. 3.1).

    python -m research.projections.methods --labels SegmentationClass --train train.txt \
        --val val.txt --num-classes 21 --ratio 16 --channels 64

prints, for each, the seconds of the fit after the windows are counted, the mean squared error of
Eq. 3 on the label maps of --train, and the reconstruction mIoU on those of --val, in percent.
"""

import argparse
import time

import numpy as np

from keras_dup import data, projection
from keras_dup.projection.reconstruction import count_with_void, ious_by_channels

CHUNK = 512


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", required=True, help="folder of PNGs")
    parser.add_argument("--train", required=True, help="one name per line")
    parser.add_argument("--val", required=True, help="one name per line")
    parser.add_argument("--num-classes", type=int, required=True)
    parser.add_argument("--ratio", type=int, default=16)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--methods", nargs="+", default=projection.METHODS)
    arguments = parser.parse_args()
    train, val = (
        data.LabelMaps(arguments.labels, arguments.num_classes, names)
        for names in (arguments.train, arguments.val)
    )
    shape = arguments.num_classes, arguments.ratio
    counts = projection.count_windows(train, *shape)
    print(f"{'method':14}{'seconds':>9}{'Eq. 3':>12}{'mIoU':>12}")
    for method in arguments.methods:
        start = time.perf_counter()
        fitted = projection.fit_counts(counts, *shape, arguments.channels, method=method)
        seconds = time.perf_counter() - start
        windows = count_with_void(fitted, val)
        miou = 100 * np.nanmean(ious_by_channels(fitted, windows, [arguments.channels]))
        print(f"{method:14}{seconds:9.1f}{error(fitted, counts):12.4f}{miou:10.3f} %", flush=True)


def error(fitted, counts):
    """The mean over all windows of |v - v~|^2, pixels of void filled in."""
    total, classes = 0.0, np.arange(fitted.num_classes)
    for start in range(0, len(counts), CHUNK):
        ids = counts.windows[start : start + CHUNK]
        one_hot = (ids[..., None] == classes).reshape(len(ids), -1)
        rebuilt = fitted.reconstruct_windows(fitted.compress_windows(ids))
        squares = ((one_hot - rebuilt) ** 2).sum(1, dtype=np.float64)
        total += squares @ counts.counts[start : start + CHUNK]
    return total / counts.counts.sum()


if __name__ == "__main__":
    main()
