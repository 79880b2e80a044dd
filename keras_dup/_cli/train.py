"""`keras-dup train`: labelled images -> W, a trained network, its report."""

import os
from pathlib import Path

from keras_dup._cli import options

# `Recipe` has the paper's; these are for one CPU, some hundred images and ImageNet weights
_DEFAULTS = {
    "backbone": "efficientnet_lite0",
    "batch_size": 8,
    "steps": 4000,
    "steps_per_epoch": 400,
    "checkpoint_steps": 100,
    "learning_rate": 0.02,
    "weight_decay": 4e-5,
}
_LARGEST_CROP = 513
# what a run writes
_FILES = (
    *("classes.txt", "recipe.json", "runs.json", "split.json", "log.csv", "report.json"),
    *("curves.png", "predictions.png", "projection.npz", "best.keras", "model.keras"),
)
# where one of these is given, the decoder starts as the paper's
_OF_ANOTHER_START = {
    "network",
    "projection",
    "initializer",
    "interpolated_scores",
    "temperature",
    "train_temperature",
}
_OF_ANOTHER_START |= {"new_layers_variance", "pretraining_steps"}


def add(commands):
    train = commands.add_parser(
        "train",
        help="fit a projection, train a network, report",
        description="Fits W to the masks, trains, validates, keeps the best. The same command goes "
        "on where a stopped run was.",
    )
    train.set_defaults(run=_run)
    train.add_argument("--images", help="folder of images")
    train.add_argument("--masks", help="folder of their masks, PNG, one class id per pixel")
    train.add_argument("--num-classes", type=int)
    options.add_ids(train)
    train.add_argument("--names", help="text file with the names to train on; by default the rest")
    train.add_argument("--val-images", help="folder of images to validate on")
    train.add_argument("--val-masks", help="folder of their masks")
    train.add_argument(
        "--val-names", help="text file with the names to validate on; by default every tenth"
    )
    train.add_argument("--class-names", help="text file with one name per line")
    train.add_argument("--data-set", help="a published data set, see keras_dup.data.load")
    train.add_argument("--data-dir", help="where --data-set lies or is prepared")
    options.add_limits(train)
    train.add_argument("--skip-bad", action="store_true", help="leave unusable images out")
    train.add_argument("-o", "--output", required=True, help="folder of the run")
    train.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="of the recipe, see keras_dup.training.Recipe: steps=1000 backbone=resnet50 ...",
    )


def _run(arguments):
    from keras_dup import training
    from keras_dup.training._recipe_files import override

    folders = (arguments.images, arguments.masks, arguments.num_classes)
    if None in folders if arguments.data_set is None else folders != (None, None, None):
        raise ValueError("train: --images, --masks and --num-classes, or else --data-set")
    options.set_limits(arguments)
    recipe = override(_recipe(arguments), arguments.overrides)
    root = Path(recipe.data_root or os.environ.get("KERAS_DUP_DATA", "."))
    files = [root / recipe.weights, root / recipe.projection, recipe.weights, recipe.projection]
    files = [path for path in files if os.path.isfile(path)]
    options.plan(arguments, [Path(arguments.output) / name for name in _FILES], files=files)
    given = {text.partition("=")[0] for text in arguments.overrides}
    recipe = _completed(recipe, given, arguments.output)
    training.train_or_exit(recipe, arguments.output)


def _recipe(arguments):
    from keras_dup import training
    from keras_dup.data._catalogue import CATALOGUE

    common = {"name": Path(arguments.output).name, "skip_bad": arguments.skip_bad, **_DEFAULTS}
    if arguments.data_set:
        if arguments.data_set not in CATALOGUE:
            known = ", ".join(CATALOGUE)
            raise ValueError(f"--data-set {arguments.data_set}: expected one of {known}")
        names = CATALOGUE[arguments.data_set].class_names
        root = os.path.abspath(arguments.data_dir) if arguments.data_dir else ""
        recipe = {"data_set": arguments.data_set, "data_root": root, "num_classes": len(names)}
        return training.Recipe(**recipe, class_names=names, **common)
    paths = {
        "train_images": arguments.images,
        "train_masks": arguments.masks,
        "train_names": arguments.names,
        "val_images": arguments.val_images,
        "val_masks": arguments.val_masks,
        "val_names": arguments.val_names,
    }
    return training.Recipe(
        num_classes=arguments.num_classes,
        ignore_class=arguments.ignore_class,
        ids=tuple(f"{i}:{k}" for i, k in (options.ids(arguments) or {}).items()),
        class_names=tuple(options.class_names(arguments.class_names, arguments.num_classes) or ()),
        **{key: os.path.abspath(path) for key, path in paths.items() if path},
        **common,
    )


def _completed(recipe, given, output):
    """The recipe with what depends on the backbone and on the images, where it is not given."""
    import dataclasses

    from keras_dup import _pretrained
    from keras_dup.presets import _BACKBONES
    from keras_dup.training import datasets

    known = dict(_BACKBONES.get(recipe.backbone, {}))
    if recipe.backbone in _pretrained.IMAGENET:
        known["weights"] = "imagenet"
    if (recipe.weights if "weights" in given else "weights" in known) and not recipe.network:
        known["backbone_rate"] = 0.2  # it keeps what it knows
    if recipe.decoder == "dupsampling" and not given & _OF_ANOTHER_START:
        known |= {"interpolated_scores": True, "temperature": 1 / recipe.window_ratio}
        known["train_temperature"] = False
    if "crop_size" not in given:
        train_data, _ = datasets(recipe, output)
        known["crop_size"] = _crop_size(train_data)
    return dataclasses.replace(recipe, **{k: v for k, v in known.items() if k not in given})


def _crop_size(dataset):
    """(height, width): the median of up to 50 images, at most 513."""
    import numpy as np

    places = np.linspace(0, len(dataset) - 1, min(len(dataset), 50)).astype(int)
    shapes = [dataset.label_map(i).shape for i in places.tolist()]
    return tuple(int(min(_LARGEST_CROP, side)) for side in np.median(shapes, axis=0))
