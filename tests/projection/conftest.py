"""Label maps drawn at random, and the projection fitted to them."""

import numpy as np
import pytest
from label_maps import VOID, fit, voronoi, without_ties


@pytest.fixture(scope="session")
def label_maps():
    rng = np.random.default_rng(0)
    sizes = [(16, 24), (17, 23), (13, 30), (20, 20), (21, 9), (4, 40), (11, 11), (18, 18)]
    maps = [without_ties(voronoi(rng, *size)) for size in sizes]
    assert all((y == VOID).any() for y in maps)
    return maps


@pytest.fixture(scope="session")
def fitted(label_maps):
    return fit(label_maps)
