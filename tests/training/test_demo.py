"""The demo, shortened."""

import dataclasses

import pytest

from keras_dup import _keras_private, flops, models, training
from training import demo


def test_the_demo_compares_exports_and_draws(quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(demo.DECODERS, "dupsampling", {})  # the quick network has stride 16
    steps = ["steps=2", "steps_per_epoch=1", "batch_size=4", "devices=cpu:0"]
    pictures = ["train_count=8", "val_count=4", "crop_size=48,48"]
    demo.main([*steps, *pictures, "channels=8", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("bilinear", "thin", "dupsampling", "multiply-adds"))
    for name in ("saved_model/1/saved_model.pb", "model.tflite", "comparison.png"):
        assert (tmp_path / name).exists()


@pytest.mark.parametrize("decoder", ["bilinear", "thin"])
def test_the_decoders_beside_dupsampling_are_those_of_build(decoder):
    recipe = training.load_recipe(demo.RECIPE)
    with _keras_private.without_values():
        expected = models.build(
            recipe.backbone,
            recipe.num_classes,
            recipe.output_stride,
            recipe.low_level_features,
            decoder=decoder,
        )
        recipe = dataclasses.replace(recipe, decoder=decoder, weights="", **demo.DECODERS[decoder])
        found = training.build_network(recipe)
    assert flops.count(found, recipe.crop_size) == flops.count(expected, recipe.crop_size)
