"""A SavedModel of this TensorFlow in the version before it, where servers are: `make serving`."""

import os
import pathlib
import subprocess

import numpy as np
import pytest

from keras_dup import data, export, models

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = ROOT / ".venv-serving/bin/python"


@pytest.mark.slow
def test_every_signature_runs_in_the_version_before_this_one(tmp_path):
    if not PYTHON.exists():
        pytest.skip("TensorFlow 2.20 is not installed: see make serving")
    model = models.load("voc_animals")
    folder = export.saved_model(model, tmp_path, verbose=False)["path"]
    images = np.stack([data.Shapes(2, (48, 80)).image(i) for i in range(2)])
    np.save(tmp_path / "images.npy", images)
    script, output = ROOT / "tests/references/older_tensorflow.py", tmp_path / "found.npz"
    command = [PYTHON, script, folder, tmp_path / "images.npy", output]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    found = dict(np.load(output))
    assert str(found.pop("version")).startswith("2.20.") and found.pop("warm_up") == 3
    assert len(found) == 7
    expected = model.predict_on_batch(images.astype("float32")).argmax(-1)
    for way, label_maps in found.items():
        assert np.mean(label_maps == expected) >= 0.999, way
