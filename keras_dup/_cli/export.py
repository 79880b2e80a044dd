"""`keras-dup export`: a model -> files for servers and phones."""

import sys
from pathlib import Path

from keras_dup import presets
from keras_dup._cli import options
from keras_dup._whole import write_json

__all__ = ["add"]

_CALIBRATION = 128  # images at most
_LONGEST_LINE = 300  # characters of an error


def add(commands):
    """Adds the command's parser."""
    export = commands.add_parser(
        "export",
        help="files for servers and phones, each checked",
        description="Writes SavedModel, LiteRT and ONNX files; each is compared with the model.",
        epilog=options.examples(
            "export run/best.keras -o exported/ --formats saved_model litert",
            "export run/best.keras -o exported/ --calibration images/ --images images/ "
            "--masks masks/",
        ),
    )
    export.set_defaults(check=lambda given: presets.check_model(given.model), run=_run)
    export.add_argument("model", help=options.MODEL)
    export.add_argument("-o", "--output", required=True, help="folder for the files")
    formats = (
        "of saved_model, saved_model_bfloat16, litert, litert_float16, litert_dynamic, "
        "litert_int8, onnx; by default all whose extras are installed"
    )
    export.add_argument("--formats", nargs="+", help=formats, metavar="FORMAT")
    size = {"type": int, "nargs": 2, "metavar": ("HEIGHT", "WIDTH"), "default": (513, 513)}
    export.add_argument(
        "--input-size", **size, help="of the images for LiteRT files; default 513 513"
    )
    options.add_labelled(export)  # to measure on
    options.add_limits(export)
    export.add_argument("--calibration", nargs="+", help="for int8: 100 images, or their folder")
    export.add_argument("--class-names", help="text file with one name per line")


def _outputs(folder, formats):
    """The files that the command writes, but for those in the folders of SavedModels."""
    names = {name: f"{name}.tflite" for name in formats if name.startswith("litert")}
    names |= {"onnx": "model.onnx"} if "onnx" in formats else {}
    reports = [f"{name}.report.json" for name in names.values()]
    return [folder / name for name in (*names.values(), *reports, "measured.json")]


def _run(arguments):
    from keras_dup._backend import need_backend

    need_backend("export", "tensorflow")
    from keras_dup import data
    from keras_dup.data import _listing
    from keras_dup.export import _measure

    options.set_limits(arguments)
    formats = _formats(arguments.formats, _measure)
    model, names = options.model(arguments)
    size, dataset = tuple(arguments.input_size), options.labelled(arguments, names)
    calibration, files = None, []
    if arguments.calibration:
        files = _listing.image_files(arguments.calibration)
    options.plan(arguments, _outputs(Path(arguments.output), formats), dataset, files)
    if files:
        calibration = [data.read_image(file) for file in files[:: -(-len(files) // _CALIBRATION)]]
    images = dataset and [dataset.image(i) for i in range(min(len(dataset), 8))]
    failed = []

    def on_error(name, error):
        failed.append(name)
        line = _one_line(error).removeprefix(f"{name}: ")
        print(f"keras-dup: {name}: {line}", file=sys.stderr)

    given = names, calibration, images, on_error
    reports = _measure.export_all(model, arguments.output, formats, size, *given)
    if dataset and reports:
        rows = _measure.measure(model, reports, dataset, size)
        print(_measure.table(rows))
        write_json(rows, Path(arguments.output) / "measured.json")
    if failed:
        raise ValueError(f"{len(failed)} of {len(formats)} formats were not written, see above")


def _formats(asked, measure):
    """The formats to write; without --formats those whose extras are installed.

    Raises ValueError for an unknown format, or one that was asked for and needs an extra.
    """
    formats = asked or measure.FORMATS
    measure.check(formats)
    missing = measure.missing(formats)
    lines = [f"{', '.join(names)} left out: {extra}" for extra, names in missing.items()]
    if lines and asked:
        raise ValueError("; ".join(missing))
    for line in lines:
        options.warn(line)
    absent = {name for names in missing.values() for name in names}
    return [name for name in formats if name not in absent]


def _one_line(error):
    """The first line of an error, with its kind unless it speaks for itself."""
    first = (str(error).strip() or "no message").splitlines()[0]
    first = first if len(first) <= _LONGEST_LINE else f"{first[:_LONGEST_LINE]} ..."
    plain = isinstance(error, (OSError, RuntimeError, ValueError))
    return first if plain else f"{type(error).__name__}: {first}"
