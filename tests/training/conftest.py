"""A tiny run and what it needs, once for all tests of training."""

import pytest
from ten_steps import build
from tiny_run import TINY

from keras_dup import data, models, training
from keras_dup.projection import fit


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(models, "build", build)


@pytest.fixture(scope="session")
def fitted():
    maps = data.Shapes(8, (32, 32)).label_maps()
    return fit(maps, num_classes=7, ratio=16, channels=8, ignore_class=255)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """An uninterrupted run of TINY: its folder and its report."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "build", build)
        return output, training.train(TINY, output)
