"""Backbones with fewer units, for tests that need every kind of block and not the depth."""

from keras_dup._backbones import (
    efficientnet_lite,
    mobilenet,
    resnet,
    vision_transformer,
    xception,
)

VIT = {"blocks": 1, "heads": 2, "channels": 16, "grid": 3}


def few_units(monkeypatch):
    """Two units a block in ResNets, one in the others: every block and every stride stay.

    A narrow vision transformer of one block.
    """
    for module, table, units, column in (
        (resnet, "RESNET50", 2, 1),
        (resnet, "RESNET101", 2, 1),
        (xception, "XCEPTION65", 1, 1),
        (xception, "XCEPTION71", 1, 1),
        (mobilenet, "MOBILENET_V2", 1, 4),
        (efficientnet_lite, "LITE0", 1, 4),
    ):
        rows = [
            (*row[:column], min(row[column], units), *row[column + 1 :])
            for row in getattr(module, table)
        ]
        monkeypatch.setattr(module, table, tuple(rows))
    monkeypatch.setattr(vision_transformer, "VIT_BASE", VIT)
