"""The `keras-dup` command."""

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


def test_flops_prints_a_table_by_part(capsys):
    arguments = "--backbone mobilenet_v2 --num-classes 3 --low-level-features b2u2c3 conv1"
    cli.main(["flops", *arguments.split(), "--input-size", "64", "96"])
    printed = capsys.readouterr().out
    assert "mobilenet_v2_dupsampling, one image of 64 x 96" in printed
    rows = [line.rsplit(maxsplit=2) for line in printed.splitlines()[2:]]
    numbers = [[int(n.replace(",", "")) for n in row[1:]] for row in rows]
    assert [row[0] for row in rows][-2:] == ["head", "total"] and len(rows) == 6
    assert numbers[-1] == [sum(column) for column in zip(*numbers[:-1], strict=True)]


@pytest.mark.slow
def test_flops_prints_the_papers_figures_beside_ours(capsys):
    cli.main(["flops", "--paper"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.endswith("B")]
    pairs = [(float(row[-2][:-1]), float(row[-1][:-1])) for row in rows]
    assert len(pairs) == 14 + 2
    different = [pair for pair in pairs[:14] if pair[0] != pair[1]]
    assert different == [(22.34, 21.56)]


def test_flops_names_what_is_unknown():
    with pytest.raises(SystemExit, match="backbone='vgg'; it must be one of"):
        cli.main(["flops", "--backbone", "vgg"])
