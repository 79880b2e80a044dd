import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_dup import data, evaluation, projection
from keras_dup.data._masks import encode_ids

IMAGE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
IDS = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)


def examples(image=IMAGE, ids=IDS, num_classes=3, **options):
    return data.Examples([{"image": image, "segmentation_mask": ids}], num_classes, **options)


@pytest.mark.parametrize("ids", [IDS, IDS[..., None], IDS.astype(np.int32), encode_ids(IDS)])
def test_a_mask_may_be_an_array_or_a_file_and_comes_out_as_a_label_map(ids):
    label_map = examples(ids=ids).label_map(0)
    assert label_map.dtype == np.uint8
    np.testing.assert_array_equal(label_map, IDS)


def test_an_item_is_an_image_and_a_label_map():
    item = examples()[0]
    assert set(item) == {"image", "segmentation_mask"}
    np.testing.assert_array_equal(item["image"], IMAGE)
    np.testing.assert_array_equal(item["segmentation_mask"], IDS)
    np.testing.assert_array_equal(examples().image(0), IMAGE)


def test_bytes_of_an_image_are_decoded_as_stored_whatever_their_mode(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees": the mask was drawn on the pixels as stored
    Image.fromarray(IMAGE).save(tmp_path / "a.png", exif=exif)
    image = examples(image=(tmp_path / "a.png").read_bytes()).image(0)
    np.testing.assert_array_equal(image, IMAGE)
    Image.fromarray(IMAGE[..., 0]).save(tmp_path / "grey.png")
    image = examples(image=(tmp_path / "grey.png").read_bytes()).image(0)
    np.testing.assert_array_equal(image, np.repeat(IMAGE[..., :1], 3, axis=2))


def test_ids_are_renamed_and_what_is_not_listed_is_an_error():
    ids = {7: 0, 8: 1, 9: 255}
    given = np.array([[7, 8, 9], [8, 7, 9]])
    renamed = data.Examples([{"image": IMAGE, "segmentation_mask": given}], 2, ids=ids)
    np.testing.assert_array_equal(renamed.label_map(0), [[0, 1, 255], [1, 0, 255]])
    with pytest.raises(ValueError, match=r"cars: mask of item 0: id 0, which is none of \[7, 8, 9"):
        data.Examples(
            [{"image": IMAGE, "segmentation_mask": given - 7}], 2, ids=ids, name="cars"
        ).label_map(0)


def test_ids_may_be_one_channel_of_a_mask_of_colours(tmp_path):
    colours = np.stack([IDS, IDS + 1, IDS], axis=2)
    Image.fromarray(colours).save(tmp_path / "a.png")
    for mask in (colours, (tmp_path / "a.png").read_bytes()):
        np.testing.assert_array_equal(examples(ids=mask, channel=0).label_map(0), IDS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ids": IDS + np.uint8(1)}, "mask of item 0: class id 3, but num_classes is 3"),
        ({"ids": IDS - np.int32(1)}, "mask of item 0: class id -1"),
        ({"ids": IDS[:, :2]}, r"mask of item 0: \(2, 2\), but the image is \(2, 3\)"),
        ({"ids": IDS / 1.0}, "mask of item 0: float64"),
        ({"ids": IMAGE}, r"mask of item 0: uint8 \(2, 3, 3\)"),
        ({"ids": b"no image"}, "mask of item 0: cannot be decoded"),
        ({"image": b"no image"}, "image of item 0: cannot be decoded"),
        ({"image": IMAGE[..., 0]}, r"image of item 0: uint8 \(2, 3\)"),
        ({"image": IMAGE / 255}, "image of item 0: float64"),
    ],
)
def test_a_bad_item_is_named(changed, message):
    with pytest.raises(ValueError, match=message):
        examples(**changed)[0]


def test_a_missing_key_or_item_is_named():
    with pytest.raises(ValueError, match=r"item 0 has \['image'\], no 'segmentation_mask'"):
        data.Examples([{"image": IMAGE}], 3).label_map(0)
    for i in (1, -1):
        with pytest.raises(IndexError, match=f"item {i} of 1"):
            examples().image(i)


def test_class_names_and_colours_come_with_the_examples():
    named = examples(class_names=["a", "b", "c"], colours=[(1, 2, 3), (4, 5, 6), (7, 8, 9)])
    assert named.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(
        named.palette[:4], [[1, 2, 3], [4, 5, 6], [7, 8, 9], [128] * 2 + [0]]
    )
    np.testing.assert_array_equal(named.palette[255], data.palette()[255])
    assert examples().class_names == ("0", "1", "2")
    with pytest.raises(ValueError, match="1 class_names, but num_classes 3"):
        examples(class_names=["a"])
    with pytest.raises(ValueError, match=r"num_classes is 1\.\.255"):
        examples(num_classes=256)


def test_folders_and_shapes_are_sequences_of_examples(tmp_path):
    (tmp_path / "images").mkdir(), (tmp_path / "masks").mkdir()
    Image.fromarray(IMAGE).save(tmp_path / "images" / "a.png")
    data.save_label_map(tmp_path / "masks" / "a.png", IDS)
    folder = data.Folder(tmp_path / "images", tmp_path / "masks", 3)
    shapes = data.Shapes(2, size=(32, 32))
    for source in (folder, shapes):
        again = data.Examples(source, source.num_classes, source.class_names)
        assert len(again) == len(source)
        np.testing.assert_array_equal(again.image(0), source.image(0))
        np.testing.assert_array_equal(again.label_map(0), source.label_map(0))
        assert len(list(source)) == len(source)
        np.testing.assert_array_equal(source.palette, data.palette())


def test_projection_evaluation_and_batches_read_examples():
    shapes = data.Shapes(6, size=(32, 32))
    again = data.Examples(shapes, 7, shapes.class_names)
    fitted = projection.fit(again.label_maps(), 7, ratio=8, channels=4)
    expected = projection.fit(shapes.label_maps(), 7, ratio=8, channels=4)
    np.testing.assert_array_equal(fitted.mean, expected.mean)
    truth = {again.image(i).tobytes(): again.label_map(i) for i in range(6)}
    report = evaluation.evaluate(lambda image: truth[image.tobytes()] % 7, again)
    assert set(report["iou"]) == set(shapes.class_names) and report["miou"] == 1.0
    for ours, theirs in zip(data.eval_batches(again), data.eval_batches(shapes), strict=True):
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_without_the_extra_loading_says_how_to_install_it():
    code = (
        "import sys\n"
        "from keras_dup import data\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "sys.modules['tensorflow_datasets'] = None  # as if it were not installed\n"
        "try: data.load('voc2012', 'train')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'keras-dup[tfds]'" in done.stdout
