"""`keras-dup predict`: images -> label maps and overlays."""

import os
import sys
from pathlib import Path

from keras_dup._cli import options, outputs
from keras_dup._whole import write_picture

__all__ = ["add"]

_ENDINGS = (".png", "_overlay.png")


def add(commands):
    """Adds the command's parser."""
    predict = commands.add_parser(
        "predict",
        help="label maps and overlays of images",
        epilog=options.examples(
            "predict voc_animals photo.jpg -o out/",
            "predict run/best.keras photos/ -o out/ --window 513 --flip",
        ),
    )
    predict.set_defaults(check=options.check_inference, run=_run)
    predict.add_argument("model", help=options.MODEL)
    predict.add_argument("images", nargs="+", help="images, or folders of images")
    predict.add_argument("-o", "--output", required=True, help="folder: NAME.png, NAME_overlay.png")
    predict.add_argument(
        "--skip-done", action="store_true", help="leave out images whose label maps are there"
    )
    options.add_inference(predict)


def _run(arguments):
    from tqdm import tqdm

    options.set_limits(arguments)
    output = Path(arguments.output)
    files = _images(arguments.images, output)
    planned = outputs.plan_results(files, output, _ENDINGS, options.files_read(arguments))
    _check_present(path for _, paths in planned for path in paths)
    if arguments.skip_done:
        todo = [(file, paths) for file, paths in planned if not all(map(Path.exists, paths))]
        print(f"{len(planned) - len(todo)} of {len(planned)} images are done")
        if not todo:
            return
        planned = todo
    predict, names = options.predictor(arguments)
    output.mkdir(parents=True, exist_ok=True)
    bad = 0
    for file, paths in tqdm(planned, "predicting", unit=" images"):
        try:
            _write(predict, names, file, *paths)
        except (ValueError, OSError) as error:
            tqdm.write(f"keras-dup: {error}", file=sys.stderr)
            bad += 1
    print(f"{output}: {len(planned) - bad} label maps and overlays")
    if bad:
        raise ValueError(f"{bad} of {len(planned)} images could not be done, see above")


def _images(given, output):
    """The images to predict on, without what earlier runs wrote."""
    from keras_dup.data import _listing

    files = _listing.image_files(given)
    folders = {os.path.realpath(path) for path in given if os.path.isdir(path)}
    folders.add(os.path.realpath(output))
    results = {
        file
        for file in files
        if os.path.realpath(file.parent) in folders and outputs.is_result(file)
    }
    if results:
        print(f"{len(results)} files that keras-dup predict wrote are left out", file=sys.stderr)
    if len(results) == len(files):
        raise ValueError("all images are label maps and overlays that keras-dup predict wrote")
    return [file for file in files if file not in results]


def _check_present(paths):
    """Raises ValueError for a file at the place of a result that is none: a mask, for instance."""
    for path in paths:
        if path.exists() and not outputs.is_result(path):
            raise ValueError(f"{path} is there and is no result of predict; give another -o")


def _write(predict, names, file, label_map_path, overlay_path):
    from PIL.PngImagePlugin import PngInfo

    from keras_dup import data, pictures
    from keras_dup.data._masks import label_picture

    image = data.read_image(file)
    label_map = predict(image)
    mark = PngInfo()
    mark.add_text(*outputs.MARK)
    write_picture(label_picture(label_map), label_map_path, pnginfo=mark)
    write_picture(pictures.overlay(image, label_map, names), overlay_path, pnginfo=mark)
