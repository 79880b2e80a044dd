"""Nothing that a command writes meets what it reads, or another output."""

import itertools
import os
import pathlib
import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_dup import _cli, data, presets
from keras_dup._cli import options, outputs
from keras_dup.export import _folding


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder photos/ with a.png and b.jpg, and a network of two classes that needs no file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "model", lambda arguments: (Constant(), ["background", "thing"]))
    monkeypatch.setattr(presets, "check_model", lambda name: None)
    monkeypatch.setattr(_folding, "fold", lambda network, output: network)
    save("photos/a.png"), save("photos/b.jpg")
    return tmp_path


class Constant:
    """What `predict` needs of a network: all is class 0."""

    output_shape = (None, None, None, 2)

    def predict_on_batch(self, images):
        return np.tile(np.float32([0.75, 0.25]), (*images.shape[:3], 1))


def save(path, shade=90):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    Image.new("RGB", (6, 4), (shade,) * 3).save(path)


def contents(folder="."):
    found = {}
    for root, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


def predict(*images, output="out", **more):
    _cli.main(["predict", "model", *map(str, images), "-o", str(output), *more.get("options", [])])


def refused(*images, output):
    before = contents()
    with pytest.raises(SystemExit, match=r"would be|wrote"):
        predict(*images, output=output)
    assert contents() == before


def test_no_input_is_ever_overwritten(photos):
    refused("photos", output="photos")
    refused("photos/a.png", output="photos")
    refused("photos/a.png", output="photos/../photos")
    os.symlink("photos", "link")
    refused("photos", output="link")
    refused("link/a.png", output="photos")
    save("mixed/a.PNG"), save("mixed/x.jpg")
    refused("mixed", output="mixed")


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_link_to_an_input_is_that_input(photos, link):
    os.mkdir("out")
    link(os.path.abspath("photos/a.png"), "out/a.png")
    refused("photos", output="out")


def test_as_many_results_as_inputs_whatever_their_names(photos):
    for path in ("train/images/a.jpg", "val/images/a.jpg", "val/images/a.png", "x/a_overlay.jpg"):
        save(path)
    save("x/A.jpg"), save("x/train_images_a.jpg.jpg")
    folders = ["train/images", "val/images", "x"]
    every = []
    for number, order in enumerate(itertools.permutations(folders)):
        predict(*order, output=f"out{number}")
        every.append(sorted(contents(f"out{number}")))
        assert len({unicodedata.normalize("NFC", name.casefold()) for name in every[-1]}) == 12
    assert all(names == every[0] for names in every)


def test_an_argument_given_twice_counts_once(photos):
    predict("photos", "photos/a.png", "photos", "./photos/../photos/b.jpg")
    assert sorted(contents("out")) == ["a.png", "a_overlay.png", "b.png", "b_overlay.png"]


def test_forms_of_unicode_and_of_case_do_not_clash():
    names = ["é.jpg", "e\u0301.png", "É.bmp", "straße.jpg", "STRASSE.png"]
    planned = outputs.plan_results(list(map(pathlib.Path, names)), "out", lambda file: [".png"])
    keys = {outputs._key(path) for _, paths in planned for path in paths}
    assert len(planned) == len(keys) == 5


def test_the_same_command_again_does_not_take_its_results_for_inputs(photos, capsys):
    os.remove("photos/a.png")
    for images in (["photos"], ["photos/b.jpg"], ["photos", "photos/b.png"]):
        predict(*images, output="photos")
        assert sorted(contents("photos")) == ["b.jpg", "b.png", "b_overlay.png"]
    assert "2 files that keras-dup predict wrote are left out" in capsys.readouterr().err
    predict("photos", output="photos/out")
    predict("photos/b.jpg", "photos/out", output="photos/out")
    assert sorted(contents("photos/out")) == ["b.png", "b_overlay.png"]
    refused("photos/out", output="photos/out")


def test_files_that_are_no_results_are_not_replaced(photos):
    data.save_label_map("masks.png", np.ones((4, 6)))
    os.makedirs("masks")
    os.rename("masks.png", "masks/b.png")
    before = contents()
    with pytest.raises(SystemExit, match=r"b\.png is there and is no result of predict"):
        predict("photos", output="masks")
    assert contents() == before


def test_the_same_command_goes_on_where_it_stopped(photos, capsys):
    predict("photos")
    os.remove("out/b_overlay.png")
    before = contents("out")
    save("photos/c.png")
    predict("photos")
    assert "1 of 3 are done with this model and these options: kept" in capsys.readouterr().out
    assert contents("out").items() > before.items() and len(contents("out")) == 6
    save("photos/c.png", shade=91)  # an image that is replaced
    times = {name: os.stat(f"out/{name}").st_mtime_ns for name in contents("out")}
    predict("photos")
    assert "2 of 3 are done" in capsys.readouterr().out
    written = {name for name in times if os.stat(f"out/{name}").st_mtime_ns != times[name]}
    assert written == {"c.png", "c_overlay.png"}


def test_a_stopped_command_says_that_it_goes_on(photos, monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(Constant, "predict_on_batch", stop)
        with pytest.raises(SystemExit) as stopped:
            predict("photos")
    assert stopped.value.code == 130
    told = "keras-dup: interrupted; the same command goes on with the rest\n"
    assert capsys.readouterr().err.endswith(told)
    predict("photos")
    assert len(contents("out")) == 4


@pytest.mark.parametrize(
    ("other", "named"),
    [(["--flip"], "flip"), (["--window", "9"], "window"), (["--class-names", "n.txt"], "classes")],
)
def test_results_of_other_options_do_not_mix(photos, other, named):
    pathlib.Path("n.txt").write_text("sky\nroad\n")
    predict("photos/b.jpg")
    before = contents("out")
    with pytest.raises(SystemExit, match=rf"out.b\.png was made with other {named}; .*--overwrite"):
        predict("photos", options=other)
    assert contents("out") == before
    pathlib.Path("photos/b.jpg").write_bytes(b"no picture")
    with pytest.raises(SystemExit, match="1 of 2 images could not be done"):
        predict("photos", options=[*other, "--overwrite", "--shares"])
    assert pathlib.Path("out/shares.csv").read_text().count("\n") == 2  # nothing of other options
    os.remove("photos/b.jpg"), save("photos/b.jpg")
    predict("photos", options=[*other, "--overwrite"])
    predict("photos", options=other)


def test_results_of_another_model_do_not_mix(photos):
    for content in (b"one", b"two"):
        pathlib.Path("m.keras").write_bytes(content)
        command = ["predict", "m.keras", "photos", "-o", "out"]
        if content == b"one":
            _cli.main(command)
    with pytest.raises(SystemExit, match=r"a\.png was made with other model"):
        _cli.main(command)


def test_subfolders_are_mirrored(photos):
    save("photos/x/a.png"), save("photos/x/y/a.jpg"), save("photos/x/y/a.png")
    predict("photos", options=["--recursive"])
    names = ["a", "b", "x/a", "x/y/a.jpg", "x/y/a.png"]
    expected = sorted(f"{name}{end}" for name in names for end in (".png", "_overlay.png"))
    assert sorted(contents("out")) == expected
    before = contents()
    predict("photos", output="photos/x/out", options=["--recursive"])  # inside what is read
    predict("photos", output="photos/x/out", options=["--recursive"])
    assert sorted(contents("photos/x/out")) == expected
    assert all(contents()[name] == content for name, content in before.items())


def test_patterns_are_images_where_the_shell_leaves_them(photos):
    predict("photos/?.jpg")
    assert sorted(contents("out")) == ["b.png", "b_overlay.png"]
    with pytest.raises(SystemExit, match=r"photos/\*\.tif: no file matches"):
        predict("photos/*.tif")


def test_probabilities_confidence_and_shares_are_written_on_demand(photos, capsys):
    options = ["--probabilities", "--confidence", "--shares"]
    predict("photos", options=options[:1])
    predict("photos", options=options)
    assert "are done" not in capsys.readouterr().out  # a result was missing of each
    assert len(contents("out")) == 9
    with np.load("out/a_probabilities.npz") as arrays:
        assert arrays["probabilities"].dtype == np.float16
        np.testing.assert_array_equal(arrays["probabilities"][2, 3], np.float16([0.75, 0.25]))
        assert list(arrays["class_names"]) == ["background", "thing"]
    assert (np.asarray(Image.open("out/b_confidence.png")) == round(255 * 0.75)).all()
    rows = pathlib.Path("out/shares.csv").read_text().splitlines()
    expected = [
        "image,background,thing",
        *(f"photos/{x},1.000000,0.000000" for x in ("a.png", "b.jpg")),
    ]
    assert rows == expected
    predict("photos", options=options)
    assert "2 of 2 are done" in capsys.readouterr().out
    assert pathlib.Path("out/shares.csv").read_text().splitlines() == expected
    save(os.fsdecode(b"photos/\xff.png"))  # no UTF-8
    predict("photos", options=options)
    assert "photos/\\udcff.png,1.000000" in pathlib.Path("out/shares.csv").read_text()
    pathlib.Path("out/shares.csv").write_text("image,price\n")
    with pytest.raises(SystemExit, match=r"shares\.csv is there and is no table of predict"):
        predict("photos", options=options)


def test_colours_of_ones_own_are_in_label_maps_and_overlays(photos, monkeypatch):
    pathlib.Path("colours.txt").write_text("thing 0 0 200\nbackground 9 9 9\n")
    predict("photos/b.jpg", options=["--colours", "colours.txt"])
    assert Image.open("out/b.png").getpalette()[:6] == [9, 9, 9, 0, 0, 200]
    pathlib.Path("colours.txt").write_text("thing 0 0 200\n")
    with pytest.raises(SystemExit, match=r"1 classes, the model has 2: background, thing"):
        predict("photos/b.jpg", output="o", options=["--colours", "colours.txt"])
    with pytest.raises(SystemExit, match=r"21 classes|none of the classes"):
        predict("photos/b.jpg", output="o", options=["--colours", "voc2012"])
    with pytest.raises(SystemExit, match="colours nowhere: no such file"):
        predict("photos/b.jpg", output="o", options=["--colours", "nowhere"])
    monkeypatch.setattr(Constant, "colours", ((1, 2, 3), (4, 5, 6)), raising=False)
    predict("photos/b.jpg", output="o")  # by default those of the model
    assert Image.open("o/b.png").getpalette()[:6] == [1, 2, 3, 4, 5, 6]


def test_a_name_too_long_for_its_result_is_that_files_error(photos, capsys):
    save("photos/" + "n" * 250 + ".png")
    with pytest.raises(SystemExit, match="1 of 3 images could not be done"):
        predict("photos")
    assert sorted(contents("out"))[:4] == ["a.png", "a_overlay.png", "b.png", "b_overlay.png"]
    assert "nnn" in capsys.readouterr().err


def test_a_pipe_is_refused(photos):
    os.mkfifo("pipe.jpg")
    with pytest.raises(SystemExit, match=r"pipe\.jpg: neither a file nor a folder"):
        predict("pipe.jpg")
    os.rename("pipe.jpg", "photos/pipe.jpg")
    with pytest.raises(SystemExit, match="1 of 3 images could not be done"):
        predict("photos")


@pytest.mark.parametrize("output", ["m/train.npz", "m/train", "m/other.npz", "link/train.npz"])
def test_fit_draws_over_no_mask_and_into_no_folder_of_masks(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    os.mkdir("m")
    os.symlink("m", "link")
    for name in ("train", "b"):
        data.save_label_map(f"m/{name}.png", data.Shapes(1, (32, 32)).label_map(0) % 5)
    before = contents()
    with pytest.raises(SystemExit, match="would be"):
        _cli.main(["fit", "m", "--num-classes", "7", "-o", output])
    assert contents() == before


def test_no_command_writes_over_a_list_that_it_reads(photos):
    save("masks/a.png"), save("masks/b.png")
    labelled = ["--images", "photos", "--masks", "masks"]
    with pytest.raises(SystemExit, match="would be taken for an input"):
        _cli.main(["evaluate", "model", *labelled, "-o", "photos"])
    os.makedirs("run")
    with open("run/classes.txt", "w") as file:
        file.write("a\nb\n")
    train = ["train", *labelled, "--num-classes", "2"]
    with pytest.raises(SystemExit, match=r"classes\.txt would be written over run.classes\.txt"):
        _cli.main([*train, "--class-names", "run/classes.txt", "-o", "run"])
    save("run/best.keras.png")
    os.rename("run/best.keras.png", "run/best.keras")
    with pytest.raises(SystemExit, match=r"best\.keras would be written over run.best\.keras"):
        _cli.main([*train, "-o", "run", "weights=run/best.keras"])
    for output in ("masks", "photos", "val"):
        with pytest.raises(SystemExit, match="would be taken for an input"):
            _cli.main([*train, "--val-images", "val", "-o", output])
    assert sorted(contents("masks")) == ["a.png", "b.png"]
