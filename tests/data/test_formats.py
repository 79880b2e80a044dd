"""Every row of the tables of pixel formats: images, masks and, with `inference`, arrays."""

import contextlib
import io
import pathlib
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_dup import data, inference
from keras_dup.data import _formats, _images, _masks

RED, GREY = (200, 10, 30), (90, 90, 90)


def rgb(*colours):
    return Image.fromarray(np.array([colours], np.uint8))


def grey(values, dtype, mode=None):
    image = Image.fromarray(np.array([values], dtype))
    return image.convert(mode) if mode else image


def in_bytes(mode, *values):
    size = len(values), 1
    return Image.frombytes(mode, size, b"".join(bytes(value) for value in values))


def with_palette(mode):
    image = grey([1, 0], np.uint8)
    image.putpalette([*RED, *GREY])
    return image.convert(mode) if mode != "P" else image


def depth_16(mode):
    order = "big" if mode == "I;16B" else "little"
    return in_bytes(mode, (90 * 256 + 77).to_bytes(2, order), (255).to_bytes(2, order))


# an image of 1 x 2 pixels in each mode, and what of it is to be read
IMAGES = {
    "RGB": (rgb(RED, GREY), [RED, GREY]),
    "1": (grey([False, True], bool), [[0] * 3, [255] * 3]),
    "L": (grey([7, 90], np.uint8), [[7] * 3, GREY]),
    "LA": (in_bytes("LA", (7, 255), (90, 0)), [[7] * 3, GREY]),
    "La": (in_bytes("La", (7, 255), (45, 128)), [[7] * 3, [89] * 3]),
    "P": (with_palette("P"), [GREY, RED]),
    "PA": (with_palette("PA"), [GREY, RED]),
    "RGBA": (in_bytes("RGBA", (*RED, 255), (*GREY, 0)), [RED, GREY]),
    "RGBa": (in_bytes("RGBa", (*RED, 255), (45, 45, 45, 128)), [RED, [89] * 3]),
    "RGBX": (in_bytes("RGBX", (*RED, 1), (*GREY, 2)), [RED, GREY]),
    "CMYK": (in_bytes("CMYK", (55, 245, 225, 0), (0, 0, 0, 165)), [RED, GREY]),
    "YCbCr": (in_bytes("YCbCr", (90, 128, 128), (255, 128, 128)), [GREY, [255] * 3]),
    "LAB": (in_bytes("LAB", (255, 0, 0), (0, 0, 0)), [[255] * 3, [0] * 3]),
    "HSV": (in_bytes("HSV", (0, 255, 200), (0, 0, 90)), [[200, 0, 0], GREY]),
    "I;12": (None, [GREY, [255] * 3]),
    **{mode: (depth_16(mode), [GREY, [0] * 3]) for mode in ("I;16", "I;16B", "I;16L", "I;16N")},
    "I": (grey([7, 255], np.int32), [[7] * 3, [255] * 3]),
    "F": (grey([0.2, 1.0], np.float32), [[51] * 3, [255] * 3]),
}


def tiff_of_12_bits(first, second):
    """A TIFF written by hand: Pillow does not write 12 bits."""
    pixels = bytes((first >> 4, (first & 15) << 4 | second >> 8, second & 255))
    fields = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: len(pixels)}
    head = b"II*\0" + (12).to_bytes(4, "little") + pixels + b"\0"
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\x04\0\x01\0\0\0" + value.to_bytes(4, "little")
        for tag, value in fields.items()
    )
    return head + len(fields).to_bytes(2, "little") + entries + bytes(4)


@pytest.mark.parametrize("mode", _formats.IMAGES)
def test_an_image_of_any_mode_is_read_as_its_row_says(mode, tmp_path, monkeypatch):
    image, expected = IMAGES[mode]
    if image is None:
        (tmp_path / "a.tif").write_bytes(tiff_of_12_bits(90 * 16 + 7, 4095))
    else:
        assert image.mode == mode
        monkeypatch.setattr(_images._files, "opened", lambda *_: contextlib.nullcontext(image))
    found = data.read_image(tmp_path / "a.tif")
    assert found.dtype == np.uint8
    rounding = 1 if mode == "LAB" else 0  # of the colour library, to 8 bits
    np.testing.assert_allclose(found, [expected], rtol=0, atol=rounding)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F", "I;16", "I"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_images_of_any_mode_are_turned_alike(mode, turn, tmp_path):
    values = np.array([[0, 1, 0], [1, 0, 0]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = Image.fromarray(values * 255).convert("1" if mode == "1" else "L")
    if mode in ("F", "I", "I;16"):
        kinds = {"F": (np.float32, 255), "I": (np.int32, 255), "I;16": (np.uint16, 65535)}
        kind, top = kinds[mode]
        stored = Image.fromarray(values.astype(kind) * kind(top))
    elif mode != "1":
        stored = stored.convert("RGB").convert(mode) if mode == "CMYK" else stored.convert(mode)
    stored.save(tmp_path / "a.tif", exif=exif)
    turned = {1: values, 2: values[:, ::-1], 3: values[::-1, ::-1], 4: values[::-1]}
    turned |= {5: values.T, 6: np.rot90(values, -1), 7: np.rot90(values, 2).T, 8: np.rot90(values)}
    np.testing.assert_array_equal(data.read_image(tmp_path / "a.tif")[..., 0], turned[turn] * 255)
    assert _images.image_size(tmp_path / "a.tif") == turned[turn].shape
    if mode in ("L", "P", "1", "I"):
        ids = data.read_label_map(tmp_path / "a.tif", 2, ids={0: 0, 1: 1, 255: 1})
        np.testing.assert_array_equal(ids, turned[turn])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (grey([-1, 4], np.int32), r"32-bit integers of -1\.\.4"),
        (grey([0, 256], np.int32), r"32-bit integers of 0\.\.256"),
        (grey([0, 256], np.float32), r"floating-point values of 0\.\.256"),
        (grey([-0.5, 0], np.float32), r"floating-point values of -0\.5\.\.0"),
        (grey([0, np.nan], np.float32), r"floating-point values of nan"),
    ],
)
def test_values_without_a_known_range_are_refused(image, message, tmp_path):
    image.save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif: {message}"):
        data.read_image(tmp_path / "a.tif")


def test_a_floating_point_ramp_is_the_ramp(tmp_path):
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    for scale in (1, 255):
        Image.fromarray(ramp * np.float32(scale)).save(tmp_path / "a.tif")
        np.testing.assert_array_equal(data.read_image(tmp_path / "a.tif")[0, :, 0], range(256))


def in_file(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def mask(mode):
    """A mask of 1 x 2 pixels, ids 1 and 0 where the mode has ids."""
    if mode == "16 bits per channel":  # Pillow does not write them
        row = bytes([0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])
        return png(struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), row)
    if mode in ("JPEG", "white is zero", "lossy WebP"):
        options = {"tiffinfo": {262: 0}} if mode == "white is zero" else {}
        kind = {"JPEG": "JPEG", "lossy WebP": "WEBP"}.get(mode, "TIFF")
        return in_file(grey([1, 0], np.uint8), kind, **options)
    if mode.startswith("I;16"):
        order = "big" if mode == "I;16B" else "little"
        return in_bytes(mode, (1).to_bytes(2, order), (0).to_bytes(2, order))
    if mode in ("LA", "RGB", "RGBA", "RGBX"):
        channels = [[1] * len(mode), [0] * len(mode)]
        return in_bytes(mode, *channels)
    kinds = {"1": bool, "L": np.uint8, "I": np.int32, "F": np.float32}
    return grey([1, 0], kinds[mode]) if mode in kinds else IMAGES[mode][0]


def png(header, pixels):
    """A PNG written by hand."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Puts an image, or the bytes of a file, where a mask is read."""

    def save(image):
        content = image if isinstance(image, bytes) else b""
        (tmp_path / "a.png").write_bytes(content)
        if not content:
            monkeypatch.setattr(_masks._files, "opened", lambda *_: contextlib.nullcontext(image))
        return tmp_path / "a.png"

    return save


@pytest.mark.parametrize("mode", _formats.MASKS)
def test_a_mask_of_any_mode_is_read_or_refused_as_its_row_says(mode, saved):
    path, row = saved(mask(mode)), _formats.MASKS[mode]
    if row.outcome == _formats.REFUSED:
        for colours in (None, {(1, 1, 1): 1}):
            with pytest.raises(ValueError, match=re.escape(f"a mask saved as {mode}, {row.how}")):
                data.read_label_map(path, 2, colours=colours)
    else:
        found = data.read_label_map(path, 2)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, [[1, 0]])


@pytest.mark.parametrize("mode", _formats.MASKS)
def test_a_mask_of_colours_of_any_mode_is_read_or_refused_as_its_row_says(mode, saved):
    if mode not in _formats.COLOUR_MASKS:
        with pytest.raises(ValueError, match=f"a mask saved as {mode}, "):
            data.read_label_map(saved(mask(mode)), 2, colours={(1, 1, 1): 1, (0, 0, 0): 0})
        return
    image, expected = IMAGES[mode]
    table = {tuple(expected[0]): 1, tuple(expected[1]): 255}
    found = data.read_label_map(saved(image), 2, colours=table)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[1, 255]])


def test_jpeg_in_tiff_and_lossy_webp_are_found_behind_other_chunks(tmp_path):
    ids = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16) % 3
    Image.fromarray(ids).save(tmp_path / "a.tif", compression="jpeg")
    with pytest.raises(ValueError, match=r"a\.tif: a mask saved as JPEG, JPEG changes the values"):
        data.read_label_map(tmp_path / "a.tif", 3)
    moving = {"save_all": True, "append_images": [Image.fromarray(255 - ids)]}
    for options in ({}, {"exif": Image.Exif().tobytes()}, moving):
        Image.fromarray(ids).save(tmp_path / "a.webp", lossless=True, **options)
        np.testing.assert_array_equal(data.read_label_map(tmp_path / "a.webp", 3), ids)
        Image.fromarray(ids).save(tmp_path / "a.webp", **options)
        with pytest.raises(ValueError, match=r"a\.webp: a mask saved as lossy WebP, .* lossless"):
            data.read_label_map(tmp_path / "a.webp", 3)


def test_large_and_negative_ids_are_named_and_can_be_mapped(tmp_path):
    ids = np.array([[-1, 0, 70_000, 3]], np.int32)
    Image.fromarray(ids).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"class id -1, but .* -1 \(25 %\), 0 \(25 %\), 3 \(25 %"):
        data.read_label_map(tmp_path / "a.tif", 3)
    table = {-1: 255, 0: 0, 70_000: 1, 3: 2}
    found = data.read_label_map(tmp_path / "a.tif", 3, ids=table)
    np.testing.assert_array_equal(found, [[255, 0, 1, 2]])


class Seen:
    """A network that remembers what it was fed."""

    output_shape = (None, None, None, 2)

    def predict_on_batch(self, x):
        self.input = np.asarray(x)
        return np.zeros((*x.shape[:3], 2), np.float32)


@pytest.mark.parametrize("dtype", _formats.ARRAYS)
@pytest.mark.filterwarnings("error")
def test_an_array_of_any_dtype_is_taken_or_refused_as_its_row_says(dtype):
    row, seen = _formats.ARRAYS[dtype], Seen()
    values = np.array([[[0, 1, 100], [7, 8, 9]]])
    image = values.astype("datetime64[s]" if dtype == "datetime64" else dtype)
    if row.outcome == _formats.REFUSED:
        with pytest.raises(ValueError, match=r"image .*numbers of 0\.\.255"):
            inference.predict(seen, image)
        return
    inference.predict(seen, image)
    expected = (values > 0) * 255 if dtype == "bool" else values
    np.testing.assert_array_equal(seen.input, [expected])
    if dtype in ("bool", "uint8"):
        return
    for wrong in (-1, 256):
        if np.dtype(dtype).kind == "f" or np.iinfo(dtype).min <= wrong <= np.iinfo(dtype).max:
            image[0, 0, 0] = wrong
            with pytest.raises(ValueError, match=rf"image has values of .*{wrong}.*0\.\.255"):
                inference.predict(seen, image)
            image[0, 0, 0] = 0


def test_the_page_of_the_documentation_is_the_table():
    page = pathlib.Path(__file__).parents[2] / "docs/formats.md"
    if not page.parents[1].joinpath("setup.cfg").exists():
        pytest.skip("the documentation is not here, only the tests")
    assert page.read_text(encoding="utf-8") == _formats.page()
