"""Each published data set from a small archive of its own layout to examples."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from archives import (
    SIZE,
    coco_files,
    encoded,
    image_of,
    jpeg,
    label_map,
    mat,
    palette_png,
    png,
    sbd_files,
    voc_files,
    write_camvid,
    write_coco,
    write_pets,
    write_tar,
    write_voc,
    write_zip,
)
from PIL import Image

from keras_dup import data, projection
from keras_dup.data._catalogue import CATALOGUE

pytest.importorskip("tensorflow_datasets", reason="extra tfds is not installed")


def start(examples, i, count=4):
    """The first ids of label map i."""
    return examples.label_map(i)[0, :count].tolist()


@pytest.fixture
def folders(tmp_path):
    """data_dir and manual_dir, as keyword arguments of `load`."""
    (tmp_path / "manual").mkdir()
    return {"data_dir": tmp_path / "tfds", "manual_dir": tmp_path / "manual"}


def test_voc2012_has_its_splits_and_sbd_fills_in_what_voc_has_not_annotated(folders):
    write_voc(folders["manual_dir"])
    counts = {"train": 2, "val": 1, "trainval": 3, "trainaug": 4}
    splits = {split: data.load("voc2012", split, **folders) for split in counts}
    assert {split: len(splits[split]) for split in counts} == counts
    trainaug = splits["trainaug"]  # in order of name
    assert [start(trainaug, i, 2) for i in range(4)] == [[1, 255], [20, 20], [7, 8], [7, 8]]
    assert [start(splits["val"], 0, 2), start(splits["trainval"], 1, 2)] == [[15, 0], [15, 0]]
    names = ("2007_000032", "2007_000039", "2008_000002", "2008_000003")
    for i, name in enumerate(names):
        np.testing.assert_array_equal(trainaug.image(i), image_of(name))
    assert trainaug.num_classes == 21 and trainaug.class_names[15] == "person"
    np.testing.assert_array_equal(trainaug.palette, data.palette())


def test_missing_archives_are_named_with_their_place_and_source(folders):
    with pytest.raises(FileNotFoundError, match=r"manual.VOCtrainval_11-May-2012\.tar: .*http"):
        data.load("voc2012", "train", **folders)
    write_voc(folders["manual_dir"])
    (folders["manual_dir"] / "benchmark.tgz").unlink()
    with pytest.raises(FileNotFoundError, match=r"manual.benchmark\.tgz: .*http.*berkeley"):
        data.load("voc2012", "train", **folders)
    with pytest.raises(FileNotFoundError, match=r"leftImg8bit_trainvaltest\.zip: .*cityscapes-d"):
        data.load("cityscapes", "train", **folders)


def test_a_name_or_split_that_does_not_exist_names_those_that_do(folders):
    with pytest.raises(ValueError, match=r"'voc': expected one of voc2012, .*cityscapes"):
        data.load("voc", "train", **folders)
    write_voc(folders["manual_dir"])
    with pytest.raises(ValueError, match=r"nope.*trainaug"):
        data.load("voc2012", "nope", **folders)


VOC = "VOCdevkit/VOC2012/"
SBD = "benchmark_RELEASE/dataset/"


MISSING = FileNotFoundError, "not in the archive"
RGB = encoded(Image.new("RGB", (8, 6), (1, 2, 3)), "PNG")


@pytest.mark.parametrize(
    ("part", "file", "content", "error", "message"),
    [
        ("voc", f"{VOC}JPEGImages/2007_000039.jpg", None, *MISSING),
        ("voc", f"{VOC}SegmentationClass/2007_000039.png", None, *MISSING),
        ("voc", f"{VOC}ImageSets/Segmentation/val.txt", None, *MISSING),
        ("sbd", f"{SBD}cls/2008_000003.mat", None, *MISSING),
        ("voc", f"{VOC}JPEGImages/2007_000039.jpg", b"no image", ValueError, "cannot be decoded"),
        ("voc", f"{VOC}JPEGImages/2007_000039.jpg", jpeg("", (5, 8)), ValueError, r"\(5, 8\), but"),
        ("voc", f"{VOC}SegmentationClass/2007_000039.png", RGB, ValueError, "saved as RGB"),
        (
            *("voc", f"{VOC}SegmentationClass/2007_000039.png"),
            *(palette_png(label_map(21)), ValueError, "class id 21"),
        ),
        ("sbd", f"{SBD}cls/2008_000003.mat", b"no mat", ValueError, "no label map"),
        ("sbd", f"{SBD}cls/2008_000003.mat", mat(other=1), ValueError, "no label map.*GTcls"),
        (
            *("sbd", f"{SBD}cls/2008_000003.mat"),
            *(mat(GTcls={"Segmentation": label_map(21)}), ValueError, r"mat: class id 21"),
        ),
    ],
    ids=range(11),
)
def test_bad_content_of_an_archive_names_the_file(folders, part, file, content, error, message):
    archives = {"voc": voc_files(), "sbd": sbd_files()}
    archives[part][file] = content
    if content is None:
        del archives[part][file]
    write_voc(folders["manual_dir"], **archives)
    stem = file.rsplit("/", 1)[1].partition(".")[0]
    with pytest.raises(error, match=message) as raised:
        data.load("voc2012", "train", **folders)
    assert stem in str(raised.value)
    write_voc(folders["manual_dir"])  # nothing half-made is left
    assert len(data.load("voc2012", "trainaug", **folders)) == 4


def test_an_archive_cut_short_is_named(folders):
    write_voc(folders["manual_dir"])
    path = folders["manual_dir"] / "benchmark.tgz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"benchmark\.tgz: cannot be unpacked"):
        data.load("voc2012", "train", **folders)


def test_pascal_context_takes_59_of_459_categories_and_calls_the_rest_background(folders):
    voc, context = {}, {"labels.txt": "1: accordion\n2: aeroplane\n"}
    numbers = {"2008_000002": (2, 458, 400, 0), "2008_000003": (284, 397, 459, 1)}
    for split, name in (("train", "2008_000002"), ("val", "2008_000003")):
        voc[f"VOCdevkit/VOC2010/ImageSets/Main/{split}.txt"] = f"{name}\n"
        voc[f"VOCdevkit/VOC2010/JPEGImages/{name}.jpg"] = jpeg(name)
        categories = np.zeros(SIZE, np.uint16)
        categories[0, :4] = numbers[name]
        context[f"trainval/{name}.mat"] = mat(LabelMap=categories)
    write_tar(folders["manual_dir"] / "VOCtrainval_03-May-2010.tar", voc)
    write_tar(folders["manual_dir"] / "trainval.tar.gz", context)
    train = data.load("pascal_context", "train", **folders)
    assert train.num_classes == 60
    assert start(train, 0) == [1, 59, 0, 0]  # aeroplane, wood, none of the 59, no category
    val = data.load("pascal_context", "val", **folders)
    assert [val.class_names[k] for k in start(val, 0)] == [
        *("person", "table", "background", "background")
    ]


def test_ade20k_counts_from_one_and_zero_is_void(folders):
    files = {"ADEChallengeData2016/objectInfo150.txt": "Idx\tRatio\tTrain\tVal\tName\n"}
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        files[f"ADEChallengeData2016/images/{split}/{name}.jpg"] = jpeg(name)
        files[f"ADEChallengeData2016/images/{split}/._{name}.jpg"] = b"macOS"
        files[f"ADEChallengeData2016/annotations/{split}/{name}.png"] = png(label_map(1, 150, 13))
    write_zip(folders["manual_dir"] / "ADEChallengeData2016.zip", files)
    val = data.load("ade20k", "val", **folders)
    assert len(val) == 1 and val.num_classes == 150
    assert start(val, 0) == [0, 149, 12, 255]
    assert [val.class_names[k] for k in (0, 149, 12)] == ["wall", "flag", "person"]
    np.testing.assert_array_equal(val.image(0), image_of("ADE_val_00000001"))


def test_cityscapes_takes_train_ids_from_the_label_ids(folders):
    images, masks = {}, {}
    names = {"train": "aachen_000000_000019", "val": "munster_000001_000019"}
    names["test"] = "berlin_000000_000019"
    for split, name in names.items():
        city = name.split("_")[0]
        images[f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png"] = encoded(
            Image.fromarray(image_of(name)), "PNG"
        )
        stem = f"gtFine/{split}/{city}/{name}_gtFine_"
        masks[stem + "labelIds.png"] = png(label_map(7, 33, 9, 26))
        masks[stem + "instanceIds.png"] = png(label_map(1))
        masks[stem + "polygons.json"] = "{}"
    write_zip(folders["manual_dir"] / "leftImg8bit_trainvaltest.zip", images)
    write_zip(folders["manual_dir"] / "gtFine_trainvaltest.zip", masks)
    val = data.load("cityscapes", "val", **folders)
    assert len(val) == 1 and val.num_classes == 19
    assert start(val, 0) == [0, 18, 255, 13]
    assert val.label_map(0)[1, 1] == 255  # unlabelled
    assert [val.class_names[k] for k in (0, 18, 13)] == ["road", "bicycle", "car"]
    assert val.palette[13].tolist() == [0, 0, 142]
    np.testing.assert_array_equal(val.image(0), image_of(names["val"]))


def test_every_label_id_of_cityscapes_goes_where_cityscapes_scripts_put_it():
    expected = [255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, *range(6, 16)]
    expected += [255, 255, 16, 17, 18]
    ids = CATALOGUE["cityscapes"].ids
    assert [ids[k] for k in range(34)] == expected and len(ids) == 34


def test_coco_instances_become_vocs_classes_crowds_and_disputed_pixels_void(folders):
    write_coco(folders["manual_dir"], coco_files())
    val = data.load("coco_voc", "val", **folders)
    assert [val.label_map(i).shape for i in range(len(val))] == [(40, 50), (6, 8), (40, 50)]
    assert not val.label_map(0).any()  # an elephant is background
    np.testing.assert_array_equal(val.label_map(1), [[7] * 4 + [0] * 4] * 6)
    columns = [1] * 20 + [255] * 10 + [12] * 10 + [0] * 5 + [255] * 5
    np.testing.assert_array_equal(val.label_map(2), [columns] * 40)


def test_coco_train_has_only_images_with_more_than_1000_labelled_pixels(folders):
    write_coco(folders["manual_dir"], coco_files())
    train = data.load("coco_voc", "train", **folders)
    assert len(train) == 1 and (train.label_map(0) == 12).sum() == 400


@pytest.mark.parametrize("nothing", [[], [3, 4], [3, 4, 30, 40]])
def test_a_polygon_of_coco_without_area_is_nothing_and_the_rest_is_drawn(nothing):
    from keras_dup.data._builders import coco_voc

    content = coco_files()
    names = {category["id"]: category["name"] for category in content["categories"]}
    plane, dog = content["annotations"][:2]
    expected = coco_voc.draw([plane], names, content["images"][0], "x")
    plane["segmentation"].insert(0, nothing)
    dog["segmentation"] = [nothing]
    drawn = coco_voc.draw([plane, dog], names, content["images"][0], "x")
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 91}, "annotation 1: category 91"),
        ({"segmentation": {"size": [4, 4], "counts": [16]}}, "annotation 1: .*run lengths"),
        ({"segmentation": [[1, "x"]]}, "annotation 1: no polygons"),
    ],
)
def test_a_bad_annotation_of_coco_is_named(folders, change, message):
    content = coco_files()
    content["annotations"][0].update(change)
    write_coco(folders["manual_dir"], content)
    with pytest.raises(ValueError, match=rf"instances_train2017\.json: {message}"):
        data.load("coco_voc", "train", **folders)


def downloads(monkeypatch, folder):
    """Lets tfds take http://.../NAME.tar(.gz) from folder/NAME.tar."""
    from tensorflow_datasets.core.download import DownloadManager

    def download_and_extract(manager, urls):
        return {key: manager.extract(folder / f"{key}.tar") for key in urls}

    monkeypatch.setattr(DownloadManager, "download_and_extract", download_and_extract)


def test_pets_count_from_one_and_three_is_void(folders, monkeypatch):
    write_pets(folders["manual_dir"])
    downloads(monkeypatch, folders["manual_dir"])
    test = data.load("oxford_iiit_pet", "test", **folders)
    assert len(test) == 1 and test.class_names == ("pet", "background")
    assert start(test, 0) == [1, 255, 0, 0]
    np.testing.assert_array_equal(test.image(0), image_of("beagle_3"))


def test_scene_parse150_has_its_100_classes_in_red_and_zero_is_void(folders, monkeypatch):
    images, annotations = {}, {}
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        colours = np.stack([label_map(1, 100, 4), label_map(1, 2, 3), label_map()], axis=2)
        images[f"images/{split}/{name}.jpg"] = jpeg(name)
        content = encoded(Image.fromarray(colours), "PNG")
        annotations[f"annotations_instance/{split}/{name}.png"] = content
    write_tar(folders["manual_dir"] / "images.tar", images)
    write_tar(folders["manual_dir"] / "annotations.tar", annotations)
    downloads(monkeypatch, folders["manual_dir"])
    val = data.load("scene_parse150", "val", **folders)
    assert val.num_classes == 100 and start(val, 0) == [0, 99, 3, 255]
    assert [val.class_names[k] for k in (0, 3, 99)] == ["bed", "person", "flag"]


def test_camvid_comes_from_its_folders_and_11_is_void(folders):
    written = write_camvid(folders["manual_dir"] / "camvid")
    train = data.load("camvid", "train", **folders)
    assert len(train) == 5 and train.class_names[8] == "car"
    for i, ids in enumerate(written["train"]):
        np.testing.assert_array_equal(train.label_map(i), np.where(ids == 11, 255, ids))
    assert len(data.load("camvid", "val", **folders)) == 2


def test_a_prepared_data_set_needs_no_archive_and_is_not_made_again(folders):
    write_camvid(folders["manual_dir"] / "camvid")
    first = data.load("camvid", "train", **folders)
    again = data.load("camvid", "train[1:3]", data_dir=folders["data_dir"])
    assert len(again) == 2
    np.testing.assert_array_equal(again.label_map(0), first.label_map(1))


def test_tfds_itself_reads_the_same_examples(folders):
    import tensorflow_datasets as tfds

    write_camvid(folders["manual_dir"] / "camvid")
    train = data.load("camvid", "train", **folders)
    builder = tfds.builder("camvid", data_dir=folders["data_dir"])
    features = builder.info.features
    assert tuple(features["segmentation_mask"].names) == train.class_names
    for i, example in enumerate(builder.as_data_source("train")):
        assert set(example) == {"image", "segmentation_mask"}
        np.testing.assert_array_equal(example["segmentation_mask"][..., 0], train.label_map(i))
        np.testing.assert_array_equal(example["image"], train.image(i))


def test_data_prepared_in_tfds_default_format_is_an_error_that_says_what_to_do(folders):
    import tensorflow_datasets as tfds

    from keras_dup.data._builders.camvid import Camvid

    write_camvid(folders["manual_dir"] / "camvid")
    config = tfds.download.DownloadConfig(manual_dir=folders["manual_dir"])
    builder = Camvid(data_dir=folders["data_dir"])
    builder.download_and_prepare(download_config=config)
    for example in tfds.as_numpy(builder.as_dataset("val")):  # as any of tfds's
        assert example["image"].shape == (48, 64, 3)
        assert example["segmentation_mask"].shape == (48, 64, 1)
    with pytest.raises(ValueError, match=r"camvid is there in a format .* another data_dir"):
        data.load("camvid", "train", **folders)


def test_threads_forks_and_pickles_read_the_same(folders):
    write_camvid(folders["manual_dir"] / "camvid", (("train", 20), ("val", 1)))
    train = data.load("camvid", "train", **folders)
    alone = [label_map.tobytes() for label_map in train.label_maps()]
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda k: train.label_map(k % 20).tobytes(), range(200)))
    assert parts == alone * 10
    again = pickle.loads(pickle.dumps(train))
    assert [again.label_map(i).tobytes() for i in range(20)] == alone
    # two workers are forked from a process that has read
    fitted = [projection.fit(train.label_maps(), 11, 8, 4, workers=count) for count in (1, 2)]
    np.testing.assert_allclose(fitted[0].mean, fitted[1].mean, atol=1e-6)


def test_training_batches_are_those_of_the_folders_themselves(folders):
    root = folders["manual_dir"] / "camvid"
    write_camvid(root)
    folder = data.Folder(root / "train/images", root / "train/masks", 11, ignore_class=11)
    streams = [
        data.train_batches(train, batch_size=2, crop_size=32, seed=3, start_step=4).take(3)
        for train in (folder, data.load("camvid", "train", **folders))
    ]
    for ours, theirs in zip(*streams, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
