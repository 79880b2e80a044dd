"""Differences of networks and the bounds that draws of the images give them."""

import dataclasses

import keras
import numpy as np
import pytest

from research.experiments.runs import recipe_of
from research.probes import bootstrap


def test_differences_have_the_bounds_of_draws_of_images():
    right, wrong = np.diag([6, 2]), np.array([[6, 0], [2, 0]])
    taken = bootstrap.draw(40)
    assert taken.shape == (1 + bootstrap.DRAWS, 40) and (taken.sum(1) == 40).all()
    always = bootstrap.scores(np.array([right] * 40), taken, [0, 1])
    assert (always == 1).all()
    half = bootstrap.scores(np.array([right] * 20 + [wrong] * 20), taken, [0, 1])
    miou, accuracy, same, first, second = bootstrap.differences(half, always)
    assert same == miou and accuracy[0] == -0.125
    assert second[0] == -0.5 and second[1] < -0.6 and second[2] > -0.4
    # 20 of 40, give or take: a binomial with a standard deviation of 3.16
    np.testing.assert_allclose(second[1:], [-0.5 - 1.96 * 0.079, -0.5 + 1.96 * 0.079], atol=0.03)
    assert miou[0] == pytest.approx((first[0] + second[0]) / 2)
    frequent = [bootstrap.scores(np.array([one] * 40), taken, [1]) for one in (wrong, right)]
    assert bootstrap.differences(*frequent)[2] == (-1, -1, -1)
    once = bootstrap.scores(np.array([right] + [np.diag([6, 0])] * 39), taken, [0])
    assert bootstrap.differences(once, once)[4] == (0, 0, 0)  # absent in many draws
    absent = bootstrap.scores(np.array([np.diag([6, 0])] * 40), taken, [0])
    assert bootstrap.differences(absent, absent)[4] is None


def test_means_over_seeds_are_beside_the_mean_of_the_first_row():
    def several(iou):
        return np.full((1 + bootstrap.DRAWS, 3), iou)

    found = {("a", 0): several(0.5), ("b", 0): several(0.6)}
    assert bootstrap.means(found) == []
    a, b = bootstrap.means(found | {("a", 1): several(0.7)})
    assert a == {"row": "a", "seeds": [0, 1], "scores": 3 * [0.6], "differences": 3 * [(0, 0, 0)]}
    assert b["seeds"] == [0] and b["differences"] == 3 * [(0, 0, 0)]


def test_unseen_are_val_and_what_a_share_leaves_of_train(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in "abcdef":
        keras.utils.save_img(tmp_path / f"images/{name}.png", np.zeros((8, 8, 3)), scale=False)
        keras.utils.save_img(tmp_path / f"masks/{name}.png", np.zeros((8, 8, 1)), scale=False)
    given = dataclasses.replace(
        recipe_of("animals_fewer", "bilinear32"),
        train_images=str(tmp_path / "images"),
        train_masks=str(tmp_path / "masks"),
        train_names=list("abcd"),
        val_images="",
        val_masks="",
        val_names=list("ef"),
        train_share=0.5,
    )

    def names(on, recipe=given):
        chosen = bootstrap.measured_on(recipe, on)
        return "".join(dataset.image_files[i].stem for dataset, i in chosen)

    assert (names("train"), names("val"), names("unseen")) == ("ac", "ef", "efbd")
    with pytest.raises(SystemExit, match="trained on all of train; see train_share"):
        names("unseen", dataclasses.replace(given, train_share=1.0))


def test_a_run_that_is_not_named_by_row_and_seed_is_refused(capsys):
    with pytest.raises(SystemExit):
        bootstrap.main(["camvid_long", "interpolated32_fixed"])
    assert "'interpolated32_fixed' is not ROW_SEED, such as bilinear32_0" in capsys.readouterr().err
