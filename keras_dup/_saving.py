"""A trained model as a folder: what Keras saves, and beside it what people and hubs read."""

import os
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np

from keras_dup import _hub, _keras_private
from keras_dup._card import card
from keras_dup._labelled import copy_labels, label_files
from keras_dup._whole import write_json
from keras_dup.layers import DUpsampling
from keras_dup.projection import LabelProjection

__all__ = ["save"]


def save(model: keras.Model, destination: str | os.PathLike, told: dict[str, Any]) -> None:
    """Writes a whole folder or none, at `destination` or, of a handle, on its hub.

    Args:
        model: functional, (B, H, W, 3) -> (B, H, W, K). The state of its optimizer is left out.
        destination: a folder that is new or empty, or a handle.
        told: for the card.
    """
    if _hub.is_handle(destination):
        handle = str(destination)
        _hub.check(handle, to_send=True)
        with tempfile.TemporaryDirectory() as part:
            _write(model, pathlib.Path(part), handle, told)
            _hub.send(part, handle, told["license"])
        return
    folder = pathlib.Path(destination).absolute()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"save: {folder} exists; nothing is overwritten, give a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="part-", dir=folder.parent) as part:
        whole = pathlib.Path(part) / "model"
        _write(model, whole, folder.name, told)
        if folder.exists():  # and empty; Windows renames to nothing that is there
            folder.rmdir()
        whole.rename(folder)


def _write(model, folder, source, told):
    bare = copy_labels(keras.Model(model.inputs[0], model.outputs[0], name=model.name), model)
    _check_readable(bare)
    folder.mkdir(exist_ok=True)
    keras.saving.save_model(bare, folder, zipped=False)
    if (folder / "assets").is_dir() and not any((folder / "assets").iterdir()):
        (folder / "assets").rmdir()
    if projection := _projection(model):
        projection.save(folder / "projection.npz")
    for name, text in label_files(model).items():
        (folder / name).write_text(text, encoding="utf-8")
    if told["metrics"]:
        write_json(told["metrics"], folder / "metrics.json")
    files = set(os.listdir(folder))
    (folder / "README.md").write_text(card(model, source, files, told), encoding="utf-8")


def _check_readable(model):
    """Raises ValueError for a model whose layers cannot be made from their config again."""
    config = keras.saving.serialize_keras_object(model)
    try:
        with _keras_private.without_values():
            keras.saving.deserialize_keras_object(config)
    except Exception as error:  # what layers of others raise
        reasons = [line for line in str(error).splitlines() if line.strip()]
        raise ValueError(
            f"save: nobody could load this model ({reasons[-1] if reasons else error!r}); mend the "
            "layer's get_config, or keep model.save_weights(...) and build the network again"
        ) from error


def _projection(model):
    """W and the mean of a network as a projection; None without them.

    How much of the variance W explains is not known any more. An auto-encoder's first half is not
    in the network, which can rebuild label maps, but compress none.
    """
    found = [layer for layer in model.layers if type(layer) is DUpsampling]
    if len(found) != 1:
        return None
    matrix, mean = (keras.ops.convert_to_numpy(w) for w in (found[0].kernel[0, 0], found[0].bias))
    orthonormal = np.allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-3)
    return LabelProjection(
        matrix,
        mean,
        np.full(len(matrix), np.nan),
        found[0].num_classes,
        found[0].ratio,
        compression=None if orthonormal else np.linalg.pinv(matrix).T.astype(np.float32),
    )
