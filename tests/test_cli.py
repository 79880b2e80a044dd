"""The `keras-dup` command."""

import sys

import numpy as np
import pytest

from keras_dup import cli, data, projection


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
    cli.main(["fit", str(masks), *options, *more])
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
    assert [line.split()[0] for line in lines[1:6]] == ["channels", "4", "5", "nearest", "bilinear"]
    assert "w.png" in lines[6] and (masks.parent / "w.png").stat().st_size > 10_000
    assert "4/4" in progress and "label maps/s" in progress
    (masks.parent / "classes.txt").write_text("a\nb")
    with pytest.raises(SystemExit, match=r"classes\.txt: 2 lines, but num_classes is 7"):
        fit(masks, "--class-names", str(masks.parent / "classes.txt"))


def test_without_matplotlib_fit_says_what_is_missing(masks, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert fit(masks).exists()
    assert "pip install 'keras-dup[train]'" in capsys.readouterr().out


def test_channels_may_be_a_share_of_the_variance(masks):
    fitted = projection.load(fit(masks, "--channels", "0.8"))
    reached = fitted.explained_variance_ratio.cumsum()
    assert reached[-1] >= 0.8 > reached[-2]
