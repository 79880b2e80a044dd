"""What W adds to interpolated scores, by the number of images that it is learned from.

    python -m research.probes.learning_curve animals_stride --rows bilinear32 --seeds 2

Trains two heads of `research.probes.heads` that see one feature, interpolated scores without W and
with it, for the same number of steps on more and more images of train. What both gain on val is
what more images teach; what W gains on train and not on val it knows by heart. Writes
research/results/TABLE/pictures.json. Rows that the file has are not measured again: delete it to
start anew.
"""

import itertools
import math
import sys

import numpy as np

from research.experiments import tables
from research.experiments.runs import parse
from research.probes.heads import Head, cross_entropy, measure, measure_each, train

KINDS = "interpolated", "interpolated + W"
SHARES = 1 / 32, 1 / 8, 1 / 2, 1  # of train
STEPS = 900


def probe(fitted, start, ours, theirs, seed, share, kind):
    """Trains a head on this share of the images of `ours`, at equal distances."""
    count = math.ceil(share * len(ours[0]))
    chosen = np.arange(count) * len(ours[0]) // count
    features, labels = (part[chosen] for part in ours)
    head = Head(kind, 1, start, fitted, features.shape[1:])
    train(head, features, labels, seed, STEPS)
    found = {"pictures": count, "loss": cross_entropy(head, features, labels)}
    return found | {"val_loss": cross_entropy(head, *theirs), **measure(head, *theirs)}


def main(arguments=None):
    arguments, command = parse(__doc__, "learning_curve", arguments)
    path = tables.RESULTS / arguments.table / "pictures.json"
    heads = list(itertools.product(arguments.rows, arguments.seeds, SHARES, KINDS))
    keys = "row", "seed", "share", "head"
    measure_each(arguments, path, keys, heads, probe, sys.maxsize, command=command, steps=STEPS)


if __name__ == "__main__":
    main()
