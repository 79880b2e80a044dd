"""`keras-dup fit`: label maps -> projection."""

import argparse
import os
import time

from keras_dup.cli import options

_MEASURED = 1000


def add(commands):
    fit = commands.add_parser("fit", help="fit a projection to a folder of masks")
    fit.set_defaults(run=_run)
    fit.add_argument("masks", help="folder of palette or grey PNGs, one class id per pixel")
    fit.add_argument("-o", "--output", required=True, help="the projection, an .npz")
    fit.add_argument("--num-classes", type=int, required=True)
    fit.add_argument("--ratio", type=int, default=16, help="output stride of the model: 8, 16, 32")
    fit.add_argument(
        "--channels",
        type=_channels,
        default=64,
        help="a number, or a share of the variance in (0, 1); default 64",
    )
    fit.add_argument(
        "--class-balance",
        type=_balance,
        default=0.0,
        help="0 (the default) to 0.5: how much more the pixels of rare classes count",
    )
    fit.add_argument("--ignore-class", type=int, default=255, help="the id of void in the files")
    fit.add_argument("--names", help="text file with the names to fit to; all by default")
    fit.add_argument(
        "--val-names",
        help=f"text file with names to measure on; default: up to {_MEASURED} of those fitted to",
    )
    fit.add_argument("--class-names", help="text file with the names of the classes, one a line")
    fit.add_argument("--skip-bad", action="store_true", help="leave unusable masks out, and say so")
    fit.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that read")


def _run(arguments):
    from keras_dup import data, projection
    from keras_dup.projection import report

    def read(names):
        shape = arguments.num_classes, names, arguments.ignore_class
        return data.LabelMaps(arguments.masks, *shape)

    class_names = options.class_names(arguments.class_names, arguments.num_classes)
    start = time.perf_counter()
    label_maps = read(arguments.names)
    reading = {
        "verbose": True,
        "workers": arguments.workers,
        "on_error": "skip" if arguments.skip_bad else "raise",
    }
    counts = projection.count_windows(label_maps, arguments.num_classes, arguments.ratio, **reading)
    shape = arguments.num_classes, arguments.ratio, arguments.channels
    balance = arguments.class_balance
    fitted = projection.fit_counts(counts, *shape, verbose=True, class_balance=balance)
    path = fitted.save(arguments.output)
    seconds = time.perf_counter() - start
    explained = 100 * fitted.explained_variance_ratio.sum()
    _print_skipped(counts.skipped)
    print(
        f"{path}: {counts.label_maps} label maps, {seconds:.1f} s, {fitted.channels} channels, "
        f"{explained:.2f} % of the variance"
    )
    print(_classes(fitted.class_shares, class_names or range(fitted.num_classes)))
    measured = read(arguments.val_names or arguments.names)
    if not arguments.val_names:
        measured.files = measured.files[:: -(-len(measured) // _MEASURED)]
    found = report.measure(fitted, measured, **reading)
    print(found.table(class_names))
    try:
        found.draw(path.with_suffix(".png"), class_names=class_names)
        print(f"{path.with_suffix('.png')}: the same as a picture, and class by class")
    except ImportError as error:  # Matplotlib is an extra, and the projection is there
        print(error)
    flat = report.flat_classes(fitted, class_names)
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
