"""The `keras-dup` command."""

import argparse
import sys
import time


def main(arguments=None):
    """Runs `keras-dup`; a bad input is one line on standard error and exit status 1."""
    arguments = _parser().parse_args(arguments)
    try:
        arguments.run(arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"keras-dup: {error}")


def _parser():
    parser = argparse.ArgumentParser(prog="keras-dup", description="DUpsampling for Keras 3.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="fit a projection to a folder of masks")
    fit.set_defaults(run=_fit)
    fit.add_argument("masks", help="folder of palette or grey PNGs, one class id per pixel")
    fit.add_argument("-o", "--output", required=True, help="the projection, an .npz")
    fit.add_argument("--num-classes", type=int, required=True)
    fit.add_argument("--ratio", type=int, default=16, help="output stride of the model: 8, 16, 32")
    fit.add_argument("--channels", type=int, default=64)
    fit.add_argument("--ignore-class", type=int, default=255, help="the id of void in the files")
    fit.add_argument("--names", help="text file with the names to fit to; all by default")
    fit.add_argument("--val-names", help="text file with names to measure the reconstruction on")
    return parser


def _fit(arguments):
    from keras_dup import data, projection

    def read(names):
        files = data.mask_files(arguments.masks, names)
        shape = arguments.num_classes, arguments.ignore_class
        return len(files), (data.read_label_map(file, *shape) for file in files)

    start = time.perf_counter()
    total, label_maps = read(arguments.names)
    fitted = projection.fit(
        label_maps,
        num_classes=arguments.num_classes,
        ratio=arguments.ratio,
        channels=arguments.channels,
        verbose=True,
        total=total,
    )
    path = fitted.save(arguments.output)
    seconds = time.perf_counter() - start
    explained = 100 * fitted.explained_variance_ratio.sum()
    print(f"{path}: {total} label maps, {seconds:.1f} s, {explained:.2f} % of the variance")
    if arguments.val_names:
        total, label_maps = read(arguments.val_names)
        miou = projection.reconstruction_miou(fitted, label_maps, verbose=True, total=total)
        print(f"reconstruction of {total} other label maps: mIoU {100 * miou:.3f} %")
