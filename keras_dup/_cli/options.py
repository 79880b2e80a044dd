"""What several commands take: a model, how it predicts, labelled data, names of classes."""

import functools
import importlib.util
import sys
from pathlib import Path

from keras_dup._cli import masks, outputs
from keras_dup._nearest import hint

__all__ = [
    "MODEL",
    "add_inference",
    "add_labelled",
    "add_limits",
    "check_data_set",
    "check_inference",
    "class_names",
    "examples",
    "files_read",
    "labelled",
    "model",
    "plan",
    "predictor",
    "set_limits",
    "warn",
]

MODEL = "a .keras file, a saved folder, hf://ORG/NAME, or 'voc_animals' of the package"
_LONGEST_NAME = 200  # characters of a class
_LARGEST_SCALE = 16


def examples(*lines):
    """The end of a command's help."""
    return "\n".join(["examples:", *(f"  keras-dup {line}" for line in lines)])


def add_inference(command):
    """Adds how a model predicts."""
    scales = {"type": float, "nargs": "+", "default": [1.0], "metavar": "SCALE"}
    command.add_argument("--scales", **scales, help="average over scaled images; default 1")
    command.add_argument("--flip", action="store_true", help="average with the mirrored image")
    command.add_argument(
        "--window",
        type=int,
        default=1025,
        help="larger images run in overlapping windows of this side; 0: as a whole; default 1025",
    )
    command.add_argument("--class-names", help="text file with one name per line")
    add_limits(command)


def add_limits(command):
    """Adds the largest image that is read."""
    command.add_argument(
        "--max-pixels", type=int, metavar="N", help="pixels of the largest image; default 178956970"
    )


def set_limits(arguments):
    """Applies `--max-pixels`."""
    from keras_dup import data

    if arguments.max_pixels is not None:
        data.allow_pixels(arguments.max_pixels)


def add_labelled(command):
    """Adds labelled data: two folders, or a published data set."""
    command.add_argument("--images", help="folder of images; needs --masks")
    command.add_argument("--masks", help="folder of their masks")
    command.add_argument("--names", help="text file with the names to take; all by default")
    masks.add(command)
    published = "a published data set and its split, NAME:SPLIT, see keras_dup.data.load"
    command.add_argument("--data-set", metavar="NAME:SPLIT", help=published)
    command.add_argument("--data-dir", help="where --data-set lies or is prepared")


def labelled(arguments, names):
    """The data set that the command line names, with classes `names`; None if it names none.

    Raises ValueError for half of it, or for a published data set of other classes.
    """
    from keras_dup import data

    if arguments.data_set:
        masks.check_published(arguments)
        name, colon, split = arguments.data_set.partition(":")
        if not colon or arguments.images or arguments.masks:
            raise ValueError("--data-set is NAME:SPLIT, in place of --images and --masks")
        dataset = data.load(name, split, data_dir=arguments.data_dir)
        if dataset.num_classes != len(names):
            classes = f"{dataset.num_classes} classes, the model {len(names)}"
            raise ValueError(f"{arguments.data_set} has {classes}")
        return dataset
    if (arguments.images is None) != (arguments.masks is None):
        raise ValueError("--images and --masks go together")
    if arguments.images is None:
        return None
    folders = arguments.images, arguments.masks, len(names), arguments.names
    return data.Folder(*folders, class_names=names, **masks.given(arguments))


def plan(arguments, writes, dataset=None, files=()):
    """Refuses outputs that meet what the command line names, a data set's files, or `files`."""
    from keras_dup.data import _listing

    reads, folders = [*files_read(arguments), *files], {}
    image, mask = _listing.IMAGE_ENDINGS, _listing.MASK_ENDINGS
    endings = {"images": image, "val_images": image, "masks": mask, "val_masks": mask}
    for name in endings:
        if getattr(arguments, name, None):
            folders[getattr(arguments, name)] = endings[name]
    for name in ("image_files", "mask_files", "files"):
        reads += getattr(dataset, name, [])
    outputs.plan(writes, reads, folders, getattr(arguments, "recursive", False))


def files_read(arguments):
    """The files that the command line names, without those of its folders."""
    names = ("model", "compare", "names", "val_names", "class_names", "colours")
    found = [getattr(arguments, name, None) for name in names]
    found = [Path(path) for path in found if path and Path(path).exists()]
    return [file for path in found for file in (path.iterdir() if path.is_dir() else [path])]


def check_inference(arguments):
    """Raises ValueError for scales, or names of classes, that cannot be."""
    for scale in arguments.scales:
        if not 0 < scale <= _LARGEST_SCALE:
            raise ValueError(f"--scales {scale:g}: more than 0 and at most {_LARGEST_SCALE}")
    if arguments.window < 0:
        raise ValueError(f"--window {arguments.window}: a side in pixels, or 0")


def check_data_set(name):
    """Raises ValueError for an unknown published data set, ImportError without the extra."""
    from keras_dup.data._catalogue import CATALOGUE

    if name not in CATALOGUE:
        known = f"{', '.join(CATALOGUE)}{hint(name, CATALOGUE)}"
        raise ValueError(f"--data-set {name}: expected one of {known}")
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise ImportError("--data-set needs tensorflow-datasets: pip install 'keras-dup[tfds]'")


def predictor(arguments):
    """The function image -> label map of the model of the command line, and its class names."""
    from keras_dup import inference
    from keras_dup.export._folding import fold

    network, names = model(arguments)
    network = fold(network, "probabilities")  # nothing trains it from here on
    options = {"scales": arguments.scales, "flip": arguments.flip}
    options["window"] = arguments.window or None
    return functools.partial(inference.predict, network, **options), names


def model(arguments):
    """The model of the command line, and the names of its classes."""
    from keras_dup import models
    from keras_dup._labelled import labelled

    network = models.load(arguments.model)
    num_classes = network.output_shape[-1]
    given = class_names(arguments.class_names, num_classes)
    if given:
        network = labelled(network, given, getattr(network, "colours", None))
    return network, models.class_names(network) or [str(k) for k in range(num_classes)]


def class_names(path, num_classes):
    """The names in a text file; ValueError if there are not as many as classes."""
    from keras_dup._lists import read_lines

    if path is None:
        return None
    names = read_lines(path)
    if len(names) != num_classes:
        raise ValueError(f"{path}: {len(names)} names, but there are {num_classes} classes")
    longest = max(map(len, names))
    if longest > _LONGEST_NAME:
        raise ValueError(f"{path}: a name of {longest} characters; at most {_LONGEST_NAME}")
    return names


def warn(text):
    """Prints a line to standard error, if there is one."""
    if text:
        print(f"keras-dup: warning: {text}", file=sys.stderr)
