"""Label maps drawn at random, for the tests of projections."""

import numpy as np

from keras_dup import projection

CLASSES, RATIO, VOID, CHANNELS = 5, 4, 255, 6


def voronoi(rng, height, width, num_classes=CLASSES, void=True):
    """A label map of cells around random points, with a band of void between them."""
    points = rng.uniform(0, [height, width], (6, 2))
    labels = rng.permutation(np.arange(6) % num_classes)
    grid = np.stack(np.mgrid[:height, :width], -1)[:, :, None]
    distance = np.sqrt(((grid - points) ** 2).sum(-1))
    label_map = labels[distance.argmin(-1)].astype(np.uint8)
    first, second = np.sort(distance, -1)[..., :2].transpose(2, 0, 1)
    label_map[(second - first < 1.2) & void] = VOID
    return label_map


def without_ties(label_map):
    """Labels void pixels with two nearest labels, of which the rule may take either."""
    while True:
        valid, ties = np.argwhere(label_map != VOID), []
        for pixel in np.argwhere(label_map == VOID):
            distance = ((valid - pixel) ** 2).sum(1)
            if len(set(label_map[tuple(valid[distance == distance.min()].T)])) > 1:
                ties.append(tuple(pixel))
        if not ties:
            return label_map
        label_map[tuple(np.transpose(ties))] = 0


def fit(label_maps, **changes):
    arguments = {"num_classes": CLASSES, "ratio": RATIO, "channels": CHANNELS, "ignore_class": VOID}
    return projection.fit(label_maps, **{**arguments, **changes})


def fields(fitted):
    arrays = fitted.matrix, fitted.mean, fitted.explained_variance_ratio
    return [*arrays, fitted.num_classes, fitted.ratio, fitted.channels, fitted.ignore_class]


def assert_same(one, other):
    for a, b in zip(fields(one), fields(other), strict=True):
        np.testing.assert_array_equal(a, b)
