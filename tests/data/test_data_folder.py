import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_dup.data import VOID, Folder, palette, read_image, save_label_map
from keras_dup.data._images import check_image

LABELS = np.array([[0, 1, 2], [20, 255, 3]], np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Three items "a", "b", "c": 2 x 3 images of noise, the same label map each."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir(), masks.mkdir()
    rng = np.random.default_rng(0)
    for name in "cab":
        pixels = rng.integers(0, 256, (2, 3, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{name}.png")
        save_label_map(masks / f"{name}.png", LABELS)
    return images, masks


def save_grey(path, ids, **options):
    Image.fromarray(np.asarray(ids, np.uint8)).save(path, **options)


def test_items_come_sorted_and_with_the_values_of_the_files(folders):
    data = Folder(*folders, num_classes=21)
    assert [path.stem for path in data.image_files] == ["a", "b", "c"]
    assert [path.stem for path in data.mask_files] == ["a", "b", "c"]
    assert len(data) == 3 and data.num_classes == 21 and data.class_names[20] == "20"
    np.testing.assert_array_equal(data.image(0), np.asarray(Image.open(folders[0] / "a.png")))
    assert data.image(0).dtype == data.label_map(0).dtype == np.uint8
    assert all(np.array_equal(label_map, LABELS) for label_map in data.label_maps())
    data.check(verbose=False)


def test_names_select_from_a_list_or_a_file_and_leave_the_rest_alone(folders, tmp_path):
    (folders[0] / "z.png").write_bytes(b"has no mask and is not asked for")
    (tmp_path / "train.txt").write_text("c\n\n a \n")
    for names in (["c", "a"], tmp_path / "train.txt", str(tmp_path / "train.txt")):
        data = Folder(*folders, num_classes=21, names=names)
        assert [path.stem for path in data.image_files] == ["a", "c"]


def test_image_endings_count_in_any_case_and_hidden_files_do_not(folders):
    (folders[0] / "a.png").rename(folders[0] / "a.PNG")
    Image.open(folders[0] / "b.png").save(folders[0] / "b.JPEG", format="JPEG")
    (folders[0] / "b.png").unlink()
    (folders[0] / "._c.png").write_bytes(b"macOS")
    (folders[0] / "notes.txt").write_text("not an image")
    names = [path.name for path in Folder(*folders, num_classes=21).image_files]
    assert names == ["a.PNG", "b.JPEG", "c.png"]


def test_the_files_void_id_comes_out_as_255(folders):
    for name in "abc":
        save_label_map(folders[1] / f"{name}.png", [[0, 1, 11], [10, 11, 3]])
    data = Folder(*folders, num_classes=11, ignore_class=11)
    np.testing.assert_array_equal(data.label_map(0), [[0, 1, VOID], [10, VOID, 3]])


@pytest.mark.parametrize(
    ("kind", "bits"),
    [*(("palette", bits) for bits in (1, 2, 4, 8)), *(("grey", bits) for bits in (1, 2, 4, 8, 16))],
)
def test_masks_of_any_depth_give_their_ids(folders, kind, bits):
    ids = np.array([[0, 1, 0], [1, 0, 1]]) * min(2**bits - 1, 20)
    path = folders[1] / "a.png"
    if kind == "palette":
        image = Image.fromarray(ids.astype(np.uint8))
        image.putpalette(palette().tobytes())
        image.save(path, bits=bits)
    else:
        path.write_bytes(grey_png(ids, bits))
    np.testing.assert_array_equal(Folder(*folders, num_classes=21).label_map(0), ids)


def grey_png(ids, bits):
    """A grey PNG written by hand: Pillow does not write 2 and 4 bits."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    height, width = ids.shape
    rows = b""
    for row in ids:
        packed = "".join(format(int(value), f"0{bits}b") for value in row)
        packed += "0" * (-len(packed) % 8)
        rows += b"\0" + int(packed, 2).to_bytes(len(packed) // 8, "big")
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_an_image_is_turned_as_its_exif_orientation_says(folders):
    pixels = np.arange(18, dtype=np.uint8).reshape(3, 2, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Image.fromarray(pixels).save(folders[0] / "a.png", exif=exif)
    data = Folder(*folders, num_classes=21)
    np.testing.assert_array_equal(data.image(0), np.rot90(pixels, -1))
    np.testing.assert_array_equal(data.label_map(0), LABELS)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_images_of_any_mode_become_rgb(folders, mode):
    path = folders[0] / ("a.jpg" if mode == "CMYK" else "a.png")
    (folders[0] / "a.png").unlink()
    if mode == "I;16":
        Image.fromarray(np.full((2, 3), 204 * 256 + 3, np.uint16)).save(path)
    else:
        Image.new("RGB", (3, 2), (204, 204, 204)).convert(mode).save(path)
    image = Folder(*folders, num_classes=21).image(0)
    assert image.shape == (2, 3, 3) and image.dtype == np.uint8
    if mode != "1":  # one bit dithers
        assert np.abs(image.astype(int) - 204).max() <= 3  # JPEG; 204 is in the web palette


def test_a_class_id_out_of_range_is_named_with_its_file(folders):
    save_label_map(folders[1] / "b.png", [[0, 1, 2], [37, 255, 3]])
    data = Folder(*folders, num_classes=21)
    message = r"b\.png: class id 37, but num_classes is 21 \(ids 0\.\.20 and void 255\)"
    with pytest.raises(ValueError, match=message):
        data.label_map(1)
    with pytest.raises(ValueError, match=message):
        data.check(verbose=False)


def test_void_255_is_an_error_where_the_files_have_no_void(folders):
    with pytest.raises(ValueError, match=r"class id 255, .* and no void"):
        Folder(*folders, num_classes=21, ignore_class=None).label_map(0)


@pytest.fixture
def faulty(folders):
    """Folders of "a" to "g": "a", "c" and "f" are sound, the others have a fault each, "e" two."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    for name in "defg":
        Image.fromarray(pixels).save(folders[0] / f"{name}.jpg")
        save_label_map(folders[1] / f"{name}.png", LABELS)
    save_label_map(folders[1] / "b.png", LABELS + 40)  # 255 wraps around to 39
    cut = (folders[0] / "d.jpg").read_bytes()[:-20]
    (folders[0] / "d.jpg").write_bytes(cut)
    (folders[0] / "e.jpg").write_bytes(cut)
    Image.fromarray(pixels).save(folders[1] / "e.png")
    save_label_map(folders[1] / "g.png", LABELS.T)
    return folders


FAULTS = [
    r"masks.b\.png: class id 39, but",
    r"images.d\.jpg: cannot be decoded .*damaged",
    r"images.e\.jpg: cannot be decoded .*masks.e\.png: a mask saved as RGB",
    r"masks.g\.png: mask of 3 x 2 .*images.g\.jpg has 2 x 3",
]


def test_check_tells_all_faults_at_once_in_file_order(faulty):
    with pytest.raises(ValueError) as caught:
        Folder(*faulty, num_classes=21).check(verbose=False)
    head, *lines = str(caught.value).splitlines()
    assert head == "4 of 7 pairs have a fault:"
    for line, fault in zip(lines, FAULTS, strict=True):
        assert re.search(fault, line)


def test_check_drops_the_pairs_with_a_fault_on_request(faulty, capsys):
    data = Folder(*faulty, num_classes=21)
    faults = data.check(on_error="skip")
    for message, fault in zip(faults, FAULTS, strict=True):
        assert re.search(fault, message)
    assert "skipped: 4 of 7 pairs have a fault:" in capsys.readouterr().out
    for files in (data.image_files, data.mask_files):
        assert [path.stem for path in files] == ["a", "c", "f"]
    assert len(data) == 3 and data.check(verbose=False) == []


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_check_quotes_twenty_faults_and_counts_the_rest(folders, on_error):
    for number in range(22):
        for folder in folders:
            (folder / f"d{number:02}.png").write_bytes(b"")
    for name in "abc":
        (folders[1] / f"{name}.png").write_bytes(b"")
    data = Folder(*folders, num_classes=21)
    with pytest.raises(ValueError, match=r"25 of 25 pairs .*") as caught:  # none would be left
        data.check(on_error, verbose=False)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22 and "d16.png" in lines[20] and lines[21].strip() == "and 5 more"
    assert len(data) == 25


def test_check_goes_on_past_a_file_that_has_vanished(folders):
    data = Folder(*folders, num_classes=21)
    (folders[1] / "a.png").unlink()
    (fault,) = data.check("skip", verbose=False)
    assert "a.png" in fault and len(data) == 2


def test_check_knows_two_ways_to_treat_a_fault(folders):
    with pytest.raises(ValueError, match="on_error is 'ignore'"):
        Folder(*folders, num_classes=21).check("ignore")


def test_checking_an_image_finds_what_reading_it_finds(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((80, 60)).save(tmp_path / "a.jpg", progressive=True)
    content, rng = (tmp_path / "a.jpg").read_bytes(), np.random.default_rng(1)
    faults = 0
    for place in rng.integers(2, len(content), 100):
        damaged = bytearray(content)
        if place % 2:
            del damaged[place:]
        else:
            damaged[place : place + 2] = rng.bytes(2)
        (tmp_path / "a.jpg").write_bytes(damaged)
        outcomes = {_fault(read, tmp_path / "a.jpg") for read in (read_image, check_image)}
        assert len(outcomes) == 1
        faults += outcomes != {""}
    assert 40 < faults < 100


def _fault(read, path):
    try:
        read(path)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("without", [0, 1])
def test_files_without_partner_are_counted_and_the_first_five_named(folders, without):
    kept = folders[1 - without]
    for name in ("m0", "m1", "m2", "m3", "m4", "m5", "m6"):
        (kept / f"{name}.png").write_bytes((kept / "a.png").read_bytes())
    kind = ("image", "mask")[without]
    message = rf"{folders[without].name}: no {kind} for m0, m1, m2, m3, m4 and 2 more \(7 in all\)"
    with pytest.raises(ValueError, match=message):
        Folder(*folders, num_classes=21)


def test_an_image_and_a_mask_of_different_sizes_are_named_with_both_sizes(folders):
    save_label_map(folders[1] / "a.png", np.zeros((3, 2), np.uint8))
    message = r"masks.a\.png: mask of 3 x 2 .*images.a\.png has 2 x 3"
    with pytest.raises(ValueError, match=message):
        Folder(*folders, num_classes=21).check(verbose=False)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_mask_saved_as_colours_says_how_to_read_it(folders, mode):
    Image.new(mode, (3, 2), (1, 2, 3)).save(folders[1] / "a.png")
    with pytest.raises(ValueError, match=rf"a\.png: .* {mode}, .*colours; .*--colours FILE"):
        Folder(*folders, num_classes=21).label_map(0)


@pytest.mark.parametrize(("kind", "ending"), [(0, "png"), (0, "jpg"), (1, "png")])
@pytest.mark.parametrize("keep", [0, 10, 0.5])
def test_a_damaged_file_is_named(folders, kind, ending, keep):
    (folders[kind] / "a.png").unlink()
    path = folders[kind] / f"a.{ending}"
    rng = np.random.default_rng(0)
    shape = (90, 90) if kind else (90, 90, 3)
    Image.fromarray(rng.integers(0, 20, shape, np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if keep < 1 else keep])
    message = rf"{folders[kind].name}.a\.{ending}: cannot be decoded .*damaged"
    with pytest.raises(ValueError, match=message):
        Folder(*folders, num_classes=21).check(verbose=False)


def test_an_empty_folder_names_the_endings_looked_for(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no file that ends in \.jpg, \.jpeg, \.png"):
        Folder(tmp_path / "empty", folders[1], num_classes=21)
    with pytest.raises(ValueError, match=r"empty: no file that ends in \.png"):
        Folder(folders[0], tmp_path / "empty", num_classes=21)


def test_a_folder_or_list_that_does_not_exist_is_named(folders, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        Folder(tmp_path / "nowhere", folders[1], num_classes=21)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Folder(*folders, num_classes=21, names=tmp_path / "nowhere.txt")


def test_names_without_a_file_repeated_or_missing_altogether_are_errors(folders):
    with pytest.raises(ValueError, match=r"images: no image for a\.png, x; "):
        Folder(*folders, num_classes=21, names=["b", "a.png", "x"])
    with pytest.raises(ValueError, match="b listed more than once"):
        Folder(*folders, num_classes=21, names=["b", "a", "b"])
    with pytest.raises(ValueError, match="no names"):
        Folder(*folders, num_classes=21, names=[])


def test_two_images_of_one_name_are_an_error(folders):
    Image.new("RGB", (3, 2)).save(folders[0] / "a.jpg")
    with pytest.raises(ValueError, match=r"images: a\.jpg and a\.png have one name"):
        Folder(*folders, num_classes=21)


def test_num_classes_and_class_names_must_agree(folders):
    assert Folder(*folders, num_classes=2, class_names=["x", "y"]).class_names == ("x", "y")
    with pytest.raises(ValueError, match="1 class_names, but num_classes 2"):
        Folder(*folders, num_classes=2, class_names=["x"])
    for num_classes in (0, 256):
        with pytest.raises(ValueError, match=r"num_classes is 1\.\.255"):
            Folder(*folders, num_classes=num_classes)


def test_the_palette_is_the_one_of_pascal_voc():
    colours = palette()
    assert colours.shape == (256, 3) and colours.dtype == np.uint8
    expected = {0: (0, 0, 0), 1: (128, 0, 0), 8: (64, 0, 0), 15: (192, 128, 128)}
    expected |= {20: (0, 64, 128), 255: (224, 224, 192)}
    assert {k: tuple(colours[k].tolist()) for k in expected} == expected
    assert len(np.unique(colours, axis=0)) == 256


def test_a_saved_label_map_reads_back_as_ids_and_shows_as_colours(tmp_path):
    ids = np.arange(256).reshape(8, 32)
    save_label_map(tmp_path / "x.png", ids)
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), ids)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette()[ids])
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]
    for wrong in (ids[None], ids + 1, ids - 1):
        with pytest.raises(ValueError, match="label map"):
            save_label_map(tmp_path / "y.png", wrong)
