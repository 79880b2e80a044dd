"""The main job on the built-in data, in minutes: `make demo`.

    python -m training.demo [key=value ...] [--output FOLDER]

Fits W to drawn label maps, trains the DUpsampling and the bilinear decoder with the same recipe
(training/recipes/shapes.py), prints both mIoUs and multiply-adds, exports the DUpsampling model
as SavedModel and LiteRT, and draws both side by side. A demo that was stopped goes on.
"""

import argparse
import dataclasses
import pathlib

from keras_dup import export, models, pictures
from keras_dup.training import datasets, load_recipe, predictor, train_or_exit
from training.train import RAW, RUNS

RECIPE = pathlib.Path(__file__).parent / "recipes/shapes.py"
DECODERS = ("bilinear", "dupsampling")  # the last is exported


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--output", type=pathlib.Path, default=RUNS / "demo")
    arguments = parser.parse_args(arguments)
    recipe = load_recipe(RECIPE, arguments.overrides)
    output, reports, predictors = arguments.output, {}, {}
    for decoder in DECODERS:
        print(f"\n{decoder}: {recipe.steps} steps on {recipe.train_count} drawn pictures")
        one = dataclasses.replace(recipe, decoder=decoder)
        reports[decoder] = train_or_exit(one, output / decoder)
        model = models.load(output / decoder / "model.keras")
        predictors[decoder] = predictor(model)
    val_data = datasets(recipe)[1]
    print("\nexports of the DUpsampling model, compared with Keras on drawn pictures")
    images = [val_data.image(i) for i in range(4)]
    export.saved_model(model, output / "saved_model", images=images)
    export.litert(model, output / "model.tflite", input_size=recipe.crop_size, images=images)
    picture = pictures.comparison(val_data, predictors, 6, 240)
    pictures.save(picture, output / "comparison.png")
    print(summary(reports))
    print(f"\npicture: {output / 'comparison.png'}")


def summary(reports):
    """Both decoders as lines of text: mIoU and multiply-adds of the decoder and in all."""
    lines = [f"\n{'decoder':12}  {'mIoU':>8}  {'decoder':>14}  {'total':>14}  multiply-adds"]
    for decoder, report in reports.items():
        counts = report["multiply_adds"]
        lines.append(
            f"{decoder:12}  {100 * report['miou']:6.2f} %  {counts['decoder']:14,}  "
            f"{counts['total']:14,}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
