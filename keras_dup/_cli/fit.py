"""`keras-dup fit`: label maps -> projection."""

import argparse
import contextlib
import importlib.util
import os
import time
from pathlib import Path

from keras_dup._cli import masks, options

__all__ = ["add"]

_MEASURED = 1000
_WINDOWS = 2**16  # looked at together


def add(commands):
    """Adds the command's parser."""
    fit = commands.add_parser(
        "fit",
        help="fit a projection to a folder of masks",
        description="Fits W to label maps, and measures and draws what W rebuilds of them.",
        epilog=options.examples(
            "fit masks/ --num-classes 7 -o w.npz",
            "fit masks/ --num-classes 7 --class-names classes.txt --channels 0.99 -o w.npz",
        ),
    )
    fit.set_defaults(check=_check, run=_run)
    fit.add_argument("masks", help="folder of masks: class ids, or with --colours colours")
    fit.add_argument("-o", "--output", required=True, help="the projection, an .npz")
    fit.add_argument("--num-classes", type=int, help="unless a table names the classes")
    fit.add_argument("--ratio", type=int, default=16, help="output stride of the model: 8, 16, 32")
    fit.add_argument(
        "--channels",
        type=_channels,
        default=64,
        help="a number, or a share of the variance in (0, 1], such as 0.99; default 64",
    )
    fit.add_argument(
        "--class-balance",
        type=_balance,
        default=0.0,
        help="0 (the default) to 0.5: how much more the pixels of rare classes count",
    )
    masks.add(fit)
    fit.add_argument(
        "--names", help="text file with the names to fit to; by default all, without --val-names"
    )
    fit.add_argument(
        "--val-names",
        help=f"text file with names to measure on; default: up to {_MEASURED} of those fitted to",
    )
    fit.add_argument("--class-names", help="text file with the names of the classes, one per line")
    fit.add_argument("--skip-bad", action="store_true", help="leave unusable masks out, and say so")
    fit.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that read")
    options.add_limits(fit)


def _check(arguments):
    for name in ("ratio", "channels", "workers"):
        if getattr(arguments, name) <= 0:
            raise ValueError(f"--{name} {getattr(arguments, name)}: more than 0 is expected")
    if not os.path.isdir(arguments.masks):
        raise ValueError(f"{arguments.masks}: no such folder")
    if importlib.util.find_spec("matplotlib") is None:
        options.warn("W will not be drawn: that needs matplotlib, pip install 'keras-dup[train]'")


def _run(arguments):
    from keras_dup import projection
    from keras_dup.projection import _fitting

    options.set_limits(arguments)
    path = Path(arguments.output)
    path = path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")
    arguments.num_classes, class_names = masks.classes(arguments)
    _fitting.check_arguments(arguments.num_classes, arguments.ratio)
    _fitting.check_channels(
        arguments.num_classes, arguments.ratio, arguments.channels, "pca", False
    )
    label_maps, measured = _label_maps(arguments)
    for dataset in (label_maps, measured):
        options.plan(arguments, [path, path.with_suffix(".png")], dataset)
    start = time.perf_counter()
    reading = {
        "verbose": True,
        "workers": arguments.workers,
        "on_error": "skip" if arguments.skip_bad else "raise",
    }
    counts = projection.count_windows(label_maps, arguments.num_classes, arguments.ratio, **reading)
    _print_skipped(counts.skipped)
    _check_classes(arguments, counts, label_maps, class_names)
    shape = arguments.num_classes, arguments.ratio, arguments.channels
    balance = arguments.class_balance
    fitted = projection.fit_counts(counts, *shape, verbose=True, class_balance=balance)
    fitted.save(path)
    seconds = time.perf_counter() - start
    explained = 100 * fitted.explained_variance_ratio.sum()
    print(
        f"{path}: {counts.label_maps} label maps, {seconds:.1f} s, {fitted.channels} channels, "
        f"{explained:.2f} % of the variance"
    )
    print(_classes(fitted.class_shares, class_names or range(fitted.num_classes)))
    _measure(arguments, fitted, measured, path.with_suffix(".png"), class_names, reading)


def _label_maps(arguments):
    """The label maps to fit to and those to measure on, which have nothing in common."""
    from keras_dup import data
    from keras_dup.data import _listing

    def read(names):
        return data.LabelMaps(
            arguments.masks, arguments.num_classes, names, **masks.given(arguments)
        )

    if not arguments.val_names:
        label_maps, measured = read(arguments.names), read(arguments.names)
        measured.files = measured.files[:: -(-len(measured) // _MEASURED)]
        return label_maps, measured
    measured = read(arguments.val_names)
    arguments.mask_suffix = measured.mask_suffix
    names = read(arguments.names).names if arguments.names else None
    every = read(None).names
    return read(_listing.names_to_train_on(every, names, measured.names)), measured


def _check_classes(arguments, counts, label_maps, class_names):
    """Tells which classes occur in no mask; ValueError if fewer than two occur."""
    import numpy as np

    from keras_dup._label_maps import IdCounts

    found = set()
    for start in range(0, len(counts), _WINDOWS):
        found.update(np.unique(counts.windows[start : start + _WINDOWS]).tolist())
    if len(found) == arguments.num_classes:
        return
    ids = IdCounts()
    for i in range(len(label_maps)):
        with contextlib.suppress(*([ValueError, OSError] if arguments.skip_bad else [])):
            ids.add(label_maps[i])
    complaint = ids.complaint(arguments.num_classes, class_names)
    if len(found) < 2:
        raise ValueError(complaint)
    options.warn(complaint)


def _measure(arguments, fitted, measured, picture, class_names, reading):
    """Prints and draws what W rebuilds of label maps."""
    from keras_dup import pictures
    from keras_dup.projection import _report

    found = _report.measure(fitted, measured, **reading)
    print(found.table(class_names))
    try:
        names = class_names and pictures.drawable_names(class_names)
        found.draw(picture, class_names=names)
        if names != class_names:
            print("names that the font cannot draw are ids in the picture")
        print(f"{picture}: the same as a picture, and class by class")
    except ImportError as error:  # Matplotlib is an extra, and the projection is there
        print(error)
    flat = _report.flat_classes(fitted, class_names)
    if flat:
        print(flat)
    kind = "other" if arguments.val_names else "of these"
    print(f"reconstruction of {found.label_maps} {kind} label maps: mIoU {100 * found.miou:.3f} %")


def _channels(text):
    return float(text) if "." in text else int(text)


def _balance(text):
    if not 0 <= float(text) <= 0.5:
        raise argparse.ArgumentTypeError(f"{text}; 0 to 0.5 is expected")
    return float(text)


def _classes(shares, names):
    """The classes by their shares of the pixels, and weights of a loss by those."""
    import numpy as np

    weights = np.ones_like(shares)
    there = shares > 0
    weights[there] = (np.median(shares[there]) / shares[there]) ** 0.5
    return (
        f"shares of the pixels: {', '.join(map('{} {:.2%}'.format, names, shares))}\n"
        "weights of the classes in a loss, by their shares to the power of -0.5: class_weights="
        f"{','.join(f'{weight:.3g}' for weight in weights)}"
    )


def _print_skipped(messages):
    if messages:
        print(f"{len(messages)} masks skipped:", *messages[:5], sep="\n  ")
        if len(messages) > 5:
            print(f"  and {len(messages) - 5} more")
