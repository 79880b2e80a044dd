"""Files mutated at random: each is read or refused with a ValueError or an OSError."""

import io
import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutated, watched
from PIL import Image

from keras_dup import _lists, models, projection, training
from keras_dup._cli import options
from keras_dup.data import _images, _listing, _masks, _tables
from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling
from keras_dup.training import _log, _recipe_files

NAMES = "a\nb c\nMüller\n\n2008_000032\n"
LOG = "step,loss,val_miou\r\n100,0.5,0.31\r\n200,0.25,\r\n"


def image_files():
    rgb = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    written = [
        ("RGB", "PNG", {"exif": exif}),
        ("P", "PNG", {}),
        ("LA", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("RGB", "JPEG", {"exif": exif}),
        ("L", "JPEG", {"progressive": True}),
        ("CMYK", "JPEG", {}),
        ("RGB", "TIFF", {}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("F", "TIFF", {}),
        ("RGB", "BMP", {}),
        ("P", "BMP", {}),
        ("P", "GIF", {}),
        ("RGB", "WEBP", {"lossless": True}),
    ]
    return [encoded(Image.fromarray(rgb).convert(mode), name, **kw) for mode, name, kw in written]


def mask_files():
    ids = np.random.default_rng(0).integers(0, 3, (9, 12), np.uint8)
    ids[2] = 255
    grey = Image.fromarray(ids)
    palette = grey.copy()
    palette.putpalette([i // 3 for i in range(768)])
    wide = Image.fromarray(ids.astype(np.uint16))
    files = [(grey, "PNG"), (palette, "PNG"), (wide, "PNG"), (grey.convert("1"), "PNG")]
    files += [(image, name) for image in (grey, palette) for name in ("TIFF", "BMP", "GIF")]
    files += [(wide, "TIFF"), (Image.fromarray(ids.astype(np.int32)), "TIFF")]
    files += [(grey, "WEBP"), (Image.fromarray(np.stack([ids] * 3, -1)), "WEBP")]
    lossless = {"WEBP": {"lossless": True}}
    return [encoded(image, name, **lossless.get(name, {})) for image, name in files]


def array_files():
    ids = np.random.default_rng(0).integers(0, 3, (9, 12), np.uint8)
    found = []
    for array in (ids, ids.astype(np.int64), ids[..., None] == 1, ids.T.astype(">u2")):
        file = io.BytesIO()
        np.save(file, array)
        found.append(file.getvalue())
    return found


def encoded(image, name, **options):
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def projection_files(folder):
    rng = np.random.default_rng(0)
    fitted = projection.fit(rng.integers(0, 3, (20, 4, 4)), 3, 2, 4)
    size = 12
    shapes = {"matrix": (6, size), "mean": (size,), "hidden_kernel": (4, 6), "hidden_bias": (6,)}
    shapes |= {"encoder_kernel": (size, 6), "encoder_bias": (6,)}
    shapes |= {"code_kernel": (6, 4), "code_bias": (4,)}
    arrays = {name: rng.random(shape).astype(np.float32) for name, shape in shapes.items()}
    other = projection.LabelAutoencoder(**arrays, num_classes=3, ratio=2, ignore_class=None)
    paths = [fitted.save(folder / "a"), fitted.save(folder / "b", float16=True)]
    return [path.read_bytes() for path in [*paths, other.save(folder / "c")]]


def read_projection(path):
    found = projection.load(path)
    assert all(np.isfinite(array).all() for array in found.arrays.values())
    rows = found.compress(np.zeros((3, 3), np.uint8))
    assert found.reconstruct(rows).shape[2] == found.num_classes


def read_image(path):
    pixels = _images.read_image(path)
    assert pixels.dtype == np.uint8 and pixels.shape == (*_images.image_size(path), 3)
    _images.check_image(path)


def read_mask(path):
    label_map = _masks.read_label_map(path, 3)
    assert label_map.dtype == np.uint8 and set(np.unique(label_map)) <= {0, 1, 2, 255}
    table = _masks.read_label_map(path, 3, ids={0: 0, 1: 1, 2: 2, 255: 255})
    np.testing.assert_array_equal(table, label_map)


def read_class_names(path):
    assert len(options.class_names(path, 4)) == 4


def read_colours(path):
    table = _tables.read_table(None, path)
    assert set(table.classes.values()) - {255} == set(range(len(table.names)))


def read_recipe(path):
    assert isinstance(training.load_recipe(path), training.Recipe)


def override(path):
    recipe = training.Recipe("a", 3)
    _recipe_files.override(recipe, path.read_text("latin-1").splitlines())


def read_log(path):
    assert all(int(row["step"]) <= 1000 for row in _log.read_log(path, 1000))


TEXTS = {
    "names.txt": (_lists.read_lines, [NAMES.encode(), NAMES.encode("utf-16"), b"a\r\nb\r\n"]),
    "chosen.txt": (_listing.read_names, [NAMES.encode(), b"\xef\xbb\xbfa\nb\n"]),
    "classes.txt": (read_class_names, ["sky\nroad\nother\n街\n".encode(), NAMES.encode("utf-16")]),
    "colours.txt": (
        read_colours,
        [b"sky 1 2 3\nvoid 0 0 0\n", b"name,r,g,b\nsky,1,2,3\n", b"1 2 3\tsky\n# a\n"],
    ),
    "recipe.json": (
        read_recipe,
        [json.dumps({"name": "a", "num_classes": 3, "crop_size": [65, 65]}).encode()],
    ),
    "overrides": (
        override,
        [b"steps=100\ncrop_size=257,257\n", b"jit_compile=true\nlow_level_features=b2u2c3,conv1\n"],
    ),
    "log.csv": (read_log, [LOG.encode()]),
}
IMAGES, MASKS, ARRAYS = image_files(), mask_files(), array_files()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def check(parse, path, content):
    path.write_bytes(content)
    found = watched(parse, path)
    if isinstance(found, Exception) and parse is not override:  # whose text is the input
        assert path.name in str(found), "an error that does not name the file"


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
def test_text_files(folder, name, data):
    parse, seeds = TEXTS[name]
    check(parse, folder / name, data.draw(mutated(seeds)))


@pytest.mark.parametrize("part", [slice(0, 4), slice(4, 7), slice(7, None)], ids=str)
@given(data=st.data())
def test_image_files(folder, part, data):
    check(read_image, folder / "image", data.draw(mutated(IMAGES[part])))


@pytest.mark.parametrize("part", [slice(0, 4), slice(4, None)], ids=str)
@given(data=st.data())
def test_mask_files(folder, part, data):
    check(read_mask, folder / "mask", data.draw(mutated(MASKS[part])))


@given(data=st.data())
def test_array_files(folder, data):
    check(read_mask, folder / "mask.npy", data.draw(mutated(ARRAYS)))


@pytest.fixture(scope="module")
def projections(folder):
    return projection_files(folder)


@given(data=st.data())
def test_projection_files(folder, projections, data):
    check(read_projection, folder / "projection.npz", data.draw(mutated(projections)))


@pytest.fixture(scope="module")
def model_file(folder):
    layers = [keras.Input((4, 4, 3)), DUpsampling(3, 2), AdaptiveTemperatureSoftmax()]
    keras.Sequential(layers).save(folder / "network.keras")
    return (folder / "network.keras").read_bytes()


@settings(max_examples=max(20, settings.default.max_examples // 10))  # each takes 20 ms
@given(data=st.data())
def test_model_files(folder, model_file, data):
    check(models.load, folder / "mutated.keras", data.draw(mutated([model_file])))


@pytest.mark.parametrize(
    ("name", "content"), [("recipe.json", b'{"name": "a", "num_classes": 3, "crop_size": [65]}')]
)
def test_what_was_found_is_answered(folder, name, content):
    check(TEXTS[name][0], folder / name, content)


def test_a_table_of_ids_answers_a_large_mask_without_sorting_it(folder):
    ids = np.zeros((8000, 8000), np.uint8)
    ids[::7] = 255
    Image.fromarray(ids).save(folder / "large.png")
    check(read_mask, folder / "large.png", (folder / "large.png").read_bytes())
