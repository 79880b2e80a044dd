"""The `keras-dup` command."""

import argparse
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_dup import _cli, data, models, projection
from keras_dup._cli import evaluate, options, outputs


@pytest.fixture
def masks(tmp_path):
    folder = tmp_path / "masks"
    folder.mkdir()
    for i in range(4):
        data.save_label_map(folder / f"{i}.png", data.Shapes(4, (64, 48)).label_map(i))
    (tmp_path / "train.txt").write_text("0\n1\n2\n")
    (tmp_path / "val.txt").write_text("3\n")
    return folder


def fit(masks, *more):
    output = masks.parent / "w.npz"
    options = ["--num-classes", "7", "--ratio", "8", "--channels", "5", "-o", str(output)]
    _cli.main(["fit", str(masks), *options, *more])
    return output


def test_fit_writes_the_projection_of_the_named_masks_and_measures_the_others(masks, capsys):
    names = masks.parent / "train.txt", masks.parent / "val.txt"
    output = fit(masks, "--names", str(names[0]), "--val-names", str(names[1]))
    label_maps = [data.Shapes(4, (64, 48)).label_map(i) for i in range(4)]
    expected = projection.fit(label_maps[:3], 7, ratio=8, channels=5)
    np.testing.assert_array_equal(projection.load(output).matrix, expected.matrix)
    miou = projection.reconstruction_miou(expected, label_maps[3:])
    assert (
        f"reconstruction of 1 other label maps: mIoU {100 * miou:.3f} %" in capsys.readouterr().out
    )


def test_a_void_id_of_the_files_own_is_void_in_the_projection(masks):
    label_map = data.Shapes(4, (64, 48)).label_map(0)
    data.save_label_map(masks / "0.png", np.where(label_map == data.VOID, 9, label_map))
    (masks.parent / "one.txt").write_text("0\n")
    output = fit(masks, "--names", str(masks.parent / "one.txt"), "--ignore-class", "9")
    expected = projection.fit([label_map], 7, ratio=8, channels=5)
    np.testing.assert_array_equal(projection.load(output).matrix, expected.matrix)


def test_a_bad_mask_ends_the_command_with_one_line_that_names_it(masks):
    data.save_label_map(masks / "2.png", np.full((8, 8), 37))
    with pytest.raises(SystemExit, match=r"keras-dup: .*2.png: class id 37, but num_classes is 7"):
        fit(masks)
    with pytest.raises(SystemExit, match="no such folder"):
        fit(masks / "nowhere")
    assert not (masks / "w.npz").exists()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    models.build("mobilenet_v2", 3, low_level_features=(), channels=8).save(path)
    return str(path)


def strange_pictures(folder):
    """One of each kind of picture that users have; returns {name: (height, width)}."""
    colours = np.random.default_rng(0).integers(0, 256, (40, 56, 4), dtype=np.uint8)
    rgb, deep = Image.fromarray(colours[..., :3]), colours[..., 0].astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    rgb.save(folder / "turned.jpg", exif=exif)
    Image.fromarray(colours[..., 0]).save(folder / "grey.png")
    Image.fromarray(colours).save(folder / "rgba.png")
    Image.fromarray(deep).save(folder / "deep.png")
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.save(folder / "moving.gif", save_all=True, append_images=[rgb.rotate(180)])
    rgb.save(folder / "web.webp")
    rgb.resize((1, 1)).save(folder / "dot.png")
    rgb.resize((700, 2)).save(folder / "line.png")
    sizes = {"turned": (56, 40), "dot": (1, 1), "line": (2, 700)}
    names = ("grey", "rgba", "deep", "cmyk", "moving", "web")
    return {**sizes, **dict.fromkeys(names, (40, 56))}


@pytest.mark.slow
def test_predict_writes_label_maps_and_overlays_of_every_kind_of_picture(
    model_file, tmp_path, capsys
):
    folder = tmp_path / "pictures"
    folder.mkdir()
    sizes = strange_pictures(folder)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (tmp_path / "names.txt").write_text("background\ncat\ndog\n")
    output = tmp_path / "out"
    arguments = ["predict", model_file, str(folder), "-o", str(output), "--window", "32"]
    names = ["--class-names", str(tmp_path / "names.txt")]
    with pytest.raises(SystemExit, match="1 of 10 images could not be done"):
        _cli.main([*arguments, *names, "--flip"])
    printed = capsys.readouterr()
    assert "broken.jpg: cannot be decoded" in printed.err and "9 label maps" in printed.out
    assert len(list(output.iterdir())) == 2 * len(sizes)
    for name, size in sizes.items():
        assert data.read_label_map(output / f"{name}.png", 3).shape == size
        overlay = Image.open(output / f"{name}_overlay.png")
        assert overlay.width >= size[1] and overlay.height > size[0]
    (tmp_path / "names.txt").write_text("cat\n")
    with pytest.raises(SystemExit, match=r"names\.txt: 1 names, but there are 3 classes"):
        _cli.main([*arguments, *names, "--overwrite"])


@pytest.mark.slow
def test_evaluate_prints_a_table_and_draws(model_file, tmp_path, capsys):
    shapes = data.Shapes(3, (48, 64))
    for i in range(3):
        for part in ("images", "masks"):
            (tmp_path / part).mkdir(exist_ok=True)
        Image.fromarray(shapes.image(i)).save(tmp_path / f"images/{i}.png")
        label_map = np.where(shapes.label_map(i) == 255, 255, shapes.label_map(i) % 3)
        data.save_label_map(tmp_path / f"masks/{i}.png", label_map)
    folders = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks")]
    compared = ["--compare", model_file, "-o", str(tmp_path / "out")]
    _cli.main(["evaluate", model_file, *folders, *compared])
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "out/report.json").read_text())
    score = f"{100 * report['miou']:.2f} %"
    (line,) = [line for line in printed.splitlines() if line.startswith("mIoU  ")]
    assert line.split()[1:] == [*score.split(), *score.split(), "+0.00", "[+0.00,", "+0.00]"]
    page = (tmp_path / "out/report.html").read_text("utf-8")
    assert score in page and f"{model_file} again" in page and "0.png: mIoU" in page
    assert set(report["trimap_miou"]) == {"2", "4", "8", "16"} and report["boundary_iou"]["mean"]
    assert report["blocks"]["ratio"] == 16 and "predicted borders on the 16 px grid" in printed
    assert sum(map(sum, report["confusion"])) > 0.8 * 3 * 48 * 64
    for name in ("confusion.png", "worst.png"):
        assert Image.open(tmp_path / "out" / name).width > 80
    with pytest.raises(SystemExit, match=r"class id \d+, but num_classes is 3"):
        data.save_label_map(tmp_path / "masks/1.png", np.full((48, 64), 7))
        _cli.main(["evaluate", model_file, *folders])


def test_images_of_one_name_do_not_overwrite_each_other():
    files = [Path(name) for name in ("a/x.jpg", "a/x.png", "b/x.png", "b/y.png")]
    planned = outputs.plan_results(files, "out", lambda file: [".png"])
    names = [path.name for _, (path,) in planned]
    assert names == ["x.jpg.png", "a_x.png.png", "b_x.png.png", "y.png"]


def test_scales_and_names_that_cannot_be_are_refused_before_any_work(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    predict = ["predict", "voc_animals", str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]
    for scale in ("1e9", "0", "-1", "nan", "inf"):
        with pytest.raises(SystemExit, match="--scales"):
            _cli.main([*predict, "--scales", "1", scale])
    (tmp_path / "names.txt").write_text("x" * 10**6)
    with pytest.raises(ValueError, match=r"names\.txt: a name of 1000000 characters"):
        options.class_names(str(tmp_path / "names.txt"), 1)
    with pytest.raises(SystemExit, match=r"max_pixels is at least 1"):
        _cli.main([*predict, "--max-pixels", "0"])


def test_predict_names_what_is_missing(tmp_path):
    with pytest.raises(SystemExit, match="none: no such file or folder"):
        _cli.main(["predict", "m", str(tmp_path / "none"), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="no file that ends in"):
        _cli.main(["predict", "voc_animals", str(tmp_path), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"m\.keras: no such file"):
        _cli.main(["predict", "m.keras", str(tmp_path), "-o", str(tmp_path / "out")])


def test_flops_prints_a_table_by_part(capsys):
    arguments = "--backbone mobilenet_v2 --num-classes 3 --low-level-features b2u2c3 conv1"
    _cli.main(["flops", *arguments.split(), "--input-size", "64", "96"])
    printed = capsys.readouterr().out
    assert "mobilenet_v2_thin, one image of 64 x 96" in printed
    rows = [line.rsplit(maxsplit=2) for line in printed.splitlines()[2:]]
    numbers = [[int(n.replace(",", "")) for n in row[1:]] for row in rows]
    assert [row[0] for row in rows][-2:] == ["head", "total"] and len(rows) == 6
    assert numbers[-1] == [sum(column) for column in zip(*numbers[:-1], strict=True)]


@pytest.mark.slow
def test_flops_prints_the_papers_figures_beside_ours(capsys):
    """Tables 2, 3 and 4 to every digit but for one, which README states; Sec. 4.2 to 0.2 %."""
    _cli.main(["flops", "--paper"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.endswith("B")]
    decoders, networks = rows[:-2], rows[-2:]
    assert len(decoders) == 14
    different = [tuple(row[-2:]) for row in decoders if row[-2] != row[-1]]
    assert different == [("22.34B", "21.56B")]
    for row, printed in zip(networks, (897.94, 3055.35), strict=True):
        assert float(row[-2][:-1]) == printed
        assert float(row[-1][:-1]) == pytest.approx(printed, rel=0.002)


def test_flops_names_what_is_unknown(capsys):
    with pytest.raises(SystemExit):
        _cli.main(["flops", "--backbone", "vgg"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "--backbone: 'vgg' is none of xception65, xception71, " in line


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--channels", "449"], "channels is 449, but ratio 8 and 7 classes give at most 384"),
        (["--channels", "1.5"], "channels is 1.5; a whole number"),
        (["--channels", "0"], "--channels 0: more than 0"),
        (["--ratio", "-8"], "--ratio -8: more than 0"),
        (["--workers", "0"], "--workers 0: more than 0"),
    ],
)
def test_what_fit_cannot_do_is_told_before_masks_are_read(masks, option, told, monkeypatch):
    monkeypatch.setattr(data, "LabelMaps", lambda *more, **options: pytest.fail("too late"))
    with pytest.raises(SystemExit, match=re.escape(told)):
        fit(masks, *option)


def test_a_bad_mask_is_skipped_and_counted_by_option(masks, capsys):
    (masks / "1.png").write_bytes(b"not a picture")
    output = fit(masks, "--skip-bad")
    shown = capsys.readouterr().out
    assert "1 masks skipped:" in shown and "1.png: cannot be decoded" in shown
    assert "w.npz: 3 label maps" in shown and "reconstruction of 3 of these label maps" in shown
    label_maps = [data.Shapes(4, (64, 48)).label_map(i) for i in (0, 2, 3)]
    expected = projection.fit(label_maps, 7, ratio=8, channels=5)
    np.testing.assert_array_equal(projection.load(output).matrix, expected.matrix)


def test_fit_prints_and_draws_what_is_rebuilt_against_channels(masks, capsys):
    (masks.parent / "classes.txt").write_text("\n".join("abcdefg"))
    fit(masks, "--class-names", str(masks.parent / "classes.txt"))
    shown, progress = capsys.readouterr()
    lines = shown.splitlines()
    shares = [float(share) for share in re.findall(r" [a-g] ([\d.]+)%", lines[1])]
    weights = [float(weight) for weight in lines[2].partition("class_weights=")[2].split(",")]
    assert len(shares) == 7 and sum(shares) == pytest.approx(100, abs=0.05)
    np.testing.assert_allclose(weights, (np.median(shares) / shares) ** 0.5, atol=0.02)
    assert [line.split()[0] for line in lines[3:8]] == ["channels", "4", "5", "nearest", "bilinear"]
    flat = re.fullmatch(
        r"of scores .* in (\d) classes: ([a-g] \d+ %(, )?)+; a class_bal.*", lines[9]
    )
    assert flat and int(flat[1]) == lines[9].count("%")
    assert "w.png" in lines[8] and (masks.parent / "w.png").stat().st_size > 10_000
    assert "4/4" in progress and "label maps/s" in progress
    (masks.parent / "classes.txt").write_text("a\nb")
    with pytest.raises(SystemExit, match=r"classes\.txt: 2 names, but there are 7 classes"):
        fit(masks, "--class-names", str(masks.parent / "classes.txt"))


def test_without_matplotlib_fit_says_what_is_missing(masks, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert fit(masks).exists()
    assert "pip install 'keras-dup[train]'" in capsys.readouterr().out


def test_channels_may_be_a_share_of_the_variance(masks):
    fitted = projection.load(fit(masks, "--channels", "0.8"))
    reached = fitted.explained_variance_ratio.cumsum()
    assert reached[-1] >= 0.8 > reached[-2]


def test_classes_are_balanced_on_demand(masks, capsys):
    plain = projection.load(fit(masks)).matrix
    assert (
        np.abs(projection.load(fit(masks, "--class-balance", "0.25")).matrix - plain).max() > 0.01
    )
    with pytest.raises(SystemExit):
        fit(masks, "--class-balance", "0.6")
    assert "--class-balance: 0.6; 0 to 0.5 is expected" in capsys.readouterr().err


@pytest.fixture
def labelled(tmp_path):
    """Two drawn pictures of 40 x 56 with their masks: --images, --masks."""
    shapes = data.Shapes(2, (40, 56))
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(2):
        Image.fromarray(shapes.image(i)).save(tmp_path / "images" / f"{i}.png")
        data.save_label_map(tmp_path / "labels" / f"{i}.png", shapes.label_map(i))
    return ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "labels")]


@pytest.mark.slow
def test_export_measures_its_files_in_one_table(labelled, tmp_path, capsys):
    for i, (name, label) in enumerate((("cat", 8), ("astronaut", 15))):  # what the model knows
        photograph = Image.open(f"docs/images/{name}.jpg").resize((160, 128))
        photograph.save(tmp_path / f"images/{i}.png")
        data.save_label_map(tmp_path / f"labels/{i}.png", np.full((128, 160), label))
    options = ["--input-size", "128", "160", "--calibration", labelled[1]]
    formats = ["--formats", "saved_model", "litert", "litert_int8", "onnx"]
    _cli.main(["export", "voc_animals", "-o", str(tmp_path / "out"), *labelled, *options, *formats])
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines[-5:]}
    assert set(rows) == {"keras", *formats[1:]}
    assert all(" ms " in row and row.count(" %") == 2 for row in rows.values())
    measured = json.loads((tmp_path / "out/measured.json").read_text())
    measured = {row["format"]: row for row in measured}
    assert measured["onnx"]["equal_pixels"] >= 0.999
    assert measured["litert_int8"]["bytes"] < measured["litert"]["bytes"] / 3
    with zipfile.ZipFile(tmp_path / "out/litert_int8.tflite") as archive:
        assert archive.read("classes.txt").decode().split()[:2] == ["background", "aeroplane"]
    for name in ("litert.tflite", "litert_int8.tflite", "model.onnx"):
        assert (tmp_path / "out" / f"{name}.report.json").exists()


@pytest.mark.slow
def test_the_model_of_the_package_predicts_straight_after_installation(labelled, tmp_path, capsys):
    _cli.main(["predict", "voc_animals", labelled[1], "-o", str(tmp_path / "out")])
    assert "2 label maps and overlays" in capsys.readouterr().out
    label_map = data.read_label_map(tmp_path / "out/0.png", 21)
    assert label_map.shape == (40, 56)


def test_unknown_models_formats_and_missing_masks_are_named(labelled, tmp_path):
    with pytest.raises(SystemExit, match=r"nothing: no such file, and no model .*voc_animals"):
        _cli.main(["predict", "nothing", labelled[1], "-o", str(tmp_path)])
    with pytest.raises(SystemExit, match="no format 'pickle'; the formats are saved_model, "):
        _cli.main(["export", "voc_animals", "-o", str(tmp_path / "out"), "--formats", "pickle"])
    with pytest.raises(SystemExit, match="--images and --masks go together"):
        _cli.main(["export", "voc_animals", "-o", str(tmp_path / "out"), *labelled[:2]])
    assert not (tmp_path / "out").exists()


def test_models_of_other_classes_are_not_compared(monkeypatch):
    monkeypatch.setattr(options, "predictor", lambda arguments: (np.asarray, list("abc")))
    arguments = argparse.Namespace(model="x.keras", compare="y.keras")
    with pytest.raises(ValueError, match=r"--compare: y.keras has 3 classes, x.keras 2; they can"):
        evaluate._against(arguments, ["a", "b"])
