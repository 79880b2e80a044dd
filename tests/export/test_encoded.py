"""Image files inside the graph: the pixels of `read_image`, or an error of that file alone."""

import functools
import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_dup import data
from keras_dup.export import _encoded

PLAIN = Image.fromarray(data.Shapes(1, (40, 56), seed=3).image(0))
GREY = PLAIN.convert("L")
PALETTE = PLAIN.quantize(32)
WITH_ALPHA = PLAIN.copy()
WITH_ALPHA.putalpha(GREY)
DEEP = Image.fromarray((np.arange(40 * 56).reshape(40, 56) * 29).astype("uint16"))
LIMIT = 1_000_000


def file_of(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned(image, kind, orientation):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "maker", orientation
    return file_of(image, kind, exif=exif)


@functools.cache
def check(limit):
    signature = [tf.TensorSpec((None,), tf.string)]
    return tf.function(lambda contents: _encoded.errors(contents, limit), signature)


decoded = tf.function(_encoded.decoded, [tf.TensorSpec((), tf.string)])


def errors(*contents, limit=LIMIT):
    return [error.decode() for error in check(limit)(tf.constant(contents)).numpy()]


FILES = {
    "JPEG": file_of(PLAIN, "JPEG"),
    "JPEG, progressive": file_of(PLAIN, "JPEG", progressive=True, subsampling=0),
    "JPEG, grey": file_of(GREY, "JPEG"),
    "JPEG, CMYK": file_of(PLAIN.convert("CMYK"), "JPEG"),
    "PNG": file_of(PLAIN, "PNG"),
    "PNG, grey": file_of(GREY, "PNG"),
    "PNG, 1 bit": file_of(PLAIN.convert("1"), "PNG"),
    "PNG, palette": file_of(PALETTE, "PNG"),
    "PNG, palette of 2 bits": file_of(PLAIN.quantize(4), "PNG", bits=2),
    "PNG, palette, transparent": file_of(PALETTE, "PNG", transparency=3),
    "PNG, RGBA": file_of(WITH_ALPHA, "PNG"),
    "PNG, grey and alpha": file_of(WITH_ALPHA.convert("LA"), "PNG"),
    "PNG, transparent colour": file_of(PLAIN, "PNG", transparency=(0, 0, 0)),
    "PNG, 16 bits": file_of(DEEP, "PNG"),
    "GIF": file_of(PLAIN, "GIF"),
    "GIF, grey": file_of(GREY, "GIF"),
    "BMP": file_of(PLAIN, "BMP"),
    "BMP, RGBA": file_of(WITH_ALPHA, "BMP"),
    **{f"JPEG, orientation {i}": turned(PLAIN, "JPEG", i) for i in range(1, 9)},
    **{f"PNG, orientation {i}": turned(PLAIN, "PNG", i) for i in (3, 6)},
    "JPEG, EXIF is garbage": file_of(PLAIN, "JPEG", exif=b"Exif\0\0garbage garbage"),
    "JPEG, EXIF is cut": turned(PLAIN, "JPEG", 6).replace(
        b"MM\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff"
    ),
}
REFUSED = {
    "GIF, transparent": file_of(PALETTE, "GIF", transparency=3),
    "BMP, palette": file_of(PALETTE, "BMP"),
    "BMP, 1 bit": file_of(PLAIN.convert("1"), "BMP"),
    "WebP": file_of(PLAIN, "WEBP", lossless=True),
    "TIFF": file_of(PLAIN, "TIFF"),
    "nothing": b"",
    "JPEG, cut in the header": FILES["JPEG"][:20],
    "JPEG, cut": FILES["JPEG"][:-200],
    "PNG, cut": FILES["PNG"][:100],
    "BMP, cut": FILES["BMP"][:20],
    "GIF, cut": FILES["GIF"][:12],
}


def test_no_good_file_has_an_error():
    assert errors(*FILES.values()) == [""] * len(FILES)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", FILES)
def test_a_file_has_the_pixels_that_predict_reads(kind, tmp_path):
    (tmp_path / "image").write_bytes(FILES[kind])
    found = decoded(tf.constant(FILES[kind])).numpy()
    np.testing.assert_array_equal(found, data.read_image(tmp_path / "image"))


def test_what_tensorflow_would_read_otherwise_or_not_at_all_is_that_files_error():
    contents = [content for bad in REFUSED.values() for content in (bad, FILES["PNG"])]
    found = errors(*contents)
    assert not any(found[1::2])
    for number, (kind, error) in enumerate(zip(REFUSED, found[::2], strict=True)):
        assert error.startswith(f"image {2 * number} "), kind
    assert found[0] == "image 0 is a GIF with transparency: send it as PNG"
    assert found[2] == "image 2 is a BMP with a palette or compressed: send it as PNG"
    assert found[6] == "image 6 cannot be decoded: JPEG, PNG, BMP or GIF is expected"


def header(height, width):
    """A PNG that ends after its header: whoever decodes it finds it damaged."""
    return FILES["PNG"][:16] + struct.pack(">II", width, height) + FILES["PNG"][24:33]


def test_large_images_are_refused_by_their_headers():
    narrow = file_of(Image.new("1", (5000, 1)), "PNG")
    limit = f"pixels: at most {LIMIT} in all are accepted"
    assert errors(header(12000, 12000), header(1, 500_000), narrow) == [
        f"image 0 has 12000 x 12000 {limit}",
        f"image 1 has 1 x 500000 {limit}, and a side counts as 64 or more",
        "",
    ]
    image = Image.new("RGB", (900, 600))
    files = [file_of(image, kind) for kind in ("JPEG", "BMP", "PNG", "GIF")]
    for content in files:
        assert errors(content, limit=539_999)[0].startswith("image 0 has 600 x 900 pixels")
        assert errors(content, limit=540_000) == [""]


def test_a_request_has_a_limit_too():
    content = file_of(Image.new("1", (900, 600)), "PNG")
    found = errors(*[content] * 6, header(601, 900), limit=540_000)
    assert found[:4] == [""] * 4
    many = "exceeds the 2160000 pixels of a request: send fewer images at a time"
    assert found[4:6] == [f"image {i} {many}" for i in (4, 5)]
    assert found[6].startswith("image 6 has 601 x 900 pixels")  # its own error comes first
