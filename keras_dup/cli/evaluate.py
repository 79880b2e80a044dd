"""`keras-dup evaluate`: a model and labelled pictures -> IoU."""

from pathlib import Path

from keras_dup.cli import options
from keras_dup.whole import write_json


def add(commands):
    evaluate = commands.add_parser("evaluate", help="IoU of a model on images and masks")
    evaluate.set_defaults(run=_run)
    evaluate.add_argument("model", help=options.MODEL)
    options.add_labelled(evaluate)
    evaluate.add_argument("-o", "--output", help="folder: report.json, confusion.png, worst.png")
    options.add_inference(evaluate)


def _run(arguments):
    from keras_dup import evaluation, pictures

    predict, names = options.predictor(arguments)
    dataset = options.labelled(arguments, names)
    if dataset is None:
        raise ValueError("evaluate: --images and --masks, or --data-set")
    report = evaluation.evaluate(predict, dataset, trimap_widths=(2, 4, 8, 16), boundary=True)
    print(evaluation.table(report))
    if arguments.output:
        output = Path(arguments.output)
        output.mkdir(parents=True, exist_ok=True)
        write_json(report, output / "report.json")
        pictures.save(pictures.confusion(report["confusion"], names), output / "confusion.png")
        pictures.save(pictures.worst(predict, dataset, report), output / "worst.png")
        print(f"report.json, confusion.png and worst.png are in {output}")
