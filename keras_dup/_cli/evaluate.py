"""`keras-dup evaluate`: a model and labelled images -> IoU."""

import argparse
import time
from pathlib import Path

from keras_dup import presets
from keras_dup._cli import options
from keras_dup._whole import write_json, write_picture, writing

__all__ = ["add"]

_FILES = ("report.json", "report.html", "confusion.png", "worst.png")


def add(commands):
    """Adds the command's parser."""
    evaluate = commands.add_parser(
        "evaluate",
        help="IoU of a model on images and masks",
        description="IoU of each class, near borders too, and how much of the errors is blocks.",
        epilog=options.examples(
            "evaluate run/best.keras --images images/ --masks masks/ -o evaluation/",
            "evaluate run/best.keras --data-set camvid:val --data-dir data/",
            "evaluate run/best.keras --compare other/best.keras --images images/ --masks masks/",
        ),
    )
    evaluate.set_defaults(check=_check, run=_run)
    evaluate.add_argument("model", help=options.MODEL)
    options.add_labelled(evaluate)
    other = "another model of the same classes: differences, with 95 %% of the draws of the images"
    evaluate.add_argument("--compare", metavar="MODEL", help=other)
    evaluate.add_argument("-o", "--output", help=f"folder: {', '.join(_FILES)}")
    grid = "side of the windows in whose grid blocks show; by default the ratio of DUpsampling"
    evaluate.add_argument("--grid", type=int, metavar="PIXELS", help=grid)
    options.add_inference(evaluate)


def _check(arguments):
    if arguments.data_set is None and None in (arguments.images, arguments.masks):
        raise ValueError("evaluate: --images and --masks, or --data-set")
    if arguments.data_set:
        options.check_data_set(arguments.data_set.partition(":")[0])
    options.check_inference(arguments)
    presets.check_model(arguments.model)
    if arguments.compare:
        presets.check_model(arguments.compare)


def _run(arguments):
    from keras_dup import evaluation
    from keras_dup._label_maps import count_ids, different_names, doubt

    options.set_limits(arguments)
    paths = [Path(arguments.output) / name for name in _FILES] if arguments.output else []
    options.plan(arguments, paths)
    predict, names = options.predictor(arguments)
    against = _against(arguments, names)
    dataset = options.labelled(arguments, names)
    options.plan(arguments, paths, dataset)
    options.warn(different_names(names, list(dataset.class_names), "the data set"))
    options.warn(count_ids(dataset.label_maps()).complaint(len(names), names))
    report = evaluation.evaluate(
        predict,
        dataset,
        trimap_widths=(2, 4, 8, 16),
        boundary=True,
        grid=arguments.grid or _ratio(predict.args[0]),
        warn=False,  # said here, in one line each
        against=against,
    )
    print(evaluation.table(report))
    options.warn(doubt(report["confusion"]))
    if arguments.output:
        _write(arguments, paths, report, dataset, predict, against)


def _write(arguments, paths, report, dataset, predict, against):
    from keras_dup import __version__, pictures
    from keras_dup._report_page import report_page

    report_path, page_path, confusion_path, worst_path = paths
    report_path.parent.mkdir(parents=True, exist_ok=True)
    write_json(report, report_path)
    names, colours = dataset.class_names, getattr(predict.args[0], "colours", None) or None
    write_picture(pictures.confusion(report["confusion"], names), confusion_path)
    write_picture(pictures.worst(predict, dataset, report, colours=colours), worst_path)
    title, other = _titles(arguments)
    predictors = {title: predict} | ({other: against} if against else {})
    facts = [f"{report['images']} images of {arguments.data_set or arguments.images}"]
    facts.append(f"keras-dup {__version__}, {time.strftime('%Y-%m-%d')}")
    if against:
        facts.insert(0, f"compared with {other}")
    page = report_page(report, dataset, predictors, colours, facts)
    with writing(page_path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"{', '.join(_FILES)} are in {arguments.output}")


def _titles(arguments):
    """What to call the two models: file and folder, or as they were given."""
    given = [text or "" for text in (arguments.model, arguments.compare)]
    short = ["/".join(Path(text).parts[-2:]) for text in given]
    short = short if short[0] != short[1] else given
    return short if short[0] != short[1] else [given[0], f"{given[1]} again"]


def _against(arguments, names):
    """How the model of --compare predicts; None without one. ValueError if its classes differ."""
    from keras_dup._label_maps import different_names

    if arguments.compare is None:
        return None
    predict, other = options.predictor(
        argparse.Namespace(**{**vars(arguments), "model": arguments.compare, "class_names": None})
    )
    if len(other) != len(names):
        classes = f"{len(other)} classes, {arguments.model} {len(names)}"
        raise ValueError(f"--compare: {arguments.compare} has {classes}; they cannot be compared")
    options.warn(different_names(names, other, arguments.compare))
    return predict


def _ratio(network):
    """The side of the windows that a network predicts at once; None if it has no DUpsampling."""
    ratios = [layer.ratio for layer in network.layers if hasattr(layer, "projection")]
    return ratios[0] if ratios else None
