"""Small images and folders in the layouts of published data sets."""

import io
import json
import tarfile
import zipfile

import numpy as np
import scipy.io
from PIL import Image

from keras_dup import data

SIZE = (6, 8)


def image_of(name, size=SIZE):
    """The image that every archive has under a name, as an array: one colour, JPEG keeps it."""
    shade = sum(map(ord, name)) % 200
    return np.full((*size, 3), shade, np.uint8)


def jpeg(name, size=SIZE):
    return encoded(Image.fromarray(image_of(name, size)), "JPEG", quality=100)


def encoded(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, format=file_format, **options)
    return file.getvalue()


def write_camvid(root, counts=(("train", 5), ("val", 2)), size=(48, 64)):
    """Folders as of CamVid; returns the label maps by split."""
    rng = np.random.default_rng(0)
    written = {}
    for split, count in counts:
        images, masks = root / split / "images", root / split / "masks"
        images.mkdir(parents=True), masks.mkdir()
        written[split] = [rng.integers(0, 12, size, np.uint8) for _ in range(count)]
        for i, ids in enumerate(written[split]):
            (images / f"{i:04}.jpg").write_bytes(jpeg(str(i), size))
            data.save_label_map(masks / f"{i:04}.png", ids)
    return written


def png(ids):
    return encoded(Image.fromarray(np.asarray(ids, np.uint8)), "PNG")


def palette_png(ids):
    image = Image.fromarray(np.asarray(ids, np.uint8))
    image.putpalette(data.palette().tobytes())
    return encoded(image, "PNG")


def mat(**content):
    file = io.BytesIO()
    scipy.io.savemat(file, content)
    return file.getvalue()


def write_tar(path, files):
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as archive:
        for name, content in files.items():
            content = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def label_map(*ids):
    """SIZE, whose first row starts with the ids; the rest is 0."""
    ids_ = np.zeros(SIZE, np.uint8)
    ids_[0, : len(ids)] = ids
    return ids_


def voc_files():
    root = "VOCdevkit/VOC2012/"
    lists = root + "ImageSets/Segmentation/"
    files = {
        lists + "train.txt": "2007_000032\n2007_000039\n",
        lists + "val.txt": "2007_000033\n",
        lists + "trainval.txt": "2007_000032\n2007_000033\n2007_000039\n",
        root + "Annotations/2007_000032.xml": "<annotation/>",
    }
    for name in ("2007_000032", "2007_000033", "2007_000039", "2008_000002", "2008_000003"):
        files[f"{root}JPEGImages/{name}.jpg"] = jpeg(name)
    for name, ids in (("32", (1, 255)), ("33", (15, 0)), ("39", (20, 20))):
        files[f"{root}SegmentationClass/2007_0000{name}.png"] = palette_png(label_map(*ids))
    return files


def sbd_files():
    """2007_000033 is VOC's val, 2007_000039 VOC's train, the others are SBD's alone."""
    root = "benchmark_RELEASE/dataset/"
    files = {
        root + "train.txt": "2008_000002\n2007_000033\n",
        root + "val.txt": "2008_000003\n2007_000039\n",
    }
    for name in ("2007_000033", "2007_000039", "2008_000002", "2008_000003"):
        content = {"Boundaries": 0, "Segmentation": label_map(7, 8), "CategoriesPresent": [7, 8]}
        files[f"{root}cls/{name}.mat"] = mat(GTcls=content)
        files[f"{root}img/{name}.jpg"] = jpeg(name)
    return files


def write_voc(folder, voc=None, sbd=None):
    write_tar(folder / "VOCtrainval_11-May-2012.tar", voc or voc_files())
    write_tar(folder / "benchmark.tgz", sbd or sbd_files())


COCO_CATEGORIES = ((1, "person"), (3, "car"), (5, "airplane"), (18, "dog"), (22, "elephant"))


def coco_files():
    """Image 9 has polygons, run lengths and a crowd; image 3 only an elephant; 7 is small."""
    size = {"height": 40, "width": 50}
    images = [{"id": i, "file_name": f"{i:012}.jpg", **size} for i in (9, 3)]
    small = {"id": 7, "file_name": f"{7:012}.jpg", "height": 6, "width": 8}

    def instance(number, image, category, outline, crowd=0):
        keys = ("id", "image_id", "category_id", "segmentation", "iscrowd")
        return dict(zip(keys, (number, image, category, outline, crowd), strict=True))

    def box(left, top, right, bottom):
        return [[left, top, right, top, right, bottom, left, bottom]]

    crowd = {"size": [40, 50], "counts": [40 * 45, 40 * 5]}  # columns 45..49
    annotations = [
        instance(1, 9, 5, box(0, 0, 30, 40)),
        instance(2, 9, 18, box(20, 0, 40, 40)),  # over columns 20..29 of the aeroplane
        instance(3, 9, 1, crowd, 1),
        instance(4, 3, 22, box(0, 0, 50, 40)),
        instance(5, 7, 3, box(0, 0, 4, 6)),
        instance(6, 9, 22, box(40, 0, 45, 40)),
    ]
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in COCO_CATEGORIES]
    content = {"images": [*images, small], "annotations": annotations, "categories": categories}
    return content


def write_coco(folder, content):
    for split in ("train2017", "val2017"):
        files = {
            f"{split}/{image['file_name']}": jpeg("", (image["height"], image["width"]))
            for image in content["images"]
        }
        write_zip(folder / f"{split}.zip", files)
    text = json.dumps(content)
    files = {f"annotations/instances_{split}2017.json": text for split in ("train", "val")}
    write_zip(folder / "annotations_trainval2017.zip", files)


def write_pets(folder):
    files = {"annotations/trainval.txt": "Abyssinian_1 1 1 1\n", "annotations/README": ""}
    files["annotations/test.txt"] = "beagle_3 5 2 2\n"
    images = {}
    for name in ("Abyssinian_1", "beagle_3"):
        files[f"annotations/trimaps/{name}.png"] = png(np.maximum(label_map(2, 3), 1))
        files[f"annotations/trimaps/._{name}.png"] = b"macOS"
        images[f"images/{name}.jpg"] = jpeg(name)
    files["annotations/xmls/Abyssinian_1.xml"] = (
        "<annotation><size><width>8</width><height>6</height></size><object><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object></annotation>"
    )
    # Plain tar under the names that the downloads have.
    for name, content in (("annotations", files), ("images", images)):
        write_tar(folder / f"{name}.tar", content)
