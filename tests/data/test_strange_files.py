"""Files that are broken in what does not matter, too large, misleading or damaged by a bit."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_dup import data
from keras_dup.data import _cached, _files

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
IDS = (np.arange(40 * 64) % 3).reshape(40, 64).astype(np.uint8)
BROKEN_EXIF = (
    b"garbage garbage",
    b"Exif\0\0garbage garbage",
    b"",
    b"Exif\0\0MM\0*\0\0\0\x08\0\x05garb",
    b"Exif\0\0MM\0*\xff\xff\xff\x08",
    b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abcd\0\0\0\0",  # orientation "abcd"
    b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",  # 99
)


def folder(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir(), masks.mkdir()
    return images, masks


@pytest.mark.parametrize("exif", BROKEN_EXIF)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.filterwarnings("error")
def test_whole_pixels_are_read_whatever_the_exif_data_are(tmp_path, exif, kind):
    images, masks = folder(tmp_path)
    path = images / f"a.{kind.lower()}"
    Image.fromarray(PIXELS).save(path, kind, exif=exif, **({"lossless": True} if exif else {}))
    if kind == "PNG":
        np.testing.assert_array_equal(data.read_image(path), PIXELS)
        Image.fromarray(IDS).save(masks / "a.png", exif=exif)
    else:
        assert data.read_image(path).shape == PIXELS.shape
        Image.fromarray(IDS).save(masks / "a.png")
    pairs = data.Folder(images, masks, 3)
    np.testing.assert_array_equal(pairs.label_map(0), IDS)
    assert pairs.check("skip", verbose=False) == []


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("kind", [b"pHYs", b"eXIf", b"iCCP", b"tIME", b"gAMA", b"sRGB", b"tRNS"])
def test_broken_chunks_beside_the_pixels_do_not_matter(tmp_path, kind, right):
    for mask in (False, True):
        file = io.BytesIO()
        Image.fromarray(IDS if mask else PIXELS).save(file, "PNG")
        content = file.getvalue()
        place = content.index(b"IDAT") - 4
        broken = struct.pack(">I", 1) + kind + b"x"
        broken += struct.pack(">I", zlib.crc32(kind + b"x") + (0 if right else 1))
        (tmp_path / "a.png").write_bytes(content[:place] + broken + content[place:])
        if mask:
            np.testing.assert_array_equal(data.read_label_map(tmp_path / "a.png", 3), IDS)
        else:
            np.testing.assert_array_equal(data.read_image(tmp_path / "a.png"), PIXELS)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kinds", [("PNG", "PNG"), ("JPEG", "PNG"), ("TIFF", "TIFF")])
def test_image_and_mask_are_turned_alike(tmp_path, turn, kinds):
    images, masks = folder(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = turn
    shade = np.repeat(IDS[:8, :8, None] * np.uint8(100), 3, 2)  # what a pixel shows is its id
    shade = shade.repeat(16, 0).repeat(16, 1)
    options = {"exif": exif, "quality": 100} if kinds[0] == "JPEG" else {"exif": exif}
    Image.fromarray(shade[:40, :64]).save(images / f"a.{kinds[0].lower()}", kinds[0], **options)
    ids = (shade[:40, :64, 0] // 100).astype(np.uint8)
    Image.fromarray(ids).save(masks / f"a.{kinds[1].lower()}", kinds[1], exif=exif)
    pairs = data.Folder(images, masks, 3)
    label_map = pairs.label_map(0)
    np.testing.assert_array_equal(np.rint(pairs.image(0)[..., 0] / 100), label_map)
    assert label_map.shape == ((64, 40) if turn > 4 else (40, 64))
    assert pairs.check(verbose=False) == []


def png_header(height, width, bits=1):
    """A grey PNG of any size whose pixels are all 0."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", b"no pixels"), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def test_too_many_pixels_are_refused_from_the_header_and_the_limit_is_named(tmp_path, limits):
    (tmp_path / "a.png").write_bytes(png_header(13_500, 13_500))
    message = r"a\.png: Image size \(182250000 pixels\) exceeds limit .*--max-pixels.*allow_pixels"
    for read in (data.read_image, lambda path: data.read_label_map(path, 2)):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "a.png")
    _files.allow_pixels(200_000_000)  # now the pixels are looked at, which there are none of
    with pytest.raises(ValueError, match=r"a\.png: cannot be decoded"):
        data.read_image(tmp_path / "a.png")
    Image.fromarray(PIXELS).save(tmp_path / "b.png")
    _files.allow_pixels(40 * 64 - 2)
    with pytest.raises(ValueError, match=r"b\.png: Image size \(2560 pixels\) exceeds"):
        data.read_image(tmp_path / "b.png")
    _files.allow_pixels(40 * 64)
    np.testing.assert_array_equal(data.read_image(tmp_path / "b.png"), PIXELS)
    with pytest.raises(ValueError, match="at least 1"):
        _files.allow_pixels(0)


def test_one_wrong_bit_in_the_pixels_of_a_mask_is_found(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(IDS % 2).save(path, bits=1, compress_level=0)
    content = bytearray(path.read_bytes())
    place = content.index(b"IDAT") + 4
    for i in range(place, len(content) - 12, 7):
        content[i] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.png: cannot be decoded"):
            data.read_label_map(path, 3)
        content[i] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(data.read_label_map(path, 3), IDS % 2)


def test_a_file_cut_anywhere_is_an_error_that_names_it(tmp_path):
    file = io.BytesIO()
    Image.fromarray(IDS).save(file, "PNG")
    for end in range(0, len(file.getvalue()) - 12, 11):
        (tmp_path / "a.png").write_bytes(file.getvalue()[:end])
        with pytest.raises(ValueError, match=r"a\.png: cannot be decoded"):
            data.read_label_map(tmp_path / "a.png", 3)


def test_images_and_masks_in_one_folder_are_told_to_part(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg")
    data.save_label_map(tmp_path / "a.png", IDS)
    for other in (tmp_path, tmp_path / ".." / tmp_path.name):
        with pytest.raises(ValueError, match="are in one folder; put the masks into another one"):
            data.Folder(tmp_path, other, 3)


def test_a_table_of_ids_is_a_folders_too(tmp_path):
    images, masks = folder(tmp_path)
    Image.fromarray(PIXELS).save(images / "a.png")
    Image.fromarray((IDS == 1) * np.uint8(255)).save(masks / "a.png")
    ids = {0: 0, 255: 1}
    for maps in (
        data.Folder(images, masks, 2, ids=ids).label_maps(),
        data.LabelMaps(masks, 2, ids=ids),
    ):
        np.testing.assert_array_equal(maps[0], IDS == 1)
    with pytest.raises(ValueError, match="255 becomes class 2"):
        data.Folder(images, masks, 2, ids={0: 0, 255: 2})
    pairs = data.Folder(images, masks, 2)
    pairs.check(verbose=False)
    assert pairs.id_counts.complaint(2).startswith("class 1 occurs in none of 1 masks")


@pytest.mark.parametrize("kind", ["shapes", "examples", "cached"])
def test_every_data_set_keeps_to_the_protocol(kind):
    shapes = data.Shapes(3, (32, 32))
    made = {
        "shapes": shapes,
        "examples": data.Examples(shapes, 7),
        "cached": _cached.Cached(shapes),
    }
    maps = made[kind].label_maps()
    assert isinstance(made[kind], data.Dataset) and len(maps) == 3
    np.testing.assert_array_equal(list(maps), [shapes.label_map(i) for i in range(3)])
    with pytest.raises(IndexError):
        maps[3]
