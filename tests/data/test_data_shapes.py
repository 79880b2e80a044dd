import numpy as np
import pytest

from keras_dup.data import VOID, Shapes
from keras_dup.data._shapes import CLASS_NAMES, _signed_distance


def test_an_item_depends_on_seed_and_index_alone():
    forwards, backwards = Shapes(80, seed=3), Shapes(90, seed=3)
    there = [(forwards.image(i), forwards.label_map(i)) for i in range(80)]
    for i in reversed(range(80)):  # more than are kept in memory
        np.testing.assert_array_equal(backwards.label_map(i), there[i][1])
        np.testing.assert_array_equal(backwards.image(i), there[i][0])
    assert (Shapes(1, seed=4).image(0) != there[0][0]).any()
    assert (there[0][0] != there[1][0]).any()


def test_images_and_label_maps_have_the_size_and_type_asked_for():
    data = Shapes(3, size=(97, 131))
    assert len(data) == 3 and data.num_classes == len(data.class_names) == 7
    assert data.image(2).shape == (97, 131, 3) and data.image(2).dtype == np.uint8
    assert data.label_map(2).shape == (97, 131) and data.label_map(2).dtype == np.uint8


def test_every_class_is_drawn_and_no_other_id():
    counts = np.zeros(256, int)
    for label_map in Shapes(100).label_maps():
        counts += np.bincount(label_map.ravel(), minlength=256)
    share = counts / counts.sum()
    assert set(np.flatnonzero(counts)) == {*range(7), VOID}
    assert share[1:7].min() > 0.005 and 0.03 < share[VOID] < 0.1 and 0.5 < share[0] < 0.85


def test_classes_never_touch_but_across_void():
    for label_map in Shapes(50).label_maps():
        for shift in [(0, 1), (1, 0), (1, 1), (1, -1)]:
            other = np.roll(label_map, shift, (0, 1))[1:, 1:-1]
            here = label_map[1:, 1:-1]
            assert ((here == other) | (here == VOID) | (other == VOID)).all()


def test_void_lies_where_the_picture_has_edges():
    data = Shapes(60)
    placed, misplaced = [], []
    for i in range(60):
        colours = data.image(i).astype(float)
        steep = sum(np.hypot(*np.gradient(channel)) for channel in np.moveaxis(colours, -1, 0))
        void = data.label_map(i) == VOID
        placed.append(steep[void].mean() / steep[~void].mean())
        misplaced.append(steep[np.roll(void, (5, 5), (0, 1))].mean() / steep[~void].mean())
    assert (np.array(placed) > misplaced).all() and np.median(placed) > 1.9


@pytest.mark.parametrize("name", CLASS_NAMES[1:])
def test_shapes_have_their_area(name):
    y, x = np.mgrid[-80:80, -80:80].astype(np.float32)
    turn = np.exp(0.4j).astype(np.complex64)  # off the pixels' axes
    u, v = (turn * (x + 1j * y)).real, (turn * (x + 1j * y)).imag
    radius = np.float32(40)
    rng = np.random.default_rng(0)
    area = (_signed_distance(rng, name, u, v, radius) < 0).sum()
    rng = np.random.default_rng(0)
    thin = rng.uniform(0.07, 0.14) * 40
    expected = {
        "disc": np.pi * 40**2,
        "box": 4 * 36 * 40 * rng.uniform(0.5, 0.9),
        "triangle": 3 * np.sqrt(3) / 4 * 40**2,
        "ring": np.pi * (40**2 - (40 - 2 * thin) ** 2),
        "star": 5 * 40 * 16 * np.sin(np.pi / 5),
        "stripe": 4 * 72 * thin,
    }[name]
    # An outline of some 300 pixels, each cut at random (0.29 standard deviation): +-5 pixels.
    assert abs(area - expected) < 15


def test_what_comes_out_may_be_written_on():
    data = Shapes(1)
    data.image(0)[:] = 0
    data.label_map(0)[:] = 1
    assert data.image(0).any() and (data.label_map(0) != 1).any()


def test_arguments_and_indices_out_of_range_are_errors():
    for arguments in ({"count": 0}, {"count": 1, "size": (16, 64)}, {"count": 1, "seed": -1}):
        with pytest.raises(ValueError, match="at least"):
            Shapes(**arguments)
    for i in (-1, 5):
        with pytest.raises(IndexError, match="of 5"):
            Shapes(5).image(i)
