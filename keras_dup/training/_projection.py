"""The W of a run: named by the recipe, or fitted to the training label maps and kept."""

import hashlib
import json
import os
import pathlib
import time

from keras_dup import data, projection
from keras_dup._whole import write_json
from keras_dup.data import Dataset
from keras_dup.projection import LabelAutoencoder, LabelProjection, _label_projection
from keras_dup.projection._report import flat_classes
from keras_dup.training._distribution import is_chief
from keras_dup.training._folder import PROJECTION, has_begun
from keras_dup.training._recipe import Recipe
from keras_dup.training._recipe_files import load_json

_MAPS_PER_WORKER = 200  # to fit W: for fewer a process is not worth its start
_FIELDS = ("num_classes", "window_ratio", "channels", "class_balance", "ignore_class", "ids")


def run_projection(
    recipe: Recipe, train_data: Dataset, output: pathlib.Path, contents: dict
) -> LabelProjection | LabelAutoencoder | None:
    """Returns the projection of a run, fitted to its training label maps where none is named.

    Args:
        recipe, train_data, output: of the run.
        contents: of the training data. W is fitted anew where these or the recipe's fields are not
            those that the W in the folder was fitted on.

    Returns: None for a network without W, or with one drawn at random.
    """
    if recipe.decoder != "dupsampling" or recipe.projection == "random":
        return None
    if recipe.projection == "nearest":
        return _label_projection.nearest(recipe.num_classes, recipe.window_ratio)
    if recipe.projection:
        return projection.load(recipe.projection)
    made_of = {name: getattr(recipe, name) for name in _FIELDS}
    if recipe.colours:  # older runs have none
        made_of["colours"] = [os.path.basename(text) for text in recipe.colours]
    files = json.dumps(contents, sort_keys=True).encode()
    made_of["training_data"] = hashlib.blake2b(files, digest_size=8).hexdigest()
    made_of = json.loads(json.dumps(made_of))  # as it is read again
    while not _is_fitted_on(output, made_of):
        if is_chief():
            _fit(recipe, train_data, output / PROJECTION)
            write_json(made_of, output / "projection.json")
        else:
            time.sleep(1)  # the first process is at it
    return projection.load(output / PROJECTION)


def _is_fitted_on(output, made_of):
    """Whether the W in a folder is made of that. Older runs that have begun do not say."""
    path = output / "projection.json"
    if not (output / PROJECTION).exists():
        return False
    return load_json(path) == made_of if path.exists() else has_begun(output)


def _fit(recipe, train_data, path):
    path.with_suffix(".json").unlink(missing_ok=True)  # until the new W is whole
    many = len(train_data) // _MAPS_PER_WORKER if isinstance(train_data, data.Folder) else 1
    fitted = projection.fit(
        train_data.label_maps(),
        num_classes=recipe.num_classes,
        ratio=recipe.window_ratio,
        channels=recipe.channels,
        ignore_class=data.VOID,
        verbose=True,
        class_balance=recipe.class_balance,
        workers=max(1, min(os.cpu_count() or 1, many)),
    )
    fitted.save(path)
    explained = 100 * fitted.explained_variance_ratio.sum()
    print(f"{path}: {recipe.channels} channels, {explained:.2f} % of the labels' variance")
    if flat := flat_classes(fitted, recipe.class_names):
        print(flat)
