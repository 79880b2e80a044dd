"""Ids looked up in a table, counted, and told apart from classes."""

import numpy as np
import pytest

from keras_dup import _label_maps
from keras_dup._label_maps import IdCounts, IdTable, count_ids, different_names, doubt
from keras_dup.data import Examples

IDS = {-1: 255, 0: 0, 1: 1, 2: 2}


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_ids_are_looked_up_and_never_indexed(dtype):
    mask = np.array([[-1, 0, 1, 2]], dtype)
    examples = Examples([{"segmentation_mask": mask}], 3, ids=IDS)
    np.testing.assert_array_equal(examples.label_map(0), [[255, 0, 1, 2]])


def test_ids_of_any_size_are_looked_up():
    table = IdTable({2**63: 1, 2**40 + 1: 0, 70_000: 255}, 2)
    mask = np.array([[2**63, 2**40 + 1], [70_000, 2**63]], np.uint64)
    np.testing.assert_array_equal(table(mask, "x"), [[1, 0], [255, 1]])
    with pytest.raises(ValueError, match=r"x: id 7, which is none of \[70000, "):
        table(mask * np.uint64(0) + np.uint64(7), "x")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({0: 0, 1: 1, 2: 7}, "2 becomes class 7, but num_classes is 3"),
        ({0: 0, 1: -1}, "1 becomes class -1"),
        ({0: 256}, "0 becomes class 256"),
        ({0: 1.5}, "integers are expected"),
        ({0.5: 1}, "integers are expected"),
        ({0: True}, "integers are expected"),
        ({"0": 1}, "integers are expected"),
        ({0: None}, "integers are expected"),
    ],
)
def test_a_table_of_ids_that_are_no_classes_is_refused_when_built(ids, message):
    with pytest.raises(ValueError, match=message):
        Examples([], 3, ids=ids)


def test_a_class_that_occurs_in_no_mask_is_named_with_what_occurs_and_the_way_out():
    masks = [np.array([[0, 0, 255]], np.uint8)] * 27
    text = count_ids(masks).complaint(2)
    assert text == (
        "class 1 occurs in none of 27 masks; ids found: 0 (67 %), 255 (33 %, void); if 255 (now "
        "void) stands for that, give --ids=0:0,255:1"
    )
    assert count_ids([*masks, np.ones((1, 1), np.uint8)]).complaint(2) == ""
    text = count_ids([np.array([[0, 3]])]).complaint(4, ["sky", "road", "tree", "car"])
    assert text.startswith('classes 1 "road", 2 "tree" occur in none of 1 masks; ids found: 0 (50')
    many = count_ids([np.zeros((1, 2), np.uint8)]).complaint(21)
    assert "and 10 more occur" in many and len(many) < 200


def test_shares_add_up_over_label_maps_of_any_type():
    counts = IdCounts()
    counts.add(np.array([[0, 0], [255, 2]], np.uint8))
    counts.add(np.array([[-1, 300]], np.int64))
    assert counts.pixels == {0: 2, 255: 1, 2: 1, -1: 1, 300: 1} and counts.label_maps == 2
    assert sum(counts.shares().values()) == pytest.approx(1)
    assert counts.text() == "-1 (17 %), 0 (33 %), 2 (17 %), 255 (17 %, void), 300 (17 %)"
    small = count_ids([np.repeat([0, 1, 2], [100_000, 600, 1])[None]])
    assert small.text() == "0 (99 %), 1 (0.6 %), 2 (under 0.1 %)"


def test_predictions_that_have_nothing_to_do_with_the_masks_raise_a_doubt():
    rng = np.random.default_rng(0)
    chance = np.outer(rng.integers(1, 100, 5), rng.integers(1, 100, 5))
    assert "Cohen's kappa 0.00" in doubt(chance) and "--ids" in doubt(chance)
    assert "kappa -" in doubt([[0, 9], [9, 0]])
    assert doubt(chance + np.diag([5000] * 5)) == ""
    assert doubt([[7, 0], [0, 0]]) == doubt(np.zeros((2, 2))) == ""


def test_void_is_one_number_for_the_whole_package():
    from keras_dup import data, evaluation, losses

    assert {data.VOID, evaluation.VOID, losses.VOID, _label_maps.VOID} == {255}


def test_where_names_of_classes_differ_is_said():
    say = different_names
    assert say(["sky", "road"], ["Sky", "road"], "x") == say(["0", "1"], ["sky", "road"], "x") == ""
    message = say(["sky", "road"], ["road", "car"], "the data set")
    assert message.startswith("2 of 2 classes have other names in the data set than in the model")
    assert message.endswith("class 0 is 'road' there, 'sky' here")
