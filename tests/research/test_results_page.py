"""From runs and probes to RESULTS.md: two tiny networks, trained and measured once."""

import json
import shlex
import types

import numpy as np
import pytest

from keras_dup import training
from research import results
from research.experiments import __main__ as experiments
from research.experiments import runs, tables
from research.experiments.tables import Row, Table
from research.page import experiments as page
from research.page import files, learning, markdown
from research.page.probes import MEASURED_ON
from research.probes import (
    bootstrap,
    borders,
    class_priors,
    compare_rows,
    edges,
    features,
    heads,
    learning_curve,
    one_class,
)

TINY = (
    "train_count=4 val_count=2 datasets=research.upper_bound:datasets "
    "network=research.upper_bound:network low_level_features= weights= channels=8 "
    "crop_size=32,32 batch_size=4 steps=2 steps_per_epoch=1 devices=cpu:0"
)
ROWS = {
    "bilinear": Row("bilinear, output stride 16", "decoder=bilinear", 98.40),
    "stride16": Row("DUpsampling, output stride 16", "", 99.95),
}
TABLE = Table("Tiny", "Words.", "shapes", TINY, ROWS, ("background", "disc"), "of two")


def patch(monkeypatch, folder):
    monkeypatch.setattr(tables, "TABLES", {"tiny": TABLE})
    monkeypatch.setattr(tables, "RESULTS", folder / "results")
    monkeypatch.setattr(tables, "RUNS", folder / "runs")


def train_here(words, check, cwd):
    """What the process of a run does, without starting one."""
    *_, recipe, overrides, output = words[3], words[4:-2], words[-1]
    training.train(training.load_recipe(cwd / recipe, overrides), output)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of the results, after every script ran on two networks."""
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as monkeypatch:
        patch(monkeypatch, folder)
        monkeypatch.setattr(runs, "subprocess", types.SimpleNamespace(run=train_here))
        experiments.main(["tiny", "--seeds", "0"])
        experiments.main(["tiny", "stride16", "--seeds", "0", "1"])  # the first is there already
        compare_rows.main(["tiny", "bilinear", "stride16", "--count", "1"])
        one_class.main(["tiny", "disc", "--rows", "stride16", "--seeds", "0", "1"])
        class_priors.main(["tiny", "--rows", "stride16"])
        bootstrap.main(["tiny", "bilinear_0", "stride16_0", "--on", "train"])
        bootstrap.main(["tiny", "bilinear_0", "stride16_0"])
        edges.main(["tiny", "--rows", "stride16"])
        borders.main(["tiny", "--rows", "stride16"])
        measure_features(monkeypatch)
        results.main()
    return folder


def measure_features(monkeypatch):
    """These networks have no encoder of images and no ASPP."""
    monkeypatch.setattr(features, "measure", lambda *_: 0.25)
    monkeypatch.setattr(features.models, "build", lambda *_, **__: None)
    features.main(["tiny", "--rows", "stride16"])
    made = np.zeros((8, 3, 3, 4), "float32"), np.zeros((8, 48, 48), "uint8")
    monkeypatch.setattr(heads, "features_of", lambda *_: made)
    monkeypatch.setattr(heads, "CHANNELS", 2)
    monkeypatch.setattr(heads, "EPOCHS", 1)
    heads.main(["tiny", "--rows", "stride16"])
    monkeypatch.setattr(learning_curve, "STEPS", 1)
    learning_curve.main(["tiny", "--rows", "stride16"])
    monkeypatch.setattr(heads, "measured_on", None)  # rows that are there are not measured again
    heads.main(["tiny", "--rows", "stride16"])


@pytest.fixture(scope="module")
def lines(tiny):
    """The cells of every line of the page's tables."""
    text = (tiny / "RESULTS.md").read_text().splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text if line[:1] == "|"]


def read(tiny, name):
    return json.loads((tiny / f"results/tiny/{name}.json").read_text())


def report(tiny, run):
    return json.loads((tiny / f"runs/tiny/{run}/report.json").read_text())


@pytest.mark.slow
def test_a_run_becomes_a_file(tiny):
    files = sorted(path.name for path in (tiny / "results/tiny").glob("*_[0-9].json"))
    assert files == ["bilinear_0.json", "stride16_0.json", "stride16_1.json"]
    found = read(tiny, "stride16_1")
    assert found["recipe"]["seed"] == 1 and found["report"]["steps"] == 2
    assert [row["step"] for row in found["log"]] == ["1", "2"]
    assert set(found["runs"][0]) >= {"commit", "versions", "processor", "backend"}
    assert shlex.split(found["command"])[4:] == [*TINY.split(), "seed=1"]


@pytest.mark.slow
def test_probes_measure_what_the_report_of_a_run_has(tiny):
    of_run, other = report(tiny, "stride16_0"), report(tiny, "bilinear_0")
    val = read(tiny, "class_disc")["rows"][0]
    assert val["iou"] == pytest.approx(of_run["iou"]["disc"])
    assert sum(val["pixels"]) == pytest.approx(1)
    recalls = [recall or 0 for recall in val["recalls"]]
    assert np.dot(val["pixels"], recalls) == pytest.approx(val["recall"])
    (priors,) = read(tiny, "priors")["rows"]
    assert priors["taus"][0]["miou"] == pytest.approx(of_run["miou"], abs=1e-3)
    first, second = read(tiny, "bootstrap")["rows"]
    middle, low, high = second["differences"][0]
    assert first["differences"][0] == [0, 0, 0] and low <= high
    assert middle == pytest.approx(of_run["miou"] - other["miou"])
    _, of_val = read(tiny, "edges")["rows"]
    right = [accuracy or 0 for accuracy in of_val["accuracies"]]
    assert np.dot(of_val["pixels"], right) == pytest.approx(of_run["pixel_accuracy"])
    (of_borders,) = read(tiny, "borders_seed0")["rows"]  # W adds nothing to scores
    assert of_borders["miou"] == pytest.approx(of_run["miou"]) and of_borders["added"]
    assert len(read(tiny, "heads")["rows"]) == 2 * len(heads.KINDS)
    counts = [one["pictures"] for one in read(tiny, "pictures")["rows"]]
    assert counts == [1, 1, 1, 1, 4, 4, 8, 8]


@pytest.mark.slow
def test_the_page_has_the_scores_of_every_seed(tiny, lines):
    values = [read(tiny, f"stride16_{seed}")["report"] for seed in (0, 1)]
    of_two = [(value["iou"]["background"] + value["iou"]["disc"]) / 2 for value in values]
    (line,) = [x for x in lines if "99.95 %" in x]
    assert line[1].startswith(f"{50 * sum(value['miou'] for value in values):.2f} % (")
    assert line[2].startswith(f"{50 * sum(of_two):.2f} % (") and line[3] == "2"


@pytest.mark.slow
def test_the_page_has_a_line_for_everything_that_was_measured(tiny, lines):
    label, bilinear = (ROWS[row].label for row in ("stride16", "bilinear"))
    middle, low, high = (100 * x for x in read(tiny, "bootstrap")["rows"][1]["differences"][0])
    miou = report(tiny, "bilinear_0")["miou"]
    for expected in (
        [bilinear, "0", f"{100 * miou:.2f} %"],
        [label, "0", f"{middle:+.1f} ({low:+.1f} to {high:+.1f})"],
        ["images of val", "", ""],
        ["before the training", "", "0.250"],
        [label, "0", "0.250"],
        [label, "train"],
        [label, "val"],
        [f"W of {label}", ""],
    ):
        assert expected in [line[: len(expected)] for line in lines], expected
    of_row = [line for line in lines if line[0] == label and len(line) > 3]
    of_heads = [line[3] for line in of_row if line[2] in heads.KINDS]
    assert of_heads == [*["1 x 1"] * 4, *["3 x 3"] * 4]
    of_curve = [line[3] for line in of_row if line[3] in heads.KINDS]
    assert of_curve == 4 * list(learning_curve.KINDS)


@pytest.mark.slow
def test_the_page_has_pictures_and_commands(tiny):
    text = (tiny / "RESULTS.md").read_text()
    assert "## Tiny\n\nWords.\n" in text and "IoU by class" in text
    assert "mIoU on val on the way:\n\n|  | 1 steps |\n" in text
    assert (tiny / "results/tiny.png").exists() and (tiny / "results/pictures.png").exists()
    for words in (
        "experiments tiny stride16 --seeds 0 1",
        "probes.one_class tiny disc --rows stride16 --seeds 0 1",
        "probes.class_priors tiny --rows stride16 --seeds 0",
        "probes.edges tiny --rows stride16 --seeds 0",
        "probes.borders tiny --rows stride16 --seeds 0",
        "probes.bootstrap tiny bilinear_0 stride16_0\n",
        "probes.bootstrap tiny bilinear_0 stride16_0 --on train",
    ):
        assert f"python -m research.{words}" in text, words


@pytest.mark.slow
def test_images_are_compared_outside_of_the_repository(tiny):
    assert (tiny / "runs/tiny/bilinear-stride16.png").exists()
    assert not list((tiny / "results/tiny").glob("*.png"))


def test_rows_without_a_result_are_named_with_their_command(tmp_path, monkeypatch):
    patch(monkeypatch, tmp_path)
    (line,) = [x for x in page.not_run({"tiny": {}}).splitlines() if x.startswith("- ")]
    assert line == "- Tiny: `python -m research.experiments tiny bilinear stride16`"


def test_rows_without_a_run_cannot_be_compared(tmp_path, monkeypatch):
    patch(monkeypatch, tmp_path)
    with pytest.raises(SystemExit, match=r"research\.experiments tiny bilinear --seeds 0"):
        compare_rows.main(["tiny", "bilinear", "stride16"])


def test_a_run_that_went_on_elsewhere_names_both_machines():
    start = {"processor": "GPU", "commit": "1" * 40, "backend": "jax"}
    start["versions"] = {"keras": "3.15", "jax": "0.11"}
    where = markdown.where([start, {**start, "processor": "CPU"}, start])
    assert where == "- GPU, then CPU; Keras 3.15 on jax 0.11; commit 1111111"


def test_commands_of_old_results_name_the_modules_of_today():
    assert markdown.command("python -m training.edges a --rows b") == (
        "python -m research.probes.edges a --rows b"
    )
    assert markdown.command("python -m training.train x") == "python -m training.train x"
    for name in markdown.MODULES.values():
        assert (tables.ROOT / f"research/{name.replace('.', '/')}.py").exists()


def test_the_page_is_what_the_results_say(tmp_path, monkeypatch):
    committed = (tables.ROOT / "research/RESULTS.md").read_text()
    for path in tables.RESULTS.glob("*"):
        (tmp_path / "results").mkdir(exist_ok=True)
        if path.suffix != ".png":
            (tmp_path / "results" / path.name).symlink_to(path)
    monkeypatch.setattr(tables, "RESULTS", tmp_path / "results")
    for draw in ("draw_logs", "draw_learning"):
        monkeypatch.setattr(results.curves, draw, lambda *_: None)
    results.main()
    assert (tmp_path / "RESULTS.md").read_text() == committed


def test_runs_that_were_validated_once_have_no_curves():
    once, twice = {"log": [{"step": "2"}]}, {"log": [{"step": "1"}, {"step": "2"}]}
    assert page.logged({"a": [once], "b": [once, twice]}) == [("b", twice["log"])]


def test_what_networks_gain_on_images_they_saw_and_did_not_see_is_of_their_means():
    found = learning.trained()
    measured = [(one["share"], one["steps"], one["on"]) for one in found]
    parts, whole = ((0.125, 1350), (0.5, 2025)), ((1, 4050), (1, 10800))
    expected = [(*run, on) for run in parts for on in ("train", "unseen")]
    assert measured == expected + [(*run, on) for run in whole for on in ("train", "val")]
    path = tables.RESULTS / "animals_half/bootstrap_unseen.json"
    rows = json.loads(path.read_text())["rows"]
    mean = [one for one in rows if one["row"] == "interpolated32_fixed"][-1]
    assert len(mean["seeds"]) > 1
    middle, low, high = (100 * x for x in mean["differences"][0])
    cells = f"{', '.join(map(str, mean['seeds']))} | {middle:+.2f} ({low:+.2f} to {high:+.2f}) |"
    line = f"| 50 % of train | 2,025 | {MEASURED_ON['unseen']} | {cells}"
    assert line in learning.section({}, found)


def test_runs_of_a_vision_transformer_are_one_row_for_each_data_set_and_end():
    row = {"data": "shapes", "end": "bilinear", "steps": 9, "near": 0.25, "boundary_iou": 0.5}
    rows = [{**row, "seed": seed, "miou": 0.3 + seed / 100} for seed in range(2)]
    machine = {"processor": "a processor", "commit": "0123456789", "backend": "tensorflow"}
    run = {**machine, "versions": {"keras": "3", "tensorflow": "2"}}
    section = files.vision_transformer({"command": "python", "rows": rows, "run": run})
    spread = "30.50 % (30.00 to 31.00)", "25.00 % (25.00 to 25.00)", "50.00 % (50.00 to 50.00)"
    assert f"| shapes | bilinear | 9 | {' | '.join(spread)} | 2 |" in section.splitlines()
