"""Fits projections to label maps of the size of well-known data sets: time and peak memory.

    KERAS_DUP_DATA=/where/the/data/lie \
        python -m research.benchmarks.scale cityscapes ade20k coco_stuff

The data sets themselves are not needed: their label maps are drawn, each from VOC 2012 label maps
that are scaled, mirrored, shifted, laid side by side and given other classes at random, so that
the borders between labels, and the bands of void, are those of real label maps. --share 0.1 draws
a tenth as many. One JSON line a data set, with the machine, goes to standard output.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import resource
import time

import numpy as np

from keras_dup import projection
from keras_dup.data import LabelMaps
from research.benchmarks.machine import machine

# label maps, height, width, classes
DATA_SETS = {
    "cityscapes": (2975, 1024, 2048, 19),
    "ade20k": (20210, 512, 683, 150),  # sizes are mixed there: this is their median
    "coco_stuff": (118287, 480, 640, 171),
}
SCALES = (0.6, 1.4)
VOID = 255


class DrawnLabelMaps:
    """`len()` and `[i]`: the i-th label map is always the same."""

    def __init__(self, sources, count, height, width, num_classes):
        self.sources, self.count, self.num_classes = sources, count, num_classes
        self.height, self.width = height, width

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        rng = np.random.default_rng(i)
        label_map = np.full((self.height, self.width), VOID, np.uint8)
        top = 0
        while top < self.height:
            bottom, left = top + int(rng.integers(200, 400)), 0
            while left < self.width:
                right = left + int(rng.integers(250, 500))
                piece = label_map[top:bottom, left:right]
                piece[:] = self._piece(rng, *piece.shape)
                left = right
            top = bottom
        return label_map

    def _piece(self, rng, height, width):
        source = self.sources[rng.integers(len(self.sources))]
        scale = rng.uniform(*SCALES)
        rows, columns = (
            ((np.arange(side) / scale + rng.uniform(0, size)) % size).astype(int)
            for side, size in ((height, source.shape[0]), (width, source.shape[1]))
        )
        classes = np.full(256, VOID, np.uint8)
        classes[:21] = rng.permutation(max(self.num_classes, 21))[:21] % self.num_classes
        return classes[source[np.ix_(rows, columns[:: rng.choice([-1, 1])])]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", choices=DATA_SETS)
    parser.add_argument("--share", type=float, default=1.0, help="of the label maps")
    parser.add_argument("--ratio", type=int, default=16)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    for name in arguments.names:  # each in a process of its own: peaks of memory do not add up
        process = multiprocessing.get_context("fork").Process(target=run, args=(name, arguments))
        process.start()
        process.join()


def run(name, arguments):
    count, height, width, num_classes = DATA_SETS[name]
    folder = pathlib.Path(os.environ["KERAS_DUP_DATA"]) / "voc2012"
    sources = LabelMaps(folder / "SegmentationClass", 21, folder / "train.txt")
    sources = [sources[i] for i in range(len(sources))]
    count = round(count * arguments.share)
    label_maps = DrawnLabelMaps(sources, count, height, width, num_classes)
    start = time.perf_counter()
    counts = projection.count_windows(
        label_maps, num_classes, arguments.ratio, VOID, True, workers=arguments.workers
    )
    counted = time.perf_counter()
    fitted = projection.fit_counts(
        counts, num_classes, arguments.ratio, arguments.channels, VOID, True
    )
    solved = time.perf_counter()
    print(
        json.dumps(
            {
                "data_set": name,
                "label_maps": count,
                "size": [height, width],
                "num_classes": num_classes,
                "ratio": arguments.ratio,
                "channels": arguments.channels,
                "windows": int(counts.counts.sum()),
                "distinct_windows": len(counts),
                "in_files": isinstance(counts.windows, np.memmap),
                "variance": round(float(fitted.explained_variance_ratio.sum()), 5),
                "seconds_counting": round(counted - start, 1),
                "seconds_solving": round(solved - counted, 1),
                "peak_mib": memory(resource.RUSAGE_SELF),
                "peak_mib_of_a_worker": memory(resource.RUSAGE_CHILDREN),
                **machine(),
            }
        ),
        flush=True,
    )


def memory(who):
    return resource.getrusage(who).ru_maxrss // 1024


if __name__ == "__main__":
    main()
