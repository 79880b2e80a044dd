"""What several commands take: a model, how it predicts, the names of its classes."""

import functools
from pathlib import Path

MODEL = "a .keras file, or 'voc_animals', which the package has"


def add_inference(command):
    command.add_argument("--scales", type=float, nargs="+", default=[1.0])
    command.add_argument("--flip", action="store_true", help="also mirrored, averaged")
    command.add_argument(
        "--window",
        type=int,
        default=1025,
        help="side in pixels; larger pictures run in overlapping windows, 0: as a whole (1025)",
    )
    command.add_argument("--class-names", help="text file with a name a line")


def add_labelled(command):
    command.add_argument("--images", help="folder of pictures; needs --masks")
    command.add_argument("--masks", help="folder of their masks, PNG")
    command.add_argument("--names", help="text file with the names to take; all by default")
    command.add_argument("--ignore-class", type=int, default=255, help="the id of void in masks")
    published = "a published data set and its split, NAME:SPLIT, see keras_dup.data.load"
    command.add_argument("--data-set", metavar="NAME:SPLIT", help=published)
    command.add_argument("--data-dir", help="where --data-set lies or is prepared")


def labelled(arguments, names):
    """The data set that the command line names, with classes `names`; None if it names none.

    Raises ValueError for half of it, or for a published data set of other classes.
    """
    from keras_dup import data

    if arguments.data_set:
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
    folders = arguments.images, arguments.masks
    return data.Folder(*folders, len(names), arguments.names, arguments.ignore_class, names)


def predictor(arguments):
    """The function image -> label map of the model of the command line, and its class names."""
    from keras_dup import inference
    from keras_dup.export.folding import fold

    network, names = model(arguments)
    network = fold(network, "probabilities")  # nothing trains it from here on
    options = {"scales": arguments.scales, "flip": arguments.flip}
    options["window"] = arguments.window or None
    return functools.partial(inference.predict, network, **options), names


def model(arguments):
    """The model of the command line, and the names of its classes."""
    from keras_dup import models

    network = models.load(arguments.model)
    num_classes = network.output_shape[-1]
    names = class_names(arguments.class_names, num_classes) or models.class_names(arguments.model)
    if names is None or len(names) != num_classes:  # a classes.txt of something else
        names = [str(k) for k in range(num_classes)]
    return network, names


def class_names(path, num_classes):
    if path is None:
        return None
    names = [name.strip() for name in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    names = [name for name in names if name]
    if len(names) != num_classes:
        raise ValueError(f"{path}: {len(names)} names, but there are {num_classes} classes")
    return names
