"""The data sets of a recipe, and where its files lie."""

import dataclasses
import math
import os
import pathlib
from typing import TYPE_CHECKING

from keras_dup.training._recipe import Recipe
from keras_dup.training._recipe_files import load_json

if TYPE_CHECKING:
    from keras_dup.data import Dataset


def datasets(recipe: Recipe, run: str | os.PathLike | None = None) -> tuple["Dataset", "Dataset"]:
    """Returns the training and the validation data of a recipe.

    Args:
        recipe: the recipe.
        run: the folder of a run of this recipe. Once it has begun, its own split into training and
            validation images is returned, whatever was added to their folder since.

    Raises:
        FileNotFoundError: a file or folder that is not there.
        ValueError: an image in both, or none in one.
    """
    if recipe.datasets:
        return recipe.function(recipe.datasets)(dataclasses.replace(recipe, datasets=""))
    if recipe.data_set:
        return _published(recipe)
    if not recipe.train_images:
        return _shapes(recipe)
    if run is not None and (names := kept_names(run)):
        train, val = (_folder(recipe, *where) for where in _sides(recipe, *names))
    else:
        train, val = _folders(recipe)
    _check_apart(recipe, train, val)
    return train, val


def check_files(recipe: Recipe, *splits: "Dataset") -> None:
    """Reads every file of folders: names all that are bad, or leaves them out; all classes occur.

    Raises ValueError for bad files, and for a class that occurs in no mask to train on.
    """
    from keras_dup import data

    faults: list[str] = []
    for split in splits:
        if isinstance(split, data.Folder):
            try:
                split.check(on_error="skip" if recipe.skip_bad else "raise")
            except ValueError as error:
                faults.append(str(error))
    if faults:
        raise ValueError("\n".join(faults))
    train_data = splits[0]
    if isinstance(train_data, data.Folder):
        complaint = train_data.id_counts.complaint(recipe.num_classes, train_data.class_names)
        if complaint and not recipe.allow_absent_classes:
            raise ValueError(f"{complaint}; to train all the same, set allow_absent_classes=true")
        if complaint:
            print(complaint)


def kept_names(run: str | os.PathLike) -> list[list[str]] | None:
    """The names that a run of folders trains and validates on; None before it has begun."""
    from keras_dup.training._folder import has_begun

    path = pathlib.Path(run) / "split.json"
    if not (has_begun(pathlib.Path(run)) and path.exists()):
        return None
    split = load_json(path)
    return [list(split[side]["files"]) for side in ("train", "val")]


def _published(recipe):
    from keras_dup import data

    if recipe.train_split == recipe.val_split:
        raise ValueError(
            f"recipe {recipe.name}: train_split and val_split are both {recipe.val_split!r}; "
            "what is trained on cannot be measured on"
        )
    root = recipe.path("") if recipe.data_root else None
    train = data.load(recipe.data_set, recipe.train_split, data_dir=root)
    return train, data.load(recipe.data_set, recipe.val_split, data_dir=root)


def _shapes(recipe):
    from keras_dup import data

    train = data.Shapes(recipe.train_count, recipe.crop_size, seed=recipe.seed)
    return train, data.Shapes(recipe.val_count, recipe.crop_size, seed=recipe.seed + 1)


def _folders(recipe):
    names = recipe.train_names or None
    folders = recipe.train_images, recipe.train_masks
    if recipe.val_images or recipe.val_names:
        val = _folder(recipe, *_val_folders(recipe), recipe.val_names or None)
        if not recipe.val_images and not names:  # one folder: the rest trains
            names = _rest(recipe, _folder(recipe, *folders, None), val)
        train = _folder(recipe, *folders, names)
    else:
        whole = _folder(recipe, *folders, names).names
        train, val = (_folder(recipe, *folders, part) for part in _parts(recipe, whole))
    if recipe.train_share < 1:
        count = math.ceil(recipe.train_share * len(train))
        chosen = [train.names[i * len(train) // count] for i in range(count)]
        train = _folder(recipe, *folders, chosen)
    return train, val


def _sides(recipe, train_names, val_names):
    yield recipe.train_images, recipe.train_masks, train_names
    yield *_val_folders(recipe), val_names


def _val_folders(recipe):
    return recipe.val_images or recipe.train_images, recipe.val_masks or recipe.train_masks


def _rest(recipe, whole, val):
    rest = sorted(set(whole.names) - set(val.names))
    if not rest:
        raise ValueError(
            f"recipe {recipe.name}: {recipe.val_names} names all {len(val)} images; none is left "
            "to train on"
        )
    return rest


def _parts(recipe, names):
    """Every so many of the names to validate on, the others to train on."""
    every = round(1 / recipe.val_share) if recipe.val_share else len(names) + 1
    val = names[::every] if recipe.val_share else []
    train = sorted(set(names) - set(val))
    if not val or not train:
        raise ValueError(
            f"recipe {recipe.name}: {len(names)} images, of which val_share={recipe.val_share} "
            "leaves none to train or to validate on; give val_images and val_masks"
        )
    return train, val


def _check_apart(recipe, train, val):
    """No file of one side is a file of the other, by whatever path."""
    for kind in ("image_files", "mask_files"):
        one, other = ({os.path.realpath(path) for path in getattr(x, kind)} for x in (train, val))
        if both := sorted(one & other):
            raise ValueError(
                f"recipe {recipe.name}: {len(both)} files are to be trained on and to be validated "
                f"on, such as {both[0]}; what is trained on cannot be measured on"
            )


def _folder(recipe, images, masks, names):
    from keras_dup import data
    from keras_dup.data import _tables

    options = {name: getattr(recipe, name) for name in _tables.OPTIONS}
    if len(recipe.colours) == 1:
        options["colours"] = recipe.file_or_name(recipe.colours[0])
    return data.Folder(
        _there(recipe, images),
        _there(recipe, masks),
        recipe.num_classes,
        names=_there(recipe, names) if isinstance(names, str) else names,
        class_names=recipe.class_names or None,
        **options,
    )


def _there(recipe, path):
    """A file or folder of a recipe; an error that says where it was looked for."""
    found = recipe.path(path)
    if found.exists():
        return found
    if recipe.data_root or "KERAS_DUP_DATA" in os.environ:
        why = f"is looked for in {'data_root' if recipe.data_root else '$KERAS_DUP_DATA'}"
    else:
        why = "is relative to data_root, else to $KERAS_DUP_DATA, and neither is set"
    raise FileNotFoundError(f"{found}: not there; {path} of recipe {recipe.name} {why}")
