"""`keras-dup train`: from two folders to a trained network."""

import dataclasses
import json

import numpy as np
import pytest
from archives import write_camvid
from PIL import Image
from ten_steps import build

from keras_dup import _cli, _pretrained, data, models, projection, training
from keras_dup._backbones import mobilenet
from keras_dup.training import _callbacks


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """--images and --masks, void 11, and a network that is quick to trace."""
    monkeypatch.setattr(models, "build", build)
    shapes = data.Shapes(12, (48, 40))
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(len(shapes)):
        Image.fromarray(shapes.image(i)).save(tmp_path / "images" / f"{i:02}.jpg")
        label_map = shapes.label_map(i)
        label_map = np.where(label_map == data.VOID, 11, label_map)
        data.save_label_map(tmp_path / "masks" / f"{i:02}.png", label_map)
    paths = ["--images", tmp_path / "images", "--masks", tmp_path / "masks"]
    return [*map(str, paths), "--num-classes", "7", "--ignore-class", "11"]


def test_weights_that_need_an_extra_say_so_before_anything_is_read(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(_pretrained, "is_installed", lambda package: package != "keras_hub")
    run = tmp_path / "run"
    with pytest.raises(SystemExit, match=r"weights need keras-hub: pip install .*\[hub\]"):
        _cli.main(["train", *folders, "-o", str(run), "backbone=vit_base_patch16"])
    assert not run.exists()


def test_two_folders_and_a_class_count_train_a_network(folders, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_callbacks, "_TELL_AFTER", 1)
    steps = ["steps=20", "steps_per_epoch=10", "batch_size=2", "devices=cpu:0"]
    steps.append("channels=8")
    run = tmp_path / "run"
    _cli.main(["train", *folders, "-o", str(run), *steps])
    printed = capsys.readouterr()
    assert "training: 20 steps of 0." in printed.out and "minutes" in printed.out
    assert "mIoU" in printed.out and "20/20" in printed.err
    recipe = json.loads((run / "recipe.json").read_text())
    assert recipe["crop_size"] == [48, 40] and recipe["weights"] == "imagenet"
    assert recipe["backbone_rate"] == 0.2 and not recipe["train_temperature"]
    assert (recipe["interpolated_scores"], recipe["temperature"]) == (True, 1 / 16)
    report = json.loads((run / "report.json").read_text())
    assert report["images"] == 2, "every tenth is kept to validate on"
    assert (run / "projection.npz").exists()
    _cli.main(["predict", str(run / "best.keras"), folders[1], "-o", str(tmp_path / "out")])
    assert len(list((tmp_path / "out").glob("*_overlay.png"))) == 12
    for part, name in (("images", "000.jpg"), ("masks", "000.png")):  # an image of another size
        example = Image.open(next((tmp_path / part).iterdir())).resize((90, 90), Image.NEAREST)
        example.save(tmp_path / part / name)
    _cli.main(["train", *folders, "-o", str(run), *steps])
    assert "resumed from" in capsys.readouterr().out
    _cli.main(["train", "-o", str(run), "--steps", "21"])
    printed = capsys.readouterr().out
    assert "step 20 of 21: learning rate" in printed and "step 21 of 21: loss" in printed
    assert json.loads((run / "recipe.json").read_text()) == {**recipe, "steps": 21}
    assert len(json.loads((run / "split.json").read_text())["val"]["files"]) == 2


@pytest.mark.parametrize(
    ("options", "decoder", "features"),
    [
        ([], "thin", ("b2u2c3",)),
        (["--backbone", "resnet50"], "thin", ("b1u2c3",)),
        (["--backbone", "vit_base_patch16"], "thin", None),  # `build` warns
        (["--decoder", "bilinear"], "bilinear", ("b2u2c3", "b5u3c3")),
        (["--ratio", "8"], "dupsampling", ("b2u2c3", "b5u3c3")),
        (["channels=12"], "dupsampling", ("b2u2c3", "b5u3c3")),
        (["projection=voc2012_r16_c64"], "dupsampling", ("b2u2c3", "b5u3c3")),
        (["--weights", "voc_animals"], "bilinear", ("b2u2c3",)),
        (["--weights", "voc_animals", "--channels", "12"], "dupsampling", ("b2u2c3",)),
    ],
)
def test_the_decoder_is_thin_unless_an_option_is_of_w(tmp_path, options, decoder, features):
    folders = ["--images", str(tmp_path), "--masks", str(tmp_path), "--num-classes", "21"]
    arguments = _cli.parser().parse_args(["train", *folders, "-o", str(tmp_path / "run"), *options])
    fields = _cli.train._fields(_cli.train._given(arguments))
    recipe = _cli.train._completed(_cli.train._recipe_of(arguments), fields)
    assert (recipe.decoder, recipe.low_level_features) == (decoder, features)


def test_trained_weights_bring_their_architecture_and_a_start_for_another_w():
    recipe = training.Recipe("fine", 7, backbone="efficientnet_lite0", weights="voc_animals")
    found = _cli.train._completed(recipe, {"weights"})
    assert (found.decoder, found.fusion_stride, found.coarse_scores) == ("bilinear", 4, True)
    assert found.low_level_features == ("b2u2c3",) and found.backbone_rate == 0.2
    recipe = dataclasses.replace(recipe, decoder="dupsampling")
    found = _cli.train._completed(recipe, {"weights", "decoder"})
    assert (found.decoder, found.fusion_stride, found.temperature) == ("dupsampling", 0, 1 / 16)
    assert found.low_level_features == ("b2u2c3",) and not found.train_temperature
    assert found.interpolated_scores  # the decoder of the file is another


def test_a_trained_network_is_fine_tuned_to_other_classes_by_one_command(
    folders, tmp_path, capsys, monkeypatch
):
    """The real `build` and a small MobileNetV2; the backbone is frozen, so it is the file's."""
    monkeypatch.undo()
    small = ((3, 1, 1, 8, 1), (3, 2, 1, 8, 2), (3, 2, 1, 8, 1), (3, 2, 1, 8, 1))
    monkeypatch.setattr(mobilenet, "MOBILENET_V2", small)
    maps = [np.arange(1024).reshape(32, 32) // k % 3 for k in (1, 8, 40)]
    trained = models.build(
        "mobilenet_v2", 3, low_level_features=("b2u2c3",), fusion_channels=16,
        projection=projection.fit(maps, num_classes=3, ratio=16, channels=6),
    )  # fmt: skip
    trained.save(tmp_path / "trained.keras")
    run, steps = tmp_path / "run", ["steps=2", "steps_per_epoch=2", "batch_size=2", "channels=8"]
    start = ["--weights", str(tmp_path / "trained.keras"), "--freeze-backbone", "devices=cpu:0"]
    _cli.main(["train", *folders, *start, *steps, "-o", str(run)])
    printed = capsys.readouterr().out
    count = len(trained.weights)
    new = "compressed, dupsampling, softmax"  # a kernel and a bias each, and T
    assert f"weights: {count - 5} of {count} variables; new: {new}\n" in printed
    recipe = json.loads((run / "recipe.json").read_text())
    assert (recipe["backbone"], recipe["fusion_channels"]) == ("mobilenet_v2", 16)
    found = models.load(run / "best.keras")
    assert found.output_shape[-1] == 7 and found.get_layer("dupsampling").input.shape[-1] == 8
    for name in ("conv1_conv", "b2u2c3_conv"):
        kernels = [model.get_layer(name).kernel.numpy() for model in (trained, found)]
        np.testing.assert_array_equal(*kernels)
    _cli.main(["predict", str(run / "best.keras"), folders[1], "-o", str(tmp_path / "out")])
    label_map = np.asarray(Image.open(tmp_path / "out/00.png"))
    assert label_map.shape == (48, 40) and label_map.max() < 7


def test_every_bad_file_is_told_before_training_or_left_out(folders, tmp_path, capsys):
    masks = tmp_path / "masks"
    data.save_label_map(masks / "03.png", np.full((48, 40), 37))
    for name in ("00", "05"):  # one to validate on, one to train on
        (tmp_path / "images" / f"{name}.jpg").write_bytes(b"no picture")
    command = ["train", *folders, "-o", str(tmp_path / "run"), "steps=1", "channels=8"]
    with pytest.raises(SystemExit) as error:
        _cli.main([*command, "devices=cpu:0", "crop_size=32,32"])
    told = str(error.value)
    assert "03.png: class id 37" in told
    assert "05.jpg: cannot be decoded" in told and "00.jpg: cannot be decoded" in told
    assert not (tmp_path / "run" / "projection.npz").exists()
    _cli.main(
        [*command, "devices=cpu:0", "crop_size=32,32", "weights=", "temperature=1", "--skip-bad"]
    )
    assert (tmp_path / "run" / "report.json").exists()
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert not recipe["interpolated_scores"] and recipe["train_temperature"]
    assert recipe["backbone_rate"] == 1, "nothing is known yet that it could lose"


def test_a_published_data_set_is_trained_on_and_evaluated_by_name(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorflow_datasets", reason="extra tfds is not installed")
    monkeypatch.setattr(models, "build", build)
    write_camvid(tmp_path / "downloads/manual/camvid")
    common = ["--data-dir", str(tmp_path)]
    steps = ["steps=2", "steps_per_epoch=1", "batch_size=2", "channels=8", "devices=cpu:0"]
    run = tmp_path / "run"
    _cli.main(["train", "--data-set", "camvid", *common, "-o", str(run), *steps])
    report = json.loads((run / "report.json").read_text())
    assert report["images"] == 2 and "bicyclist" in report["iou"]
    capsys.readouterr()
    evaluate = ["evaluate", str(run / "model.keras"), *common]
    _cli.main([*evaluate, "--data-set", "camvid:val", "-o", str(tmp_path / "out")])
    again = json.loads((tmp_path / "out/report.json").read_text())
    assert again["iou"] == report["iou"] and "bicyclist" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="NAME:SPLIT"):
        _cli.main([*evaluate, "--data-set", "camvid"])
    with pytest.raises(SystemExit, match="expected one of voc2012"):
        _cli.main(["train", "--data-set", "cam", "-o", str(run)])


def test_what_is_missing_is_named(folders, tmp_path):
    output = ["-o", str(tmp_path / "run")]
    with pytest.raises(SystemExit, match="--images, --masks and --num-classes, or else"):
        _cli.main(["train", *folders[:2], *output])
    with pytest.raises(SystemExit, match="--num-classes is missing: how many classes are there"):
        _cli.main(["train", *folders[:4], *output])
    with pytest.raises(SystemExit, match="expected key=value; did you mean 'steps'"):
        _cli.main(["train", *folders, *output, "stepps=5"])
    with pytest.raises(SystemExit, match="expected key=value with a key of name, num_classes"):
        _cli.main(["train", *folders, *output, "qqqq=5"])
    with pytest.raises(SystemExit, match="none to train or to validate on"):
        _cli.main(["train", *folders, *output, "val_share=0"])
    assert not (tmp_path / "run").exists()
