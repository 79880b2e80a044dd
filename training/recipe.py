"""A recipe: everything that decides a training run, flat, in one file, overridden by key=value."""

import dataclasses
import os
import pathlib
import runpy

from keras_dup import data


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training run. Paths are relative to `data_root`, else to $KERAS_DUP_DATA.

    The data are two folders each (images and masks, paired by name, names optionally listed in a
    text file), or, without `train_images`, the built-in shapes: so many pictures of `crop_size`.
    """

    name: str
    num_classes: int
    data_root: str = ""
    train_images: str = ""
    train_masks: str = ""
    train_names: str = ""
    val_images: str = ""
    val_masks: str = ""
    val_names: str = ""
    class_names: tuple = ()
    ignore_class: int = 255  # what the mask files use for void
    train_count: int = 0  # built-in shapes
    val_count: int = 0

    backbone: str = "resnet50"
    weights: str = ""  # "imagenet", a .weights.h5, or nothing
    output_stride: int = 16
    low_level_features: tuple = ()
    decoder: str = "dupsampling"
    channels: int = 64
    temperature: float = 1.0  # of the DUpsampling decoder, before training
    projection: str = ""  # a file; by default fitted to the training label maps

    crop_size: tuple = (513, 513)  # height, width
    batch_size: int = 16  # over all devices
    steps: int = 30_000
    steps_per_epoch: int = 500  # an epoch ends in a validation and a checkpoint
    learning_rate: float = 0.007  # "poly": learning_rate * (1 - step / steps) ** power
    power: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_norm_momentum: float = 0.99  # a short run needs less for its moving averages to follow
    dtype_policy: str = "float32"
    seed: int = 0
    devices: tuple = ()  # all GPUs, or the CPU


def load(path, overrides=()):
    """The recipe in the file's variable `recipe`, with overrides like "steps=100" applied.

    Raises:
        ValueError: no recipe in the file, an unknown key, or a value of another type.
    """
    recipe = runpy.run_path(str(path)).get("recipe")
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path}: a recipe file has a variable `recipe` of type Recipe")
    return dataclasses.replace(recipe, **dict(_parse(text) for text in overrides))


def _parse(text):
    key, equals, value = text.partition("=")
    types = {field.name: field.type for field in dataclasses.fields(Recipe)}
    if not equals or key not in types:
        raise ValueError(f"{text!r}: expected key=value with a key of {', '.join(types)}")
    if types[key] is not tuple:
        try:
            return key, types[key](value)
        except ValueError:
            raise ValueError(f"{text!r}: {key} is a {types[key].__name__}") from None
    items = [item.strip() for item in value.split(",") if item.strip()]
    return key, tuple(int(item) if item.isdigit() else item for item in items)


def datasets(recipe):
    """The training and the validation data of a recipe."""
    if not recipe.train_images:
        size = recipe.crop_size
        train = data.Shapes(recipe.train_count, size, seed=recipe.seed)
        return train, data.Shapes(recipe.val_count, size, seed=recipe.seed + 1)
    return _folder(recipe, "train"), _folder(recipe, "val")


def _folder(recipe, split):
    root = pathlib.Path(recipe.data_root or os.environ.get("KERAS_DUP_DATA", "."))
    images, masks, names = (
        getattr(recipe, f"{split}_{part}") for part in ("images", "masks", "names")
    )
    return data.Folder(
        root / images,
        root / masks,
        recipe.num_classes,
        names=root / names if names else None,
        ignore_class=recipe.ignore_class,
        class_names=recipe.class_names or None,
    )
