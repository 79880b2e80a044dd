"""keras-cv's PASCAL VOC and its mask gallery, as docs/data.md shows them."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from keras_dup import data, inference

PAGE = pathlib.Path(__file__).parents[2] / "docs/data.md"
COUNT, SIDE = 9, 256
ANNOTATION = (
    "<a><size><width>256</width><height>256</height></size><object><name>cat</name><pose>Left</pose>"
    "<truncated>0</truncated><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>1</ymin>"
    "<xmax>9</xmax><ymax>9</ymax></bndbox></object></a>"
)


@pytest.fixture
def label_maps(tmp_path):
    """Label maps of a VOC2012 folder in data_dir "voc", with images that are empty."""
    root = tmp_path / "voc/VOCdevkit/VOC2012"
    names = [str(i) for i in range(COUNT)]
    folders = "JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations"
    for folder in (*folders, "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Segmentation/val.txt").write_text("\n".join(names))
    rng, found = np.random.default_rng(0), []
    for name in names:
        blocks = rng.choice([*range(21), data.VOID], (SIDE // 32, SIDE // 32)).astype("uint8")
        found.append(blocks.repeat(32, 0).repeat(32, 1))
        Image.new("RGB", (SIDE, SIDE)).save(root / f"JPEGImages/{name}.jpg")
        for folder in folders[1:3]:
            Image.fromarray(data.palette()[found[-1]]).save(root / folder / f"{name}.png")
        (root / f"Annotations/{name}.xml").write_text(ANNOTATION)
    return found


@pytest.mark.slow
def test_keras_cvs_voc_is_read_and_its_gallery_shows_label_maps(label_maps, tmp_path, monkeypatch):
    pytest.importorskip("keras_cv", reason="the extra peers brings keras-cv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inference, "predict", lambda model, image: np.full(image.shape[:2], 20))
    (code,) = [code for code in re.findall(r"```py\n(.*?)```", PAGE.read_text(), re.S)
               if "keras_cv" in code]  # fmt: skip
    found = {"data": data}
    exec(code, found)
    val = found["val"]
    assert len(val) == COUNT
    for i, expected in enumerate(label_maps):
        np.testing.assert_array_equal(val.label_map(i), expected)
    gallery = np.asarray(Image.open("gallery.png").convert("L"), float)
    columns = [gallery[:, part].mean() for part in np.array_split(np.arange(gallery.shape[1]), 9)]
    images, truth, predicted = np.reshape(columns, (3, 3)).mean(0)
    assert images < truth < predicted  # black images, classes as grey, class 20 of 21
