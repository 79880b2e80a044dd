"""What W adds to interpolated scores, by the number of pictures that it is learned from.

    python -m research.picture_probe animals_stride --rows bilinear32 --seeds 2

The heads of `research.head_probe` that take a feature alone, interpolated scores without W and with
it, trained for the same number of steps on more and more pictures of train. What both gain on val
is what more pictures tell; what W gains on train and not on val is these pictures by heart. Writes
research/results/TABLE/pictures.json, which research/RESULTS.md shows; what stands there already is
not measured again, delete the file to measure anew.
"""

import itertools
import math
import sys

import numpy as np

from research.experiments import RESULTS, parse
from research.head_probe import Head, cross_entropy, measure, measure_each, train

KINDS = "interpolated", "interpolated + W"
SHARES = 1 / 32, 1 / 8, 1 / 2, 1  # of train
STEPS = 900


def probe(fitted, start, ours, theirs, seed, share, kind):
    """Trains a head on this share of the pictures of `ours`, at equal distances."""
    pictures = math.ceil(share * len(ours[0]))
    chosen = np.arange(pictures) * len(ours[0]) // pictures
    features, labels = (part[chosen] for part in ours)
    head = Head(kind, 1, start, fitted, features.shape[1:])
    train(head, features, labels, seed, STEPS)
    found = {"pictures": pictures, "loss": cross_entropy(head, features, labels)}
    return found | {"val_loss": cross_entropy(head, *theirs), **measure(head, *theirs)}


def main(arguments=None):
    arguments, command = parse(__doc__, "picture_probe", arguments)
    path = RESULTS / arguments.table / "pictures.json"
    heads = list(itertools.product(arguments.rows, arguments.seeds, SHARES, KINDS))
    keys = "row", "seed", "share", "head"
    measure_each(arguments, path, keys, heads, probe, sys.maxsize, command=command, steps=STEPS)


if __name__ == "__main__":
    main()
