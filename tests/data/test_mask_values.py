"""What ids and colours in masks mean: tables, their errors, values that are in no table."""

import time

import numpy as np
import pytest
from PIL import Image

from keras_dup import data, training
from keras_dup.data import _classes, _tables
from keras_dup.data._values import MaskValues
from keras_dup.training import _recipe_files

SKY, ROAD = (128, 128, 128), (128, 64, 128)


def test_a_colour_that_is_in_no_table_is_named_with_file_place_and_count(tmp_path):
    pixels = np.full((100, 80, 3), SKY, np.uint8)
    pixels[70:72, 5:15] = 1, 2, 3
    pixels[90, 79] = 9, 9, 9
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(ValueError) as caught:
        data.read_label_map(tmp_path / "a.png", 2, colours=("sky 128 128 128", "road 128 64 128"))
    assert str(caught.value) == (
        f"{tmp_path / 'a.png'}: 21 of 8000 pixels have a colour that is not in the table of "
        "colours: (1, 2, 3) in 20 pixels, the first at row 70, column 5; (9, 9, 9) in 1 pixels, "
        "the first at row 90, column 79; add them, as void if they have no label"
    )
    pixels[:] = np.arange(80)[:, None]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"; and 77 colours more; .* was saved as JPEG or scaled"):
        data.read_label_map(tmp_path / "a.png", 2, colours=("sky 128 128 128",))


def test_colours_are_looked_up_not_compared_class_by_class():
    """As many classes as there can be cost what two cost, up to noise."""
    rng = np.random.default_rng(0)
    codes = rng.choice(2**24, 256, replace=False)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1).astype(np.uint8)
    ids = rng.integers(0, 256, (300, 400)).astype(np.uint8)
    table = {tuple(colour): k for k, colour in enumerate(colours.tolist())}
    values = MaskValues(255, colours=table)
    np.testing.assert_array_equal(values.label_map(colours[ids], "a"), ids)

    def seconds(values, pixels):
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            values.label_map(pixels, "a")
            best = min(best, time.perf_counter() - start)
        return best

    two = MaskValues(2, colours={tuple(colours[k].tolist()): k for k in range(2)})
    assert seconds(values, colours[ids]) < 5 * seconds(two, colours[ids % 2])


@pytest.mark.parametrize("name", _classes.COLOUR_TABLES)
def test_published_colours_are_those_of_their_classes(name):
    table = _tables.read_table(None, name)
    names, colours = {
        "voc2012": (_classes.VOC, data.palette()[:21].tolist()),
        "camvid": (_classes.CAMVID, _classes.CAMVID_COLOURS),
        "cityscapes": (_classes.CITYSCAPES, _classes.CITYSCAPES_COLOURS),
    }[name]
    assert table.names == names
    assert [table.classes[tuple(colour)] for colour in colours] == [*range(len(names))]
    assert (data.VOID in table.classes.values()) and len(_tables.colour_lines(name)) == len(
        table.classes
    )
    palette = MaskValues(len(names), colours=name).palette()
    np.testing.assert_array_equal(palette[: len(names)], colours)
    np.testing.assert_array_equal(palette[len(names) :], data.palette()[len(names) :])


def test_camvids_own_colours_are_merged_as_segnet_does():
    classes = _tables.read_table(None, "camvid").classes
    assert len(classes) == 33, "CamVid's 32, and SegNet's pavement"
    merged = {"building": (64, 192, 0), "car": (192, 128, 192), "tree": (192, 192, 0)}
    assert {_classes.CAMVID[classes[colour]]: colour for colour in merged.values()} == merged


@pytest.mark.parametrize(
    ("ids", "classes"),
    [
        ("0:0,255:1", {0: 0, 255: 1}),
        (("0:0", " 255:1 "), {0: 0, 255: 1}),
        ("-1:255,1..3:0..2", {-1: 255, 1: 0, 2: 1, 3: 2}),
        ("-3..-1:255,0:0", {-3: 255, -2: 255, -1: 255, 0: 0}),
        ("0:0,1..3:1", {0: 0, 1: 1, 2: 1, 3: 1}),
        ({7: 1}, {7: 1}),
        ("oxford_iiit_pet", _classes.PET_IDS),
    ],
)
def test_ids_mean_what_is_said(ids, classes):
    assert _tables.read_table(ids, None).classes == classes


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("0:0,0:1", "0 is given twice"),
        ("0:0,0..3:1", "0 is given twice"),
        ("1..3:0..1", "3 ids, but 2 classes"),
        ("3..1:0", "the smaller one first"),
        ("0..99999999:255", "1 to 65536 ids"),
        ("cityscape", "expected ID:CLASS, .* or one of cityscapes"),
        ("0:3", "0 becomes class 3, but num_classes is 2"),
        ({0: 0.5}, "integers are expected"),
    ],
)
def test_ids_that_cannot_be_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        MaskValues(2, ids=ids)


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        (("sky 1 2 3", "road 1 2 3"), r"colour \(1, 2, 3\) is given twice, for two classes"),
        (("sky 1 2 3", "road 1 2"), "'road 1 2': expected a name and three numbers"),
        (("sky 1 2 3", "road 1 2 256"), "three numbers of 0..255"),
        (("void 1 2 3",), "no class in it"),
        (("a 1 2 3", "b 1 2 4", "c 1 2 5"), "3 classes, but num_classes is 2"),
        ({(1, 2, 3): 2}, "class id 2 of classes, but num_classes is 2"),
        ({(1, 2): 0}, r"\(1, 2\): 0; a colour is three numbers"),
        ({(1, 2, 3.5): 0}, "a colour is three numbers"),
    ],
)
def test_colours_that_cannot_be_are_refused(colours, message):
    with pytest.raises(ValueError, match=message):
        MaskValues(2, colours=colours)


def test_a_table_is_a_file_or_a_known_name_and_ids_or_colours(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"colours colors\.txt: no such file.*voc2012, cam"):
        MaskValues(2, colours="colors.txt")
    with pytest.raises(ValueError, match="ids and colours at once"):
        MaskValues(2, ids={0: 0}, colours="camvid")
    (tmp_path / "c.txt").write_text("sky 128 128\n")
    with pytest.raises(ValueError, match=r"c\.txt: 'sky 128 128': expected a name"):
        MaskValues(2, colours=tmp_path / "c.txt")


def test_names_say_which_class_of_a_model_a_colour_is():
    pixels = np.array([[SKY, ROAD]], np.uint8)
    lines = ("Sky 128 128 128", "Road 128 64 128")

    def found(*names):
        return MaskValues(3, colours=lines, class_names=names).label_map(pixels, "a").tolist()

    assert found("car", "road", "sky") == [[2, 1]]
    assert found("himmel", "strasse", "auto") == [[0, 1]], "other words: the order"
    with pytest.raises(ValueError, match="class 'Road' is none of the classes car, street, sky"):
        found("car", "street", "sky")
    ids = MaskValues(19, ids="cityscapes", class_names=_classes.CITYSCAPES[::-1])
    assert ids.label_map(np.array([[7, 33, 0]]), "a").tolist() == [[18, 0, 255]]


def test_recipes_take_tables_of_texts_and_no_void(tmp_path):
    recipe = training.Recipe("r", 2, train_images="images", train_masks="masks")
    texts = ["ignore_class=none", "colours=sky 128 128 128,road 128 64 128", "mask_suffix=_m"]
    changed = _recipe_files.override(recipe, [*texts, "recursive=true"])
    assert changed.ignore_class is None and changed.mask_suffix == "_m" and changed.recursive
    assert changed.colours == ("sky 128 128 128", "road 128 64 128")
    assert _recipe_files.override(changed, ["ignore_class=7", "mask_suffix=none"]).ignore_class == 7
    with pytest.raises(ValueError, match="ignore_class is a int, not 'x'"):
        _recipe_files.override(recipe, ["ignore_class=x"])
    (tmp_path / "table.txt").write_text("sky 128 128 128\nroad 128 64 128\n")
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        for i in range(3):
            Image.new("RGB", (4, 4), ROAD).save(tmp_path / part / f"{i}.png")
    changed = _recipe_files.override(recipe, ["colours=table.txt", f"data_root={tmp_path}"])
    train, _ = training.datasets(changed)
    assert train.class_names == ("sky", "road") and train.label_map(0).all()
