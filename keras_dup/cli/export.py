"""`keras-dup export`: a model -> files for servers and phones."""

from pathlib import Path

from keras_dup.cli import options
from keras_dup.whole import write_json

_CALIBRATION = 128


def add(commands):
    export = commands.add_parser("export", help="files for servers and phones, each checked")
    export.set_defaults(run=_run)
    export.add_argument("model", help=options.MODEL)
    export.add_argument("-o", "--output", required=True, help="folder for the files")
    export.add_argument("--formats", nargs="+", help="all by default", metavar="FORMAT")
    size = {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH"), "default": (513, 513)}
    export.add_argument("--input-size", **size, help="of LiteRT files; 513 513 by default")
    options.add_labelled(export)  # to measure on
    options.add_limits(export)
    export.add_argument("--calibration", nargs="+", help="pictures or folders, for int8")
    export.add_argument("--class-names", help="text file with a name a line")


def _outputs(folder, formats):
    """The files that the command writes, but for those in the folders of SavedModels."""
    names = {name: f"{name}.tflite" for name in formats if name.startswith("litert")}
    names |= {"onnx": "model.onnx"} if "onnx" in formats else {}
    reports = [f"{name}.report.json" for name in names.values()]
    return [folder / name for name in (*names.values(), *reports, "measured.json")]


def _run(arguments):
    from keras_dup import data
    from keras_dup.export import measure

    options.set_limits(arguments)
    formats = arguments.formats or measure.FORMATS
    measure.check(formats)
    model, names = options.model(arguments)
    size, dataset = tuple(arguments.input_size), options.labelled(arguments, names)
    calibration, files = None, []
    if arguments.calibration:
        files = data.image_files(arguments.calibration)
    options.plan(arguments, _outputs(Path(arguments.output), formats), dataset, files)
    if files:
        calibration = [data.read_image(file) for file in files[:: -(-len(files) // _CALIBRATION)]]
    images = dataset and [dataset.image(i) for i in range(min(len(dataset), 8))]
    reports = measure.export_all(model, arguments.output, formats, size, names, calibration, images)
    if dataset:
        rows = measure.measure(model, reports, dataset, size)
        print(measure.table(rows))
        write_json(rows, Path(arguments.output) / "measured.json")
