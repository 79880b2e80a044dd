"""A recipe: everything that decides a training run, flat, in one file, overridden by key=value."""

import dataclasses
import json
import math
import os
import pathlib
import runpy

from keras_dup import _network, data
from keras_dup.training import upper_bound

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_ITEMS = {"class_weights": float}  # of tuples that are empty by default, if not str


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training run. Paths are relative to `data_root`, else to $KERAS_DUP_DATA.

    The data are one of
    - a published data set of `keras_dup.data.load` and two of its splits;
    - two folders each (images and masks, paired by name, names optionally listed in a text file),
      or two folders of which every so many pictures are kept to validate on;
    - the built-in shapes: so many pictures of `crop_size`.

    Raises ValueError for a number out of its range.
    """

    name: str
    num_classes: int
    data_set: str = ""  # a name of keras_dup.data.load, prepared in data_root
    train_split: str = "train"
    val_split: str = "val"
    data_root: str = ""
    train_images: str = ""
    train_masks: str = ""
    train_names: str = ""
    train_share: float = 1.0  # of the training folders' pictures, at equal distances
    val_images: str = ""
    val_masks: str = ""
    val_names: str = ""
    val_share: float = 0.1  # of the training folders, where no val_images or val_names are given
    skip_bad: bool = False  # leave unusable pictures out, in place of an error that lists them
    class_names: tuple = ()
    ignore_class: int = 255  # what the mask files use for void
    train_count: int = 0  # built-in shapes
    val_count: int = 0

    # MODULE:FUNCTION, of (recipe, projection), that gives a model as `models.build` does, in its
    # place; the projection is fitted to what the next lines say all the same
    network: str = ""
    backbone: str = "resnet50"  # "label_encoder": fed label maps, needs no images (Table 1, mIOU*)
    weights: str = ""  # of `models.build`: "imagenet", a file (a path as those of data, or here)
    output_stride: int = 16
    low_level_features: tuple = ()
    decoder: str = "dupsampling"
    channels: int = 64
    downsample: str = "subsample"  # of low-level features (Eq. 8), or "convolution"
    # see `models.build`; 0: fusion_stride is output_stride, ratio is fusion_stride, context is all
    # 256 channels
    ratio: int = 0
    fusion_stride: int = 0
    fusion_channels: int = 256
    low_level_channels: int = 48
    context_channels: int = 0
    coarse_scores: bool = False
    initializer: str = "glorot_uniform"  # of DUpsampling, or "nearest"
    interpolated_scores: bool = False  # a branch of the DUpsampling decoder
    temperature: float = 1.0  # of the DUpsampling decoder, before training
    train_temperature: bool = True  # False leaves it there: 1 is the "vanilla softmax" (4.1.4)
    # a name, a file, "random" or "nearest" (`projection.nearest`, of num_classes channels); by
    # default fitted to the training label maps
    projection: str = ""
    class_balance: float = 0.0  # of that fit, 0 to 0.5: how much more rare classes count
    train_projection: bool = False  # W and the mean too; False keeps them (the paper)
    new_layers_variance: float = 0.0  # of the Gaussian of new layers (Sec. 4); 0: Keras's default

    # height, width; with multiples of the output stride a network never sees a window that the edge
    # of a picture cuts, as validation has them: 513 is better than 512
    crop_size: tuple = (513, 513)
    scale_range: tuple = (0.5, 2.0)
    batch_size: int = 16  # over all devices and workers
    train_batch_norm: bool = True  # False: those of the backbone stay as they are ("frozen")
    batch_norm_group: int = 0  # images that batch norm takes its statistics of; 0: the whole batch
    pretraining_steps: int = 0  # of regression to the compressed labels (Eq. 4), before the others
    pretraining_learning_rate: float = 0.01
    steps: int = 30_000
    steps_per_epoch: int = 500  # an epoch ends in a validation and a checkpoint
    checkpoint_steps: int = 0  # another checkpoint every so many steps; 0: none
    learning_rate: float = 0.007  # "poly": learning_rate * (1 - step / steps) ** power
    backbone_rate: float = 1.0  # of the backbone's variables, as a share of that
    power: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 0.0  # largest norm of the gradient; 0: any
    ema: float = 0.0  # momentum of the moving average of the weights that is validated; 0: none
    class_weights: tuple = ()  # of the loss, one a class; (): all 1
    hard_pixels: float = 1.0  # the share of an image's pixels, those with the largest loss, to use
    label_smoothing: float = 0.0
    batch_norm_momentum: float = 0.99  # a short run needs less for its moving averages to follow
    dtype_policy: str = "float32"  # or "mixed_bfloat16", "mixed_float16"
    jit_compile: bool = False  # XLA; one device, or the JAX backend, where it is always on
    seed: int = 0
    devices: tuple = ()  # all GPUs, or the CPU

    @property
    def window_ratio(self) -> int:
        """The ratio of W."""
        return self.ratio or self.fusion_stride or self.output_stride

    def __post_init__(self):
        positive = "num_classes", "low_level_channels", "batch_size", "steps", "steps_per_epoch"
        for name in (*positive, "learning_rate", "backbone_rate"):
            if getattr(self, name) <= 0:
                raise ValueError(f"recipe {self.name}: {name}={getattr(self, name)}; more than 0")
        for name in ("momentum", "ema", "label_smoothing", "val_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"recipe {self.name}: {name}={getattr(self, name)}; 0 to under 1")
        if not 0 < self.train_share <= 1:
            raise ValueError(f"recipe {self.name}: train_share={self.train_share}; over 0 to 1")
        if self.train_share < 1 and not self.train_images:
            raise ValueError(
                f"recipe {self.name}: train_share={self.train_share} is of train_images; of a "
                "data_set name a part in train_split, like train[:10%], of built-in shapes give "
                "fewer as train_count"
            )
        known_words = {
            "decoder": _network.DECODERS,
            "downsample": _network.DOWNSAMPLES,
            "initializer": _network.INITIALIZERS,
        }
        for name, known in known_words.items():
            if getattr(self, name) not in known:
                value = getattr(self, name)
                raise ValueError(f"recipe {self.name}: {name}={value!r}; one of {known}")
        if not 0 <= self.class_balance <= 0.5:
            raise ValueError(f"recipe {self.name}: class_balance={self.class_balance}; 0 to 0.5")
        starts = self.initializer == "nearest" or self.interpolated_scores
        if starts and self.new_layers_variance:
            raise ValueError(
                f"recipe {self.name}: new_layers_variance={self.new_layers_variance} draws the "
                "weights that initializer or interpolated_scores sets; set it to 0"
            )
        if self.network and self.backbone_rate != 1:
            raise ValueError(
                f"recipe {self.name}: backbone_rate={self.backbone_rate} is for what "
                f"`build` gives; with network={self.network!r} it must be 1"
            )
        if self.pretraining_steps and (
            self.decoder != "dupsampling" or self.projection == "random"
        ):
            raise ValueError(
                f"recipe {self.name}: pretraining_steps={self.pretraining_steps} compares with "
                "labels that W compressed, and there is no fitted W; set it to 0"
            )
        if len(self.crop_size) != 2:
            raise ValueError(f"recipe {self.name}: crop_size={self.crop_size}; height and width")
        if len(self.class_weights) not in (0, self.num_classes):
            weights, classes = len(self.class_weights), self.num_classes
            raise ValueError(
                f"recipe {self.name}: {weights} class_weights, but num_classes={classes}"
            )
        if self.class_names and len(self.class_names) != self.num_classes:
            names, classes = len(self.class_names), self.num_classes
            raise ValueError(f"recipe {self.name}: {names} class_names, but num_classes={classes}")


def load_recipe(path, overrides=()):
    """Reads a recipe file: a Python file with a variable `recipe`, or the recipe.json of a run.

    Args:
        path: the file.
        overrides: texts like "steps=100", as for `override`.

    Raises:
        ValueError: no recipe in the file, an unknown key, or a value of another type.
    """
    if str(path).endswith(".json"):
        return override(_from_json(path), overrides)
    recipe = runpy.run_path(str(path)).get("recipe")
    if not isinstance(recipe, Recipe):
        raise ValueError(f"{path}: a recipe file has a variable `recipe` of type Recipe")
    return override(recipe, overrides)


def _from_json(path):
    try:
        fields = json.loads(pathlib.Path(path).read_text())
        return Recipe(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
    except (TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not the recipe.json of a run ({error})") from error


def override(recipe, overrides):
    """A recipe with texts like "steps=100", "crop_size=257,257" or "jit_compile=true" applied."""
    return dataclasses.replace(recipe, **dict(_parse(text) for text in overrides))


def _parse(text):
    key, equals, value = text.partition("=")
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    types = {field.name: field.type for field in dataclasses.fields(Recipe)}
    if not equals or key not in types:
        raise ValueError(f"{text!r}: expected key=value with a key of {', '.join(types)}")
    if types[key] is not tuple:
        return key, _value(text, key, value, types[key])
    items = [item.strip() for item in value.split(",") if item.strip()]
    kind = type(defaults[key][0]) if defaults[key] else _ITEMS.get(key, str)
    return key, tuple(_value(text, key, item, kind) for item in items)


def _value(text, key, value, kind):
    try:
        return _BOOLEANS[value.lower()] if kind is bool else kind(value)
    except (ValueError, KeyError):
        raise ValueError(f"{text!r}: {key} is a {kind.__name__}, not {value!r}") from None


def datasets(recipe):
    """The training and the validation data of a recipe."""
    if recipe.backbone != upper_bound.NAME:
        return _pictures(recipe)
    if not recipe.train_masks:
        splits = [(s.label_map, len(s), s.class_names) for s in _pictures(recipe)]
    else:
        train = _masks(recipe, recipe.train_masks, recipe.train_names)
        val = _masks(recipe, recipe.val_masks or recipe.train_masks, recipe.val_names)
        splits = [(maps.__getitem__, len(maps), recipe.class_names) for maps in (train, val)]
    return tuple(
        upper_bound.LabelPictures(label_map, count, recipe.num_classes, names)
        for label_map, count, names in splits
    )


def _pictures(recipe):
    if recipe.data_set:
        root = _root(recipe) if recipe.data_root else None
        splits = recipe.train_split, recipe.val_split
        return tuple(data.load(recipe.data_set, split, data_dir=root) for split in splits)
    if not recipe.train_images:
        size = recipe.crop_size
        train = data.Shapes(recipe.train_count, size, seed=recipe.seed)
        return train, data.Shapes(recipe.val_count, size, seed=recipe.seed + 1)
    train = _folder(recipe, recipe.train_images, recipe.train_masks, recipe.train_names)
    if recipe.val_images or recipe.val_names:
        images, masks = recipe.val_images or recipe.train_images, recipe.val_masks
        val = _folder(recipe, images, masks or recipe.train_masks, recipe.val_names)
    else:
        train, val = _split(recipe, [file.stem for file in train.image_files])
    if recipe.train_share < 1:
        count = math.ceil(recipe.train_share * len(train))
        chosen = [train.image_files[i * len(train) // count].stem for i in range(count)]
        train = _folder(recipe, recipe.train_images, recipe.train_masks, chosen)
    return train, val


def _split(recipe, names):
    """Every so many of the names to validate on, the others to train on."""
    every = round(1 / recipe.val_share) if recipe.val_share else len(names) + 1
    val = names[::every] if recipe.val_share else []
    train = sorted(set(names) - set(val))
    if not val or not train:
        raise ValueError(
            f"recipe {recipe.name}: {len(names)} pictures, of which val_share={recipe.val_share} "
            "leaves none to train or to validate on; give val_images and val_masks"
        )
    folders = recipe.train_images, recipe.train_masks
    return tuple(_folder(recipe, *folders, part) for part in (train, val))


def _folder(recipe, images, masks, names):
    return data.Folder(
        _there(recipe, images),
        _there(recipe, masks),
        recipe.num_classes,
        names=_there(recipe, names) if isinstance(names, str) and names else names or None,
        ignore_class=recipe.ignore_class,
        class_names=recipe.class_names or None,
    )


def _masks(recipe, masks, names):
    names = _there(recipe, names) if names else None
    return data.LabelMaps(_there(recipe, masks), recipe.num_classes, names, recipe.ignore_class)


def _there(recipe, path):
    """A file or folder of a recipe; an error that says where it was looked for."""
    found = _root(recipe) / path
    if found.exists():
        return found
    if recipe.data_root or "KERAS_DUP_DATA" in os.environ:
        why = f"is looked for in {'data_root' if recipe.data_root else '$KERAS_DUP_DATA'}"
    else:
        why = "is relative to data_root, else to $KERAS_DUP_DATA, and neither is set"
    raise FileNotFoundError(f"{found}: not there; {path} of recipe {recipe.name} {why}")


def _root(recipe):
    return pathlib.Path(recipe.data_root or os.environ.get("KERAS_DUP_DATA", "."))


def find_weights(recipe):
    """What `models.build` takes as weights: with its path where it lies in `data_root`."""
    if not recipe.weights:
        return None
    path = _root(recipe) / recipe.weights
    found = path.is_file() or pathlib.Path(f"{path}.index").is_file()  # of a checkpoint
    return str(path) if found else recipe.weights
