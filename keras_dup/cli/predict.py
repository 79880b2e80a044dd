"""`keras-dup predict`: pictures -> label maps and overlays."""

import sys
from pathlib import Path

from keras_dup.cli import options


def add(commands):
    predict = commands.add_parser("predict", help="label maps and overlays of pictures")
    predict.set_defaults(run=_run)
    predict.add_argument("model", help=options.MODEL)
    predict.add_argument("images", nargs="+", help="pictures, or folders of pictures")
    predict.add_argument("-o", "--output", required=True, help="folder: NAME.png, NAME_overlay.png")
    options.add_inference(predict)


def _run(arguments):
    from tqdm import tqdm

    from keras_dup import data, pictures

    files = data.image_files(arguments.images)
    predict, names = options.predictor(arguments)
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
