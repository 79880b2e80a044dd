"""A model that knows the names and the colours of its classes, in its file too."""

import json
import os
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_dup._label_maps import VOID, palette

__all__ = ["LabelledModel", "copy_labels", "label_files", "labelled", "names_in_file"]


@keras.saving.register_keras_serializable(package="keras_dup")
class LabelledModel(keras.Model):
    """A functional model whose config has the names and the colours of its classes.

    Attributes:
        class_names: K strings.
        colours: K triples of integers 0..255, red, green, blue.
    """

    class_names: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()

    def get_config(self) -> dict[str, Any]:
        labels = {"class_names": list(self.class_names), "colours": list(map(list, self.colours))}
        return {**super().get_config(), **labels}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "LabelledModel":
        config = dict(config)
        names, colours = config.pop("class_names", ()), config.pop("colours", ())
        return _set(super().from_config(config, custom_objects), names, colours)


def labelled(model: keras.Model, class_names: Sequence[str], colours: Any = None) -> keras.Model:
    """Returns a model of the same layers with the names and colours of its classes.

    Args:
        model: a functional model (B, H, W, 3) -> (B, H, W, K).
        class_names: K strings.
        colours: (K, 3) or more rows, 0..255; None takes those of `palette`.

    Raises ValueError where there are not K names or colours.
    """
    classes = model.output_shape[-1]
    if colours is None:
        colours = palette()[np.arange(classes) % VOID]
    colours = np.asarray(colours)[:classes]
    if len(class_names) != classes or colours.shape != (classes, 3):
        given = f"{len(class_names)} class_names, colours of shape {colours.shape}"
        raise ValueError(f"{given}; the model has {classes} classes")
    if not isinstance(model, LabelledModel):
        model = LabelledModel(model.inputs[0], model.outputs[0], name=model.name)
    return _set(model, class_names, colours.tolist())


def copy_labels(model: keras.Model, source: keras.Model) -> keras.Model:
    """Returns a model of the layers of `model` with the names and colours of `source`, if any."""
    if not isinstance(source, LabelledModel):
        return model
    if not isinstance(model, LabelledModel):
        model = LabelledModel(model.inputs[0], model.outputs[0], name=model.name)
    return _set(model, source.class_names, source.colours)


def names_in_file(path: str | os.PathLike) -> list[str] | None:
    """The class names in a `.keras` file or a saved folder, without loading the model, or None."""
    try:
        if os.path.isdir(path):
            text = pathlib.Path(path, "config.json").read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                text = archive.read("config.json")
        return list(json.loads(text)["config"]["class_names"]) or None
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError):
        return None


def label_files(model: keras.Model) -> dict[str, str]:
    """{file name: text} with the classes of a model, for exports; {} where they are not known.

    classes.txt has one name per line; colours.txt has name, red, green and blue.
    """
    if not isinstance(model, LabelledModel):
        return {}
    pairs = zip(model.class_names, model.colours, strict=True)
    lines = [f"{name} {red} {green} {blue}" for name, (red, green, blue) in pairs]
    texts = {"classes.txt": model.class_names, "colours.txt": lines}
    return {name: "".join(f"{line}\n" for line in text) for name, text in texts.items()}


def _set(model, names, colours):
    model.class_names = tuple(map(str, names))
    model.colours = tuple(tuple(int(value) for value in colour) for colour in colours)
    return model
