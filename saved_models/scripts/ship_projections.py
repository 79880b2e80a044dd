"""Fits the projections that the package ships, and prints their card.

    python -m saved_models.scripts.ship_projections voc2012 \
        --masks SegmentationClass --num-classes 21 \
        --train train.txt --val val.txt --output saved_models --sizes 8:64 16:128 32:128

makes one file for each ratio, `voc2012_r16_c128.npz`; of PCA fewer channels are the first rows, so
`build(projection="voc2012_r16_c64")` is in it too. Matrices are kept as float16: the card has the
reconstruction mIoU on the val label maps with float32 and as kept.
"""

import argparse
import pathlib

import numpy as np

from keras_dup import data, projection
from keras_dup.projection._reconstruction import count_with_void, ious_by_channels


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="what the files' names begin with")
    parser.add_argument("--masks", required=True, help="folder of PNGs to fit to")
    parser.add_argument("--train", help="one name per line; all by default")
    parser.add_argument("--val-masks", help="folder of PNGs to measure on; --masks by default")
    parser.add_argument("--val", help="one name per line; all by default")
    parser.add_argument("--num-classes", type=int, required=True)
    parser.add_argument("--ignore-class", type=int, default=255)
    parser.add_argument("--sizes", nargs="+", required=True, help="ratio:channels")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    print("| name | variance | mIoU on val, float32 | as kept | bytes of the file |")
    print("|---|---|---|---|---|")
    for size in arguments.sizes:
        ship(arguments, *map(int, size.split(":")))


def ship(arguments, ratio, channels):
    shape = arguments.num_classes, arguments.train, arguments.ignore_class
    train = data.LabelMaps(arguments.masks, *shape)
    fitted = projection.fit(
        train, arguments.num_classes, ratio, channels, verbose=True, workers=arguments.workers
    )
    path = arguments.output / f"{arguments.name}_r{ratio}_c{channels}"
    path = fitted.save(path, float16=True)
    val = data.LabelMaps(
        arguments.val_masks or arguments.masks,
        arguments.num_classes,
        arguments.val,
        arguments.ignore_class,
    )
    counts = count_with_void(fitted, val, workers=arguments.workers)
    steps = [k for k in (32, 64, 128, 256) if k <= channels]
    scores = [
        100 * np.nanmean(ious_by_channels(some, counts, steps), 1)
        for some in (fitted, projection.load(path))
    ]
    explained = 100 * fitted.explained_variance_ratio.cumsum()
    for k, exact, kept in zip(steps, *scores, strict=True):
        name = f"`{arguments.name}_r{ratio}_c{k}`"
        print(f"| {name} | {explained[k - 1]:.2f} % | {exact:.4f} % | {kept:.4f} % |", end="")
        print(f" {path.stat().st_size:,} |", flush=True)


if __name__ == "__main__":
    main()
