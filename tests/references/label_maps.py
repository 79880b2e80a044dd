"""Label maps drawn at random, for the tests of projections."""

import numpy as np

CLASSES, RATIO, VOID = 5, 4, 255


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
