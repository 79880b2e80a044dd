"""`keras-dup evaluate`: a model and labelled images -> IoU."""

from pathlib import Path

from keras_dup._cli import options
from keras_dup._whole import write_json, write_picture

__all__ = ["add"]

_FILES = ("report.json", "confusion.png", "worst.png")


def add(commands):
    """Adds the command's parser."""
    evaluate = commands.add_parser(
        "evaluate",
        help="IoU of a model on images and masks",
        description="IoU of each class, near borders too, and how much of the errors is blocks.",
        epilog=options.examples(
            "evaluate run/best.keras --images images/ --masks masks/ -o evaluation/",
            "evaluate run/best.keras --data-set camvid:val --data-dir data/",
        ),
    )
    evaluate.set_defaults(check=_check, run=_run)
    evaluate.add_argument("model", help=options.MODEL)
    options.add_labelled(evaluate)
    evaluate.add_argument("-o", "--output", help=f"folder: {', '.join(_FILES)}")
    grid = "side of the windows in whose grid blocks show; by default the ratio of DUpsampling"
    evaluate.add_argument("--grid", type=int, metavar="PIXELS", help=grid)
    options.add_inference(evaluate)


def _check(arguments):
    if arguments.data_set is None and None in (arguments.images, arguments.masks):
        raise ValueError("evaluate: --images and --masks, or --data-set")
    options.check_inference(arguments)
    options.check_model(arguments.model)


def _run(arguments):
    from keras_dup import evaluation, pictures
    from keras_dup._label_maps import count_ids, doubt

    options.set_limits(arguments)
    paths = [Path(arguments.output) / name for name in _FILES] if arguments.output else []
    options.plan(arguments, paths)
    predict, names = options.predictor(arguments)
    dataset = options.labelled(arguments, names)
    options.plan(arguments, paths, dataset)
    options.warn(count_ids(dataset.label_maps()).complaint(len(names), names))
    report = evaluation.evaluate(
        predict,
        dataset,
        trimap_widths=(2, 4, 8, 16),
        boundary=True,
        grid=arguments.grid or _ratio(predict.args[0]),
        warn=False,  # said here, in one line each
    )
    print(evaluation.table(report))
    options.warn(doubt(report["confusion"]))
    if arguments.output:
        report_path, confusion_path, worst_path = paths
        report_path.parent.mkdir(parents=True, exist_ok=True)
        write_json(report, report_path)
        write_picture(pictures.confusion(report["confusion"], names), confusion_path)
        write_picture(pictures.worst(predict, dataset, report), worst_path)
        print(f"{', '.join(_FILES)} are in {arguments.output}")


def _ratio(network):
    """The side of the windows that a network predicts at once; None if it has no DUpsampling."""
    ratios = [layer.ratio for layer in network.layers if hasattr(layer, "projection")]
    return ratios[0] if ratios else None
