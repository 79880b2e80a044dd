"""The `keras-dup` command."""

import argparse
import functools
import json
import os
import sys
import time
from pathlib import Path

MODEL = "a .keras file, or 'voc_animals', which the package has"
_MEASURED = 1000
_CALIBRATION = 128


def main(arguments=None):
    """Runs `keras-dup`; a bad input is one line on standard error and exit status 1."""
    arguments = _parser().parse_args(arguments)
    try:
        arguments.run(arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"keras-dup: {error}")
    except KeyboardInterrupt:
        sys.exit("keras-dup: interrupted")


def _parser():
    parser = argparse.ArgumentParser(prog="keras-dup", description="DUpsampling for Keras 3.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="fit a projection to a folder of masks")
    fit.set_defaults(run=_fit)
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
    fit.add_argument("--ignore-class", type=int, default=255, help="the id of void in the files")
    fit.add_argument("--names", help="text file with the names to fit to; all by default")
    fit.add_argument(
        "--val-names",
        help=f"text file with names to measure on; default: up to {_MEASURED} of those fitted to",
    )
    fit.add_argument("--class-names", help="text file with the names of the classes, one a line")
    fit.add_argument("--skip-bad", action="store_true", help="leave unusable masks out, and say so")
    fit.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that read")
    _add_flops(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_export(commands)
    return parser


def _add_flops(commands):
    flops = commands.add_parser("flops", help="multiply-adds and parameters of a network, by part")
    flops.set_defaults(run=_flops)
    flops.add_argument("--paper", action="store_true", help="the figures of the paper's tables")
    flops.add_argument("--preset", help="a network of the paper; other arguments override it")
    flops.add_argument("--backbone")
    flops.add_argument("--num-classes", type=int)
    flops.add_argument("--output-stride", type=int)
    flops.add_argument("--low-level-features", nargs="*", metavar="NAME")
    flops.add_argument("--channels", type=int)
    flops.add_argument("--decoder")
    size = {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH")}
    flops.add_argument("--input-size", **size, help="in pixels; 513 513 or the preset's by default")
    flops.add_argument("--elementwise", action="store_true", help="count batch norm, ReLU, ... too")


def _add_predict(commands):
    predict = commands.add_parser("predict", help="label maps and overlays of pictures")
    predict.set_defaults(run=_predict)
    predict.add_argument("model", help=MODEL)
    predict.add_argument("images", nargs="+", help="pictures, or folders of pictures")
    predict.add_argument("-o", "--output", required=True, help="folder: NAME.png, NAME_overlay.png")
    _add_inference(predict)


def _add_evaluate(commands):
    evaluate = commands.add_parser("evaluate", help="IoU of a model on images and masks")
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("model", help=MODEL)
    evaluate.add_argument("--images", required=True, help="folder of pictures")
    evaluate.add_argument("--masks", required=True, help="folder of their masks, PNG")
    evaluate.add_argument("--names", help="text file with the names to take; all by default")
    evaluate.add_argument("--ignore-class", type=int, default=255, help="the id of void in masks")
    evaluate.add_argument("-o", "--output", help="folder: report.json, confusion.png, worst.png")
    _add_inference(evaluate)


def _add_export(commands):
    export = commands.add_parser("export", help="files for servers and phones, each checked")
    export.set_defaults(run=_export)
    export.add_argument("model", help=MODEL)
    export.add_argument("-o", "--output", required=True, help="folder for the files")
    export.add_argument("--formats", nargs="+", help="all by default", metavar="FORMAT")
    size = {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH"), "default": (513, 513)}
    export.add_argument("--input-size", **size, help="of LiteRT files; 513 513 by default")
    export.add_argument("--images", help="folder of pictures to measure on; needs --masks")
    export.add_argument("--masks", help="folder of their masks, PNG")
    export.add_argument("--names", help="text file with the names to take; all by default")
    export.add_argument("--ignore-class", type=int, default=255, help="the id of void in masks")
    export.add_argument("--calibration", nargs="+", help="pictures or folders, for int8")
    export.add_argument("--class-names", help="text file with a name a line")


def _add_inference(command):
    command.add_argument("--scales", type=float, nargs="+", default=[1.0])
    command.add_argument("--flip", action="store_true", help="also mirrored, averaged")
    command.add_argument(
        "--window",
        type=int,
        default=1025,
        help="side in pixels; larger pictures run in overlapping windows, 0: as a whole (1025)",
    )
    command.add_argument("--class-names", help="text file with a name a line")


def _loaded(arguments):
    """The function image -> label map of the model of the command line, and its class names."""
    from keras_dup import inference

    model, names = _model(arguments)
    options = {"scales": arguments.scales, "flip": arguments.flip}
    options["window"] = arguments.window or None
    return functools.partial(inference.predict, model, **options), names


def _model(arguments):
    """The model of the command line, and the names of its classes."""
    from keras_dup import models

    model = models.load(arguments.model)
    num_classes = model.output_shape[-1]
    names = _class_names(arguments.class_names, num_classes) or models.class_names(arguments.model)
    return model, names or [str(k) for k in range(num_classes)]


def _export(arguments):
    from keras_dup import data
    from keras_dup.export import measure

    if (arguments.images is None) != (arguments.masks is None):
        raise ValueError("export: --images and --masks go together")
    formats = arguments.formats or measure.FORMATS
    measure.check(formats)
    model, names = _model(arguments)
    size, dataset = tuple(arguments.input_size), None
    if arguments.images:
        folders = arguments.images, arguments.masks
        dataset = data.Folder(*folders, len(names), arguments.names, arguments.ignore_class, names)
    calibration = None
    if arguments.calibration:
        files = data.image_files(arguments.calibration)
        calibration = [data.read_image(file) for file in files[:: -(-len(files) // _CALIBRATION)]]
    images = dataset and [dataset.image(i) for i in range(min(len(dataset), 8))]
    reports = measure.export_all(model, arguments.output, formats, size, names, calibration, images)
    if dataset:
        rows = measure.measure(model, reports, dataset, size)
        print(measure.table(rows))
        part = Path(arguments.output) / "part.measured.json"
        part.write_text(json.dumps(rows, indent=1))
        part.replace(Path(arguments.output) / "measured.json")


def _evaluate(arguments):
    from keras_dup import data, evaluation, pictures

    predict, names = _loaded(arguments)
    folders = arguments.images, arguments.masks
    dataset = data.Folder(*folders, len(names), arguments.names, arguments.ignore_class, names)
    report = evaluation.evaluate(predict, dataset, trimap_widths=(2, 4, 8, 16), boundary=True)
    print(evaluation.table(report))
    if arguments.output:
        output = Path(arguments.output)
        output.mkdir(parents=True, exist_ok=True)
        part = output / "part.report.json"
        part.write_text(json.dumps(report, indent=1))
        part.replace(output / "report.json")
        pictures.save(pictures.confusion(report["confusion"], names), output / "confusion.png")
        pictures.save(pictures.worst(predict, dataset, report), output / "worst.png")
        print(f"report.json, confusion.png and worst.png are in {output}")


def _predict(arguments):
    from tqdm import tqdm

    from keras_dup import data, pictures

    files = data.image_files(arguments.images)
    predict, names = _loaded(arguments)
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    bad = 0
    for file, stem in tqdm(data.distinct_stems(files), "predicting", unit=" pictures"):
        try:
            image = data.read_image(file)
        except (ValueError, OSError) as error:
            tqdm.write(f"keras-dup: {error}", file=sys.stderr)
            bad += 1
            continue
        label_map = predict(image)
        data.save_label_map(output / f"{stem}.png", label_map)
        pictures.save(pictures.overlay(image, label_map, names), output / f"{stem}_overlay.png")
    print(f"{output}: {len(files) - bad} label maps and overlays")
    if bad:
        raise ValueError(f"{bad} of {len(files)} pictures could not be read, see above")


def _flops(arguments):
    from keras_dup import flops, models, presets

    if arguments.paper:
        _paper()
        return
    names = ("preset", "backbone", "num_classes", "output_stride", "low_level_features")
    names = (*names, "channels", "decoder")
    model = models.build(**{name: getattr(arguments, name) for name in names})
    size = presets.PRESETS.get(arguments.preset, {}).get("input_size", (513, 513))
    size = tuple(arguments.input_size or size)
    table = flops.table(model, size, arguments.elementwise)
    table["total"] = tuple(map(sum, zip(*table.values(), strict=True)))
    print(f"{model.name}, one image of {size[0]} x {size[1]}")
    print(f"{'':28} {'multiply-adds':>18} {'parameters':>14}")
    for part, (multiply_adds, parameters) in table.items():
        print(f"{part:28} {multiply_adds:18,} {parameters:14,}")


def _paper():
    """Every FLOPS figure of the paper next to ours, in its units."""
    from keras_dup import flops, models, presets

    print(f"{'decoder, 2 operations a multiply-add':45} {'paper':>9} {'ours':>9}")
    for name, row in presets.PRESETS.items():
        if row["decoder_billions"]:
            model = models.build(preset=name)
            ours = 2 * flops.count(model, row["input_size"])["decoder"] / 1e9
            print(f"{row['source']:45} {row['decoder_billions']:>8}B {ours:8.2f}B")
    print(f"\n{'whole network, six scales and mirrored':45} {'paper':>9} {'ours':>9}")
    for name, row in presets.MULTI_SCALE.items():
        model = models.build(**row["network"])
        ours = flops.count_multi_scale(model, row["input_size"], row["scales"]) / 1e9
        print(f"{name:45} {row['billions']:>8}B {ours:8.2f}B")


def _channels(text):
    return float(text) if "." in text else int(text)


def _fit(arguments):
    from keras_dup import data, projection
    from keras_dup.projection import report

    def read(names):
        shape = arguments.num_classes, names, arguments.ignore_class
        return data.LabelMaps(arguments.masks, *shape)

    class_names = _class_names(arguments.class_names, arguments.num_classes)
    start = time.perf_counter()
    label_maps = read(arguments.names)
    options = {
        "verbose": True,
        "workers": arguments.workers,
        "on_error": "skip" if arguments.skip_bad else "raise",
    }
    counts = projection.count_windows(label_maps, arguments.num_classes, arguments.ratio, **options)
    fitted = projection.fit_counts(
        counts, arguments.num_classes, arguments.ratio, arguments.channels, verbose=True
    )
    path = fitted.save(arguments.output)
    seconds = time.perf_counter() - start
    explained = 100 * fitted.explained_variance_ratio.sum()
    _print_skipped(counts.skipped)
    print(
        f"{path}: {counts.label_maps} label maps, {seconds:.1f} s, {fitted.channels} channels, "
        f"{explained:.2f} % of the variance"
    )
    measured = read(arguments.val_names or arguments.names)
    if not arguments.val_names:
        measured.files = measured.files[:: -(-len(measured) // _MEASURED)]
    found = report.measure(fitted, measured, **options)
    print(found.table())
    try:
        found.draw(path.with_suffix(".png"), class_names=class_names)
        print(f"{path.with_suffix('.png')}: the same as a picture, and class by class")
    except ImportError as error:  # Matplotlib is an extra, and the projection is there
        print(error)
    kind = "other" if arguments.val_names else "of these"
    print(f"reconstruction of {found.label_maps} {kind} label maps: mIoU {100 * found.miou:.3f} %")


def _print_skipped(messages):
    if messages:
        print(f"{len(messages)} masks skipped:", *messages[:5], sep="\n  ")
        if len(messages) > 5:
            print(f"  and {len(messages) - 5} more")


def _class_names(path, num_classes):
    if path is None:
        return None
    names = [name.strip() for name in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    names = [name for name in names if name]
    if len(names) != num_classes:
        raise ValueError(f"{path}: {len(names)} names, but there are {num_classes} classes")
    return names
