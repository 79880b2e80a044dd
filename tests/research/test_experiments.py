"""Tables of experiments: rows that parse, a result file a run, the page that is made of them."""

import dataclasses
import itertools
import json
import shlex

import keras
import numpy as np
import pytest

from keras_dup import projection, training
from keras_dup.data import VOID
from research import (
    bootstrap,
    class_priors,
    compare_rows,
    edges,
    experiments,
    feature_probe,
    head_probe,
    one_class,
    picture_probe,
    results,
)
from research.experiments import Row, Table

TINY = (
    "train_count=4 val_count=2 backbone=label_encoder low_level_features= weights= channels=8 "
    "crop_size=32,32 batch_size=4 steps=2 steps_per_epoch=1 devices=cpu:0"
)
ROWS = {
    "bilinear": Row("bilinear, output stride 16", "decoder=bilinear", 98.40),
    "stride16": Row("DUpsampling, output stride 16", "", 99.95),
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    tables = {"tiny": Table("Tiny", "Words.", "shapes", TINY, ROWS, ("background", "disc"))}
    for module in (experiments, results, compare_rows, bootstrap):
        monkeypatch.setattr(module, "TABLES", tables)
    measuring = bootstrap, one_class, class_priors, edges, feature_probe, head_probe, picture_probe
    for module in (experiments, results, compare_rows, *measuring):
        monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(experiments, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(results, "PAGE", tmp_path / "RESULTS.md")
    return tmp_path


def test_every_row_is_a_recipe_with_overrides_that_parse():
    for name, table in experiments.TABLES.items():
        for row in table.rows:
            words = experiments.command(name, row, seed=3)
            assert words[:3] == ["python", "-m", "training.train"]
            path, overrides = experiments.HERE.parent / words[3], words[4:]
            assert training.load_recipe(path, overrides).seed == 3


def test_rows_that_share_their_runs_are_the_same_recipe():
    shared = 0
    for name, table in experiments.TABLES.items():
        for row in table.rows:
            origin = experiments.origin(name, row)
            assert experiments.recipe_of(name, row) == experiments.recipe_of(*origin)
            shared += origin != (name, row)
    assert shared == 5


def test_the_weights_of_classes_are_those_of_their_shares():
    priors = json.loads((experiments.RESULTS / "camvid_long/priors.json").read_text())
    shares = np.round(100 * np.array(priors["shares"]["train"]), 2)  # as the page prints them
    recipe = experiments.recipe_of("camvid_weighted", "dupsampling")
    weights = (np.median(shares) / shares) ** 0.5
    np.testing.assert_allclose(recipe.class_weights, weights, atol=0.0051)  # two digits


def test_a_row_that_is_not_there_is_named(capsys):
    with pytest.raises(SystemExit):
        experiments.main(["upper_bound", "stride64"])
    assert "upper_bound has no row stride64; bilinear32, stride32" in capsys.readouterr().err


def test_rows_without_a_result_are_named_with_their_command(tiny):
    (line,) = [line for line in results.not_run().splitlines() if line.startswith("- ")]
    assert line == "- Tiny: `python -m research.experiments tiny bilinear stride16`"


def test_rows_without_a_run_cannot_be_compared(tiny):
    with pytest.raises(SystemExit, match=r"training\.experiments tiny bilinear --seeds 0"):
        compare_rows.main(["tiny", "bilinear", "stride16"])


def test_the_largest_gains_come_first_and_the_largest_losses_last():
    first, second = [0.5, None, 0.5, 0.5, 0.5], [0.6, None, 0.9, 0.1, 0.4]
    assert compare_rows.extremes(first, second, 1) == [2, 3]
    assert compare_rows.extremes(first, second, 3) == [2, 0, 4, 3]


def test_how_much_of_a_window_a_class_fills():
    mask = np.zeros((3, 5), bool)
    mask[0, 0] = mask[2] = True
    shares = one_class.filled(mask, 2)
    np.testing.assert_array_equal(shares[:2], [[0.25, 0.25, 0, 0, 0]] * 2)
    np.testing.assert_array_equal(shares[2], np.ones(5))


def test_right_pixels_are_counted_by_their_distance_to_a_change_of_label():
    truth = np.zeros((8, 40), "uint8")
    truth[:, 20:] = 1
    truth[0, -1] = VOID

    class Pictures:
        def image(self, i):
            return np.zeros((8, 40, 3), "uint8")

        def label_map(self, i):
            return truth

    found = np.where(np.arange(40) < 22, 0, 1) * np.ones((8, 1), int)  # two columns too late
    measured = edges.measure(lambda image: found, Pictures(), [0])
    near = 4 * 8 + 7  # four columns, and the pixels about the void one, corners included
    assert measured["pixels"][0] == pytest.approx(near / (8 * 40 - 1))
    assert measured["accuracies"][0] == pytest.approx((near - 2 * 8) / near)
    assert measured["accuracies"][1:] == [1, 1, 1, 1]


def test_dividing_by_the_shares_of_train_finds_the_rarer_class():
    class Model:
        def predict_on_batch(self, image):
            return np.tile([0.7, 0.25, 0.05], (1, 4, 4, 1))

    class Pictures:
        def __len__(self):
            return 1

        def image(self, i):
            return np.zeros((4, 4, 3), "uint8")

        def label_map(self, i):
            return np.ones((4, 4), "uint8")

    found = class_priors.measure(Model(), Pictures(), np.array([0.9, 0.1, 0]))
    # 0.7 / 0.9 ** tau is less than 0.25 / 0.1 ** tau from tau = 0.5 on; train lacks class 2
    assert [numbers["pixel_accuracy"] for numbers in found] == [0, 0, 1, 1, 1]


def test_a_probe_finds_what_a_feature_knows_and_nothing_in_one_that_is_the_same_everywhere():
    class Pictures:
        num_classes = 2

        def __len__(self):
            return 400

        def label_map(self, i):
            return (np.arange(16).reshape(4, 4) < i % 17).astype("uint8")

        def image(self, i):
            return np.repeat(self.label_map(i)[..., None], 3, -1) * 200

    image = keras.Input((None, None, 3))
    r2 = []
    for known in (1, 0):
        x = keras.layers.GlobalAveragePooling2D(name="aspp_mean")(image * known)
        r2.append(feature_probe.measure(keras.Model(image, x), Pictures(), Pictures()))
    assert r2[0] > 0.95 and r2[1] == pytest.approx(0, abs=1e-6)


def head(kind, size, start):
    fitted = projection.nearest(3, 8)
    found = head_probe.Head(kind, size, start, fitted, (4, 5, 3))
    found.kernel[size // 2, size // 2, :, :3].assign(np.eye(3))
    return found


@pytest.mark.parametrize("start", [0, 4])
def test_heads_upsample_around_the_places_of_the_features(start):
    x = np.random.default_rng(0).normal(size=(1, 4, 5, 3)).astype("float32")
    outside = 4 - start  # pixels of the first windows
    repeated = x.repeat(8, 1).repeat(8, 2)[:, outside:, outside:]
    inside = slice(None, 32 - outside), slice(None, 40 - outside)
    for kind, size in itertools.product(("repeated", "W"), (1, 3)):
        found = head(kind, size, start)(x).numpy()
        np.testing.assert_allclose(found[:, *inside], repeated, atol=1e-5)
    found = head("interpolated", 1, start)(x).numpy()
    np.testing.assert_allclose(found[:, start::8, start::8], x, atol=1e-6)
    np.testing.assert_allclose(found[0, start + 2, start], 0.75 * x[0, 0, 0] + 0.25 * x[0, 1, 0])
    np.testing.assert_allclose(found[0, -1, -1], x[0, -1, -1], atol=1e-6)
    both = head("interpolated + W", 1, start)
    both.kernel.assign(np.hstack([0.5 * np.eye(3), 2 * np.eye(3)])[None, None])
    wanted = 0.5 * found + 2 * head("W", 1, start)(x).numpy()
    np.testing.assert_allclose(both(x).numpy(), wanted, atol=1e-5)


def test_a_head_learns_what_its_features_hold():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, (16, 4, 5))
    labels = classes.repeat(8, 1).repeat(8, 2).astype("uint8")
    labels[:, 0] = VOID
    features = np.eye(3, dtype="float32")[classes] * 100
    found = head("W", 1, 4)
    found.kernel.assign(0 * found.kernel)
    head_probe.train(found, features, labels, seed=0)
    assert head_probe.cross_entropy(found, features, labels) < 0.2
    assert head_probe.measure(found, features, labels)["miou"] == 1


def test_differences_have_the_bounds_of_draws_of_pictures():
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


def test_a_run_that_went_on_elsewhere_names_both_machines():
    start = {"processor": "GPU", "commit": "1" * 40, "backend": "jax"}
    start["versions"] = {"keras": "3.15", "jax": "0.11"}
    where = results._where({"runs": [start, {**start, "processor": "CPU"}, start]})
    assert where == "- GPU, then CPU; Keras 3.15 on jax 0.11; commit 1111111"


def test_runs_that_were_validated_once_have_no_curves():
    once, twice = {"log": [{"step": "2"}]}, {"log": [{"step": "1"}, {"step": "2"}]}
    assert results.logged({"a": [once], "b": [once, twice]}) == [("b", twice["log"])]
    page = results.PAGE.read_text()
    assert "results/animals_stride.png" in page and "results/animals_stride_longer.png" not in page


def test_what_networks_gain_on_pictures_they_saw_and_did_not_see_is_of_their_means():
    found = results.seen_and_unseen()
    measured = [(one["share"], one["steps"], one["on"]) for one in found]
    parts, whole = ((0.125, 1350), (0.5, 2025)), ((1, 4050), (1, 10800))
    expected = [(*run, on) for run in parts for on in ("train", "unseen")]
    assert measured == expected + [(*run, on) for run in whole for on in ("train", "val")]
    path = experiments.RESULTS / "animals_half/bootstrap_unseen.json"
    rows = json.loads(path.read_text())["rows"]
    mean = [one for one in rows if one["row"] == "interpolated32_fixed"][-1]
    assert len(mean["seeds"]) > 1
    middle, low, high = (100 * x for x in mean["differences"][0])
    cells = f"{', '.join(map(str, mean['seeds']))} | {middle:+.2f} ({low:+.2f} to {high:+.2f}) |"
    line = f"| 50 % of train | 2,025 | {results.MEASURED_ON['unseen']} | {cells}"
    assert line in results.learned_from({}, found)


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
        experiments.recipe_of("animals_fewer", "bilinear32"),
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
        return "".join(pictures.image_files[i].stem for pictures, i in chosen)

    assert (names("train"), names("val"), names("unseen")) == ("ac", "ef", "efbd")
    with pytest.raises(SystemExit, match="trained on all of train; see train_share"):
        names("unseen", dataclasses.replace(given, train_share=1.0))


def test_a_run_that_is_not_named_by_row_and_seed_is_refused(capsys):
    with pytest.raises(SystemExit):
        bootstrap.main(["camvid_long", "interpolated32_fixed"])
    assert "'interpolated32_fixed' is not ROW_SEED, such as bilinear32_0" in capsys.readouterr().err


def features_and_labels():
    return np.zeros((8, 3, 3, 4), "float32"), np.zeros((8, 48, 48), "uint8")


@pytest.mark.slow
def test_runs_become_files_and_files_become_a_page(tiny, capsys, monkeypatch):
    experiments.main(["tiny", "--seeds", "0"])
    experiments.main(["tiny", "stride16", "--seeds", "0", "1"])  # the first is there already
    files = sorted(path.name for path in (tiny / "results/tiny").iterdir())
    assert files == ["bilinear_0.json", "stride16_0.json", "stride16_1.json"]
    found = json.loads((tiny / "results/tiny/stride16_1.json").read_text())
    assert found["recipe"]["seed"] == 1 and found["report"]["steps"] == 2
    assert [row["step"] for row in found["log"]] == ["1", "2"]
    assert set(found["runs"][0]) >= {"commit", "versions", "processor", "backend"}
    assert shlex.split(found["command"])[4:] == [*TINY.split(), "seed=1"]
    compare_rows.main(["tiny", "bilinear", "stride16", "--count", "1"])
    one_class.main(["tiny", "disc", "--rows", "stride16", "--seeds", "0", "1"])
    val = json.loads((tiny / "results/tiny/class_disc.json").read_text())["rows"][0]
    report = json.loads((tiny / "runs/tiny/stride16_0/report.json").read_text())
    assert val["iou"] == pytest.approx(report["iou"]["disc"])
    assert sum(val["pixels"]) == pytest.approx(1)
    recalls = [recall or 0 for recall in val["recalls"]]
    assert np.dot(val["pixels"], recalls) == pytest.approx(val["recall"])
    class_priors.main(["tiny", "--rows", "stride16"])
    (priors,) = json.loads((tiny / "results/tiny/priors.json").read_text())["rows"]
    assert priors["taus"][0]["miou"] == pytest.approx(report["miou"], abs=1e-3)
    bootstrap.main(["tiny", "bilinear_0", "stride16_0", "--on", "train"])
    bootstrap.main(["tiny", "bilinear_0", "stride16_0"])
    first, second = json.loads((tiny / "results/tiny/bootstrap.json").read_text())["rows"]
    assert first["differences"][0] == [0, 0, 0]
    other = json.loads((tiny / "runs/tiny/bilinear_0/report.json").read_text())
    middle, low, high = second["differences"][0]
    assert middle == pytest.approx(report["miou"] - other["miou"]) and low <= high
    edges.main(["tiny", "--rows", "stride16"])
    _, of_val = json.loads((tiny / "results/tiny/edges.json").read_text())["rows"]
    right = [accuracy or 0 for accuracy in of_val["accuracies"]]
    assert np.dot(of_val["pixels"], right) == pytest.approx(report["pixel_accuracy"])
    monkeypatch.setattr(feature_probe, "measure", lambda *_: 0.25)  # has no encoder of pictures
    monkeypatch.setattr(feature_probe.models, "build", lambda *_, **__: None)
    feature_probe.main(["tiny", "--rows", "stride16"])
    monkeypatch.setattr(head_probe, "features_of", lambda *_: features_and_labels())  # nor ASPP
    monkeypatch.setattr(head_probe, "CHANNELS", 2)
    head_probe.main(["tiny", "--rows", "stride16"])
    measured = json.loads((tiny / "results/tiny/heads.json").read_text())["rows"]
    assert len(measured) == 2 * len(head_probe.KINDS)
    monkeypatch.setattr(picture_probe, "STEPS", 1)
    picture_probe.main(["tiny", "--rows", "stride16"])
    by_pictures = json.loads((tiny / "results/tiny/pictures.json").read_text())["rows"]
    assert [one["pictures"] for one in by_pictures] == [1, 1, 1, 1, 4, 4, 8, 8]
    monkeypatch.setattr(head_probe, "measured_on", None)  # what stands there is not measured again
    head_probe.main(["tiny", "--rows", "stride16"])
    assert json.loads((tiny / "results/tiny/heads.json").read_text())["rows"] == measured
    results.main()
    page = (tiny / "RESULTS.md").read_text()
    assert "## Tiny\n\nWords.\n" in page and (tiny / "results/tiny.png").exists()
    assert (tiny / "results/pictures.png").exists()
    assert "python -m research.experiments tiny stride16 --seeds 0 1" in page
    assert "python -m research.compare_rows tiny bilinear stride16" in page
    assert (tiny / "results/tiny/bilinear-stride16.png").exists()
    assert "python -m research.one_class tiny disc --rows stride16 --seeds 0 1" in page
    assert "python -m research.class_priors tiny --rows stride16 --seeds 0" in page
    line, ious, *of_disc = [x for x in page.splitlines() if x.startswith("| DUpsampling")]
    assert "python -m research.edges tiny --rows stride16 --seeds 0" in page
    assert "python -m research.bootstrap tiny bilinear_0 stride16_0" in page
    assert "| pictures of val | |  |  |  | 2 |" in page
    assert "python -m research.bootstrap tiny bilinear_0 stride16_0 --on train" in page
    assert f"| bilinear, output stride 16 | 0 | {100 * other['miou']:.2f} % |" in page
    assert "| before the training |  | 0.250 |" in page
    of_disc.pop()  # of train
    _, _, seed, of_draws, *_ = of_disc.pop().split("|")
    assert seed == " 0 " and of_draws.startswith(f" {100 * middle:+.1f} ({100 * low:+.1f} to ")
    heads, of_pictures = of_disc[-16:-8], of_disc[-8:]
    del of_disc[-16:]
    assert [of.split("|")[4].strip() for of in of_pictures] == 4 * list(picture_probe.KINDS)
    assert of_disc.pop() == "| DUpsampling, output stride 16 | 0 | 0.250 |"
    assert [of.split("|")[4].strip() for of in heads] == [*["1 x 1"] * 4, *["3 x 3"] * 4]
    of_edges = [of_disc.pop(), of_disc.pop()][::-1]
    assert [of.split("|")[2].strip() for of in of_edges] == ["train", "val"]
    of_priors = of_disc.pop()
    assert of_priors.count("%") == len(class_priors.TAUS)
    assert len(of_disc) == 2 and "| W of DUpsampling, output stride 16 |" in page
    assert ious.count("|") > 2 and "IoU by class" in page
    miou, frequent, seeds, paper = (cell.strip() for cell in line.split("|")[2:6])
    values = [json.loads((tiny / f"results/tiny/stride16_{s}.json").read_text()) for s in (0, 1)]
    of_both = [value["report"]["iou"] for value in values]
    of_both = [(iou["background"] + iou["disc"]) / 2 for iou in of_both]
    assert frequent.startswith(f"{50 * sum(of_both):.2f} % (")
    mean = 50 * sum(value["report"]["miou"] for value in values)
    assert miou.startswith(f"{mean:.2f} % (") and seeds == "2" and paper == "99.95 %"
