"""`keras-dup train`: labelled images -> a trained network, its W if it has one, its report."""

import dataclasses
import os
from pathlib import Path

from keras_dup import _hub
from keras_dup._cli import masks, options
from keras_dup._cli.recipe import add_fields, given
from keras_dup._nearest import hint
from keras_dup._void import VOID

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
# what `_completed` sets where it is not given
_COMPUTED = {
    "weights": "imagenet where the package has or downloads it",
    "low_level_features": "those of the decoder",
    "decoder": "thin; dupsampling where an option of W is given",
    "channels": "those of the backbone",
    "backbone_rate": "0.2 with weights, else 1",
    "interpolated_scores": "yes, unless the start of DUpsampling is given",
    "temperature": "1 / ratio, unless the start of DUpsampling is given",
    "train_temperature": "no, unless the start of DUpsampling is given",
    "crop_size": "the median of the images, at most 513 513",
}
_EXAMPLES = (
    "train --images images/ --masks masks/ --num-classes 7 -o run/",
    "train --images images/ --masks masks/ --num-classes 7 -o run/ --steps 8000 --ema 0.999",
    "train --images images/ --masks masks/ --num-classes 7 -o run2/ --weights run/best.keras",
    "train -o run/ --steps 8000",
    "train --data-set camvid --data-dir data/ -o run/ --backbone resnet50 steps=8000",
)
_LARGEST_CROP = 513
# what a run writes
_FILES = (
    *("classes.txt", "recipe.json", "runs.json", "split.json", "log.csv", "report.json"),
    *(
        "curves.png",
        "samples.png",
        "predictions.png",
        "projection.npz",
        "best.keras",
        "model.keras",
    ),
)
# options that a run does not change any more
_OF_DATA = (
    *("images", "masks", "num_classes", "names", "val_images", "val_masks", "val_names"),
    *("class_names", "data_set", "data_dir", "skip_bad"),
    *("ignore_class", "ids", "colours", "mask_suffix", "recursive"),
)
_MADE_DATA = {"datasets", "train_count"}  # fields of data that are no files
# where one of these is given, DUpsampling starts as the paper's
_OF_ANOTHER_START = {
    "network",
    "projection",
    "initializer",
    "interpolated_scores",
    "temperature",
    "train_temperature",
    "pretraining_steps",
    "new_layers_variance",
}
# where one of these is given, the decoder is DUpsampling by default
_OF_W = {"ratio", "channels", "class_balance", "train_projection"}
_OF_W |= _OF_ANOTHER_START - {"new_layers_variance"}


def add(commands):
    train = commands.add_parser(
        "train",
        help="train a network on images and masks, report",
        usage="keras-dup train --images FOLDER --masks FOLDER --num-classes K -o FOLDER "
        "[options] [key=value ...]",
        description="Trains a network on images and masks, validates, keeps the best.\n"
        "With --decoder dupsampling it first fits W to the masks.\n"
        "The same command, or -o alone, goes on where a stopped run was.\n"
        "With more --steps a finished run goes on longer.",
        epilog=options.examples(*_EXAMPLES),
    )
    train.set_defaults(check=_recipe_of, run=_run)
    images = "folder of images"
    train.add_argument("--images", "--train-images", dest="images", metavar="FOLDER", help=images)
    where = "folder of their masks"
    train.add_argument("--masks", "--train-masks", dest="masks", metavar="FOLDER", help=where)
    train.add_argument("--num-classes", type=int, help="unless a table names the classes")
    masks.add(train)
    names = "text file with the names to train on; by default all others"
    train.add_argument("--names", "--train-names", dest="names", metavar="FILE", help=names)
    train.add_argument("--val-images", help="folder of images to validate on")
    train.add_argument("--val-masks", help="folder of their masks")
    train.add_argument(
        "--val-names", help="text file with the names to validate on; by default every tenth"
    )
    train.add_argument("--class-names", help="text file with one name per line")
    train.add_argument("--data-set", help="a published data set, see keras_dup.data.load")
    where = "where --data-set lies or is prepared"
    train.add_argument("--data-dir", "--data-root", dest="data_dir", metavar="FOLDER", help=where)
    options.add_limits(train)
    train.add_argument("--skip-bad", action="store_true", help="leave unusable images out")
    train.add_argument("-o", "--output", required=True, help="folder of the run")
    train.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="fields of the recipe without dashes: steps=1000 backbone=resnet50",
    )
    add_fields(train, _DEFAULTS, _COMPUTED)


def _recipe_of(arguments):
    """The recipe of the command line, before what depends on images is known."""
    from keras_dup.training._recipe_files import override, read_json

    texts = _given(arguments)
    if kept := _kept(arguments):
        return override(read_json(kept), texts)
    folders = [arguments.images, arguments.masks]
    elsewhere = arguments.data_set or _MADE_DATA & _fields(texts)
    if folders != [None, None] if elsewhere else None in folders:
        raise ValueError(
            "train: --images, --masks and --num-classes, or else --data-set; -o alone goes on with "
            f"a run, and there is none in {arguments.output}"
        )
    return override(_recipe(arguments), texts)


def _given(arguments):
    """The fields of the command line as key=value; the decoder is there where W's fields ask."""
    texts = given(arguments)
    fields = _fields(texts)
    asks = fields & _OF_W and "decoder" not in fields and not _kept(arguments)
    return [*texts, "decoder=dupsampling"] if asks else texts


def _fields(texts):
    """The fields that texts like steps=9 are of."""
    return {text.partition("=")[0] for text in texts}


def _kept(arguments):
    """The recipe.json of the run in the folder, where the command line names no data; or None."""
    named = [name for name in _OF_DATA if getattr(arguments, name) not in (None, False, VOID)]
    if named or _MADE_DATA & _fields(given(arguments)):
        return None
    path = Path(arguments.output) / "recipe.json"
    return path if path.is_file() else None


def _run(arguments):
    from keras_dup import training
    from keras_dup._backend import need_backend

    need_backend("train", "tensorflow", "jax")
    options.set_limits(arguments)
    recipe = _recipe_of(arguments)
    files = [recipe.file_or_name(text) for text in (recipe.weights, recipe.projection)]
    files = [path for path in files if os.path.isfile(path)]
    options.plan(arguments, [Path(arguments.output) / name for name in _FILES], files=files)
    fields, new = _fields(_given(arguments)), _kept(arguments) is None
    recipe = _completed(recipe, fields) if new else recipe
    _check_network(recipe)
    if new and "crop_size" not in fields:
        train_data, _ = training.datasets(recipe, arguments.output)
        recipe = dataclasses.replace(recipe, crop_size=crop_size(train_data))
    training.train_or_exit(recipe, arguments.output)


def _recipe(arguments):
    from keras_dup import training
    from keras_dup.data._catalogue import CATALOGUE

    common = {"name": Path(arguments.output).name, "skip_bad": arguments.skip_bad, **_DEFAULTS}
    if arguments.data_set:
        masks.check_published(arguments)
        options.check_data_set(arguments.data_set)
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
    num_classes, class_names = masks.classes(arguments)
    return training.Recipe(
        num_classes=num_classes,
        class_names=tuple(class_names or ()),
        **masks.given(arguments),
        **{key: os.path.abspath(path) for key, path in paths.items() if path},
        **common,
    )


def _completed(recipe, given):
    """The recipe with what depends on the backbone, where it is not given."""
    from keras_dup import _pretrained
    from keras_dup.presets import _BACKBONES
    from keras_dup.training._network import architecture_of_weights

    trained = architecture_of_weights(recipe, given) if "weights" in given else {}
    recipe = dataclasses.replace(recipe, **trained)
    known = {} if trained else dict(_BACKBONES.get(recipe.backbone, {}))
    thin = known.pop("thin", ())
    if known and recipe.decoder == "thin":
        known["low_level_features"] = thin or None
    if recipe.backbone in _pretrained.IMAGENET:
        known["weights"] = "imagenet"
    if (recipe.weights if "weights" in given else "weights" in known) and not recipe.network:
        known["backbone_rate"] = 0.2  # it keeps what it knows
    if recipe.decoder == "dupsampling" and not given & _OF_ANOTHER_START:
        if "interpolated_scores" not in trained:  # else the decoder is trained, and has its own
            known["interpolated_scores"] = True
        known["temperature"] = 1 / recipe.window_ratio
        known["train_temperature"] = False
    return dataclasses.replace(recipe, **{k: v for k, v in known.items() if k not in given})


def _check_network(recipe):
    """Raises ValueError or OSError for a network that cannot be built, before files are read."""
    from keras_dup import _keras_private, _pretrained, models, presets, projection
    from keras_dup.projection import _fitting
    from keras_dup.training import build_network

    weights = recipe.file_or_name(recipe.weights)
    if weights == "imagenet":
        if recipe.backbone not in _pretrained.IMAGENET and not recipe.network:
            names = ", ".join(_pretrained.IMAGENET)
            raise ValueError(f"weights=imagenet: not for {recipe.backbone}; there are for {names}")
        _pretrained.check_imagenet(recipe.backbone)
    elif weights and weights not in models._MODELS and not _there(weights):
        known = ("imagenet", *models._MODELS)
        raise ValueError(f"weights={weights}: no such file{hint(weights, known)}")
    teacher = recipe.file_or_name(recipe.teacher)
    if teacher:
        try:
            presets.check_model(teacher)
        except ValueError as error:
            raise ValueError(f"teacher={error}") from None
    if recipe.network:
        return
    named = recipe.projection not in ("", "random", "nearest")
    fitted = projection.load(recipe.file_or_name(recipe.projection)) if named else None
    if not recipe.projection and recipe.decoder == "dupsampling":
        shape = recipe.num_classes, recipe.window_ratio, recipe.channels
        _fitting.check_channels(*shape, "pca", constant_windows=False)
    bare = {"weights": "", "new_layers_variance": 0.0}
    bare |= {} if named else {"initializer": "glorot_uniform", "interpolated_scores": False}
    with _keras_private.without_values():
        build_network(dataclasses.replace(recipe, **bare), fitted)


def _there(path):
    """Whether a file is there, or the checkpoint of that prefix; a hub is not asked."""
    return os.path.exists(path) or os.path.isfile(f"{path}.index") or _hub.is_handle(path)


def crop_size(dataset):
    """(height, width): the median of up to 50 images, at most 513."""
    import numpy as np

    places = np.linspace(0, len(dataset) - 1, min(len(dataset), 50)).astype(int)
    shapes = [dataset.label_map(i).shape for i in places.tolist()]
    return tuple(int(min(_LARGEST_CROP, side)) for side in np.median(shapes, axis=0))
