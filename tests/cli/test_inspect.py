"""`keras-dup inspect`: what is said of two folders, and what its suggestions are worth."""

import re
import shlex

import mask_kinds
import numpy as np
import pytest
from PIL import Image

from keras_dup import _cli, data
from keras_dup._cli import masks
from keras_dup.data import _classes, _suggestions

COUNT = 4


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes images/ and masks/ of a kind to the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(name):
        mask_kinds.write(mask_kinds.KINDS[name], tmp_path, COUNT)
        return mask_kinds.KINDS[name]

    return write


def inspect(capsys, *arguments):
    """What `inspect` prints, and how it ends."""
    end = ""
    try:
        _cli.main(["inspect", "images", "masks", *arguments])
    except SystemExit as error:
        end = str(error)
    return capsys.readouterr().out, end


SUGGESTED = ("ids", "palette", "binary", "colours", "WebP, colours", "npy", "two suffixes")
SUGGESTED += ("nested", "Cityscapes", "colours of CamVid", "binary, RGB", "from 1")


@pytest.mark.parametrize("name", SUGGESTED)
def test_what_is_suggested_reads_the_masks_right(name, written, tmp_path, capsys):
    kind = written(name)
    shown, end = inspect(capsys, *[word for word in kind.said if word == "--recursive"])
    assert end == "" and "faults: none" in shown and f"{COUNT} pairs" in shown
    assert Image.open("inspect.png").width > 900
    reading = [part.rpartition(": ")[0] for part in re.findall("suggestion: (.*)", shown)]
    reading = reading[{"from 1": 2, "colours of CamVid": 1}.get(name, 0)]
    (tmp_path / "colours.txt").write_text("\n".join(re.findall("^    (class.*)", shown, re.M)))
    train = f"train --images images --masks masks -o run {reading}"
    nested = ["--recursive"] * ("--recursive" in kind.said)
    arguments = _cli.parser().parse_args([*shlex.split(train), *nested])
    num_classes, _ = masks.classes(arguments)
    found = data.Folder("images", "masks", num_classes, **masks.given(arguments))
    for i in range(COUNT):
        truth, label_map = kind.truth(mask_kinds.label_map(i)), found.label_map(i)
        if "colours.txt" in reading:  # nobody knows their names and order
            pairs = {*zip(truth.ravel().tolist(), label_map.ravel().tolist(), strict=True)}
            assert [len({*side}) for side in zip(*pairs, strict=True)] == [4, 4] == [len(pairs)] * 2
        else:
            np.testing.assert_array_equal(label_map, truth)


def test_every_fault_is_told_and_the_rest_is_drawn(written, tmp_path, capsys):
    written("ids")
    (tmp_path / "images/00.png").write_bytes(b"no image")
    data.save_label_map("masks/01.png", np.full((32, 48), 7))
    data.save_label_map("masks/02.png", np.zeros((30, 48)))
    Image.new("RGB", (48, 32)).save("images/alone.jpg")
    data.save_label_map("masks/lonely.png", np.zeros((32, 48)))
    shown, end = inspect(capsys, "--num-classes", "4", "-o", "pairs.png")
    assert end == "keras-dup: 6 faults, see above"
    for fault in (
        r"images.00\.png: cannot be decoded",
        r"masks.01\.png: class id 7, but num_classes is 4",
        r"masks.02\.png: mask of 30 x 48 \(height x width\), but its image .*02\.png has 32 x 48",
        r"images.alone\.jpg: no mask for it in masks",
        r"masks.lonely\.png: no image for it in images",
        r"class 3 occurs in no mask",
    ):
        assert re.search(rf"^    .*{fault}", shown, re.M), fault
    assert "pairs.png: 1 pairs before and after augmentation" in shown and "to train" not in shown
    assert re.search(r"^0 +\d+\.\d\d % +3$", shown, re.M) and "32 x 48 (3)" in shown


def test_nothing_that_is_read_is_overwritten(written, tmp_path, capsys):
    written("ids")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "images/deep").mkdir()
    for output in ("masks/00.png", "images/new.png", "colours.txt", "images/deep/new.png"):
        _, end = inspect(capsys, "-o", output, "--colours", "colours.txt", "--recursive")
        assert "give another -o" in end
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_names_and_sizes_and_a_given_table_are_kept_to(written, tmp_path, capsys):
    written("binary")
    (tmp_path / "names.txt").write_text("00\n03\n")
    (tmp_path / "classes.txt").write_text("ground\nobject\n")
    given = ["--num-classes=2", "--class-names=classes.txt", "--ids=0:0,255:1", "--names=names.txt"]
    shown, end = inspect(capsys, *given, "--crop-size", "16", "24", "--seed", "5")
    assert end == "" and "2 pairs" in shown and "suggestion" not in shown
    assert re.search(r"^1 +\d+\.\d\d % +2  object$", shown, re.M)
    (tmp_path / "colours.txt").write_text("object 255 255 255\nground 0 0 0\n")
    named = inspect(capsys, "--class-names=classes.txt", "--num-classes=2", "--colours=colours.txt")
    assert re.search(r"^1 +\d\.\d\d % +4  object$", named[0], re.M)
    train = shown.partition("to train: keras-dup ")[2].split("\n")[0]
    assert set(given) <= set(shlex.split(train))


def test_jpeg_masks_are_refused_with_the_reason_and_a_way_out(written, tmp_path, capsys):
    written("ids")
    for path in (tmp_path / "masks").iterdir():
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    _, end = inspect(capsys)
    assert re.search(r"masks: 00\.jpg, .*: JPEG changes the values of pixels.*export .* PNG", end)
    Image.open("masks/00.jpg").save("masks/00.png", "JPEG")  # by another name
    shown, _ = inspect(capsys)
    assert re.search(r"images.01\.png: no mask for it in masks: 01\.jpg is a JPEG, and JPEG", shown)
    assert re.search(r"masks.00\.png: a mask saved as JPEG, JPEG changes", shown)
    with pytest.raises(ValueError, match=r"masks: 01\.jpg, .*: JPEG changes the values"):
        data.Folder("images", "masks", 3)
    with pytest.raises(ValueError, match=r"00\.png: a mask saved as JPEG, JPEG changes"):
        data.Folder("images", "masks", 3, names=["00"]).label_map(0)


@pytest.mark.parametrize(
    ("values", "num_classes", "words"),
    [
        ([0, 1, 2, 255], 3, []),
        ([0, 1, 255], None, [["--num-classes", "2"]]),
        ([0, 1, 255], 2, []),
        ([0, 1, 255], 3, [["--num-classes", "3", "--ids=0:0,1:1,255:2"]]),
        ([0, 255], 2, [["--num-classes", "2", "--ids=0:0,255:1"]]),
        ([1, 2, 3], None, [["--num-classes", "3", "--ids=1..3:0..2"]]),
        (
            [*range(12)],
            11,
            [
                ["--num-classes", "11", "--ignore-class=11"],
                ["--num-classes", "11", "--ids=0:255,1..11:0..10"],
            ],
        ),
        (
            [0, 85, 170, 255],
            None,
            [
                ["--num-classes", "4", "--ids=0:0,85:1,170:2,255:3"],
                ["--num-classes", "3", "--ids=0:0,85:1,170:2,255:255"],
            ],
        ),
        (
            [0, 8, 12, 15],
            None,
            [["--num-classes", "4", "--ids=0:0,8:1,12:2,15:3"], ["--num-classes", "16"]],
        ),
        (
            [0, 1, 3, 255],
            None,
            [["--num-classes", "4"], ["--num-classes", "3", "--ids=0:0,1:1,3:2,255:255"]],
        ),
        ([*range(0, 40_000, 7)], None, [[]]),
        (
            [(0, 0, 0), (128, 0, 0)],
            None,
            [["--colours", name] for name in ("colours.txt", "voc2012", "camvid")],
        ),
        (
            [tuple(c) for c in data.palette()[:15].tolist()],
            None,
            [["--colours", "voc2012"], ["--colours", "colours.txt"]],
        ),
        (
            [colour for _, colour in _classes.COLOUR_TABLES["camvid"]()],
            None,
            [["--colours", "camvid"]],
        ),
        ([(1, 2, 3), (9, 9, 9)], None, [["--colours", "colours.txt"]]),
        ([(i, i, 0) for i in range(99)], None, [[]]),
        ([], None, []),
    ],
)
def test_values_suggest_what_they_mean(values, num_classes, words):
    found = _suggestions.suggestions(values, num_classes)
    assert [reading.words() for reading in found] == words


def test_the_picture_shows_the_augmentation_that_is_asked_for(written, capsys):
    written("ids")
    pictures = []
    for more in ([], ["color_jitter", "erasing"]):
        _, end = inspect(capsys, "--augmentation", *more)
        assert end == ""
        pictures.append(np.asarray(Image.open("inspect.png")).astype(int))
    columns = np.abs(pictures[0] - pictures[1]).max((0, 2)) > 0
    assert not columns[: len(columns) // 2].any() and columns[len(columns) // 2 :].any()
    _, end = inspect(capsys, "--augmentation", "gausian_blur")
    assert (
        "augmentation='gausian_blur'; of color_jitter" in end
        and "did you mean 'gaussian_blur'" in end
    )
