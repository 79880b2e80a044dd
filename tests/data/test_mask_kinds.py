"""Masks of every usual kind give the same data set: in Python, in recipes, on the command line."""

import argparse

import mask_kinds
import numpy as np
import pytest

from keras_dup import data, training
from keras_dup._cli import masks

COUNT = 4


def parsed(said, num_classes):
    """The options of the command line as commands read them."""
    parser = argparse.ArgumentParser()
    masks.add(parser)
    parser.add_argument("--num-classes", type=int)
    parser.add_argument("--class-names")
    return parser.parse_args([*said, "--num-classes", str(num_classes)])


@pytest.mark.parametrize("name", mask_kinds.KINDS)
def test_every_kind_of_masks_gives_the_same_label_maps_whoever_reads_it(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    kind = mask_kinds.KINDS[name]
    mask_kinds.write(kind, tmp_path, COUNT)
    given = masks.given(parsed(kind.said, kind.num_classes))
    folders = {"train_images": "images", "train_masks": "masks", "val_share": 0.25}
    recipe = training.Recipe("r", kind.num_classes, data_root=str(tmp_path), **folders, **given)
    (tmp_path / "colours.txt").unlink()  # a recipe of the command line says all itself
    val, train = training.datasets(recipe)[::-1]
    (tmp_path / "colours.txt").write_text(kind.table)
    pairs = data.Folder("images", "masks", kind.num_classes, **kind.options)
    alone = {k: v for k, v in kind.options.items() if k != "class_names"}
    suffix = kind.mask.removeprefix(kind.image.removesuffix("_leftImg8bit").removesuffix("_sat"))
    alone = data.LabelMaps("masks", kind.num_classes, **{"mask_suffix": suffix, **alone})
    assert pairs.check(verbose=False) == [] and len(pairs) == len(alone) == COUNT
    assert pairs.names == sorted([*val.names, *train.names]) == alone.names
    for i in range(COUNT):
        truth = kind.truth(mask_kinds.label_map(i))
        side = val if i == 0 else train
        for found in (
            pairs.label_map(i),
            alone[i],
            side.label_map(side.names.index(pairs.names[i])),
        ):
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, truth)
        np.testing.assert_array_equal(
            data.read_label_map(
                pairs.mask_files[i],
                kind.num_classes,
                **{k: v for k, v in kind.options.items() if k not in ("mask_suffix", "recursive")},
            ),
            truth,
        )
