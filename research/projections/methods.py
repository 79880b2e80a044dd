"""Compares ways to W: PCA, gradient descent, auto-encoder (Sec. 3.1), and constant windows first.

    python -m research.projections.methods --labels SegmentationClass --train train.txt \
        --val val.txt --num-classes 21 --ratio 16 --channels 64

prints, for each, the seconds of the fit after the windows are counted, the mean squared error of
Eq. 3 on the label maps of --train, the reconstruction mIoU on those of --val, in percent, and the
largest error, in a pixel's score of a class, of a rebuilt window that is constant. Rows:

    pca, sgd, autoencoder   the methods of `keras_dup.projection.fit`
    constant                `fit` with constant_windows=True
    constant, added         `with_constant_windows` of the PCA
"""

import argparse
import time
from functools import partial

import numpy as np

from keras_dup import data, projection

CHUNK = 512


def added(counts, num_classes, ratio, channels):
    plain = projection.fit_counts(counts, num_classes, ratio, channels)
    return plain.with_constant_windows()


METHODS = {
    **{
        method: partial(projection.fit_counts, method=method)
        for method in ("pca", "sgd", "autoencoder")
    },
    "constant": partial(projection.fit_counts, constant_windows=True),
    "constant, added": added,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", required=True, help="folder of PNGs")
    parser.add_argument("--train", required=True, help="one name per line")
    parser.add_argument("--val", required=True, help="one name per line")
    parser.add_argument("--num-classes", type=int, required=True)
    parser.add_argument("--ratio", type=int, default=16)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--ignore-class", type=int, default=255, help="the id of void in the files")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    arguments = parser.parse_args()
    train, val = (
        data.LabelMaps(arguments.labels, arguments.num_classes, names, arguments.ignore_class)
        for names in (arguments.train, arguments.val)
    )
    shape = arguments.num_classes, arguments.ratio
    counts = projection.count_windows(train, *shape)
    print(f"{'method':16}{'seconds':>9}{'Eq. 3':>12}{'mIoU':>12}{'constant':>12}")
    for method in arguments.methods:
        start = time.perf_counter()
        fitted = METHODS[method](counts, *shape, arguments.channels)
        seconds = time.perf_counter() - start
        miou = 100 * projection.reconstruction_miou(fitted, val)
        errors = f"{error(fitted, counts):12.4f}{miou:10.3f} %{constant_error(fitted):12.2g}"
        print(f"{method:16}{seconds:9.1f}{errors}", flush=True)


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


def constant_error(fitted):
    """The largest error in what is rebuilt of windows of one class throughout."""
    ids = np.repeat(np.arange(fitted.num_classes)[:, None], fitted.ratio**2, 1)
    one_hot = (ids[..., None] == np.arange(fitted.num_classes)).reshape(len(ids), -1)
    return np.abs(fitted.reconstruct_windows(fitted.compress_windows(ids)) - one_hot).max()


if __name__ == "__main__":
    main()
