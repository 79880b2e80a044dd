"""Which files are masks, how they pair with images, and what errors say of those that do not."""

import numpy as np
import pytest
from PIL import Image

from keras_dup import data
from keras_dup.data import _listing


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def paired(images, masks, **options):
    """{name: (image, mask)} of two folders, as texts."""
    return {
        name: tuple(path.as_posix().rpartition(f"{folder.name}/")[2] for path, folder in pair)
        for name, image, mask in _listing.pair(images, masks, **options)
        for pair in [((image, images), (mask, masks))]
    }


@pytest.mark.parametrize(
    ("images", "masks", "names"),
    [
        ("a.jpg b.jpg", "a_mask.png b_mask.png", "a b"),
        ("1.jpg 1_2.jpg", "1_mask.png 1_2_mask.png", "1 1_2"),
        ("a.jpg a_b.jpg", "a.png a_b.png", "a a_b"),
        ("a.jpg b.jpg", "a.png b.png", "a b"),
        ("a_sat.jpg b_sat.jpg", "a_mask.png b_mask.png", "a b"),
        ("x_1_left.png x_2_left.png", "x_1_gt_ids.png x_2_gt_ids.png", "x_1 x_2"),
        ("a.jpg b.jpg", "a_mask.png b_mask.png a_preview.png", "a b"),
        ("a.jpg", "a.labels.png", "a"),
        ("ä.jpg", "a\u0308_L.png", "ä"),
    ],
)
def test_what_masks_have_behind_the_names_is_found(images, masks, names, tmp_path):
    touch(tmp_path / "images", *images.split())
    touch(tmp_path / "masks", *masks.split())
    assert [*paired(tmp_path / "images", tmp_path / "masks")] == names.split()


def test_several_masks_of_each_image_have_to_be_chosen_from(tmp_path):
    images = touch(tmp_path / "images", "a_left.png", "b_left.png")
    kinds = "_gt_color", "_gt_ids"
    masks = touch(tmp_path / "masks", *(f"{n}{kind}.png" for n in "ab" for kind in kinds))
    with pytest.raises(ValueError, match=r"end in _gt_color, _gt_ids; .* --mask-suffix=_gt_color"):
        _listing.pair(images, masks)
    found = paired(images, masks, mask_suffix="_gt_ids")
    assert found == {n: (f"{n}_left.png", f"{n}_gt_ids.png") for n in "ab"}
    for name in ("a", "a_left"):  # a list may have it or not
        assert [*paired(images, masks, names=[name], mask_suffix="_gt_ids")] == ["a"]
        alone = data.LabelMaps(masks, 2, names=[name], mask_suffix="_gt_ids")
        assert [path.name for path in alone.files] == ["a_gt_ids.png"] and alone.names == ["a"]
    with pytest.raises(ValueError, match=r"no mask whose name ends in _gt"):
        data.LabelMaps(masks, 2, mask_suffix="_gt")


def test_a_suffix_is_found_for_names_alone(tmp_path):
    masks = touch(tmp_path / "masks", "a_mask.png", "b_mask.png")
    assert data.LabelMaps(masks, 2, names=["b"]).files == [masks / "b_mask.png"]
    assert data.LabelMaps(masks, 2).names == ["a_mask", "b_mask"]


def test_a_mask_without_its_image_is_told_with_the_suffix_too(tmp_path):
    images = touch(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
    masks = touch(tmp_path / "masks", "a_mask.png", "b_mask.png", "d_mask.png")
    with pytest.raises(ValueError, match=r"images: no image for d; .* a mask _mask behind it"):
        _listing.pair(images, masks)
    with pytest.raises(ValueError, match=r"masks: no mask for c; "):
        _listing.pair(images, masks, names=["a", "c"])


def test_images_and_masks_may_lie_in_one_folder_where_the_suffix_is_said(tmp_path):
    both = touch(tmp_path / "both", "a.png", "a_mask.png", "b.jpg", "b_mask.png")
    found = {"a": ("a.png", "a_mask.png"), "b": ("b.jpg", "b_mask.png")}
    assert paired(both, both, mask_suffix="_mask") == found
    with pytest.raises(ValueError, match=r"are in one folder; .* --mask-suffix=_mask"):
        _listing.pair(both, both)


def test_subfolders_are_read_where_asked_for(tmp_path):
    images = touch(tmp_path / "images", "x/1.jpg", "y/1.jpg", "y/z/2.jpg", ".hidden/3.jpg")
    masks = touch(tmp_path / "masks", "x/1.png", "y/1.png", "y/z/2.png")
    (images / "y/loop").symlink_to(images)  # read once
    assert [*paired(images, masks, recursive=True)] == ["x/1", "y/1", "y/z/2"]
    with pytest.raises(
        ValueError, match=r"images: no file .*; .*1\.jpg lies deeper: .*--recursive"
    ):
        _listing.pair(images, masks)
    files = _listing.image_files([images], recursive=True)
    assert [file.relative_to(images).as_posix() for file in files] == [
        *("x/1.jpg", "y/1.jpg", "y/z/2.jpg")
    ]
    names = touch(tmp_path, "names.txt")
    (names / "names.txt").write_text("y/1\n")
    assert [*paired(images, masks, names=names / "names.txt", recursive=True)] == ["y/1"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3), np.float32), r"float32 \(2, 3\); class ids, integers \(H, W\)"),
        (np.zeros((2, 3, 4), np.uint8), r"uint8 \(2, 3, 4\); class ids"),
        (np.zeros((2, 3, 3), np.int64), r"int64 \(2, 3, 3\); class ids"),
        (np.zeros((0, 3), np.uint8), r"uint8 \(0, 3\); class ids"),
        (np.zeros((2, 3, 3), np.uint8), r"uint8 \(2, 3, 3\); its pixels are colours; .*--colours"),
        (np.array([["a"]]), r"<U1 \(1, 1\); class ids"),
        (np.array([[None]]), r"cannot be read \(.*Python objects"),
    ],
)
def test_an_array_that_is_no_mask_is_named(array, message, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match=rf"a\.npy: {message}"):
        data.read_label_map(tmp_path / "a.npy", 2)


def test_a_damaged_or_too_large_array_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((40, 50), np.uint8))
    whole = path.read_bytes()
    for end in (0, 5, 60, 130, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"a\.npy: cannot be read"):
            data.read_label_map(path, 2)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"colours, uint8 \(H, W, 3\), are expected"):
        data.read_label_map(path, 2, colours={(0, 0, 0): 0})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 999)
    with pytest.raises(ValueError, match=r"a\.npy: Image size \(2000 pixels\) .*--max-pixels"):
        data.read_label_map(path, 2)
