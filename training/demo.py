"""The main job on the built-in data, in minutes: `make demo`.

    python -m training.demo [key=value ...] [--output FOLDER]

Fits W to drawn label maps and trains three decoders with one recipe (training/recipes/shapes.py),
at equal steps: DeepLabv3+'s, "bilinear"; the package's default, "thin"; and DUpsampling with its
fusion at stride 4. Prints mIoU, multiply-adds and time of each, exports the DUpsampling model as
SavedModel and LiteRT, and draws them side by side. A demo that was stopped goes on.
"""

import argparse
import dataclasses
import pathlib
import statistics
import time

from keras_dup import export, models, pictures
from keras_dup.training import Recipe, datasets, load_recipe, predictor, train_or_exit
from training.train import RAW, RUNS

RECIPE = pathlib.Path(__file__).parent / "recipes/shapes.py"
# as `build` has them: those of the recipe are of its DUpsampling
PLAIN = {"channels": Recipe.channels, "low_level_channels": 0, "downsample": "subsample"}
DECODERS = {  # the last is exported
    "bilinear": PLAIN,
    "thin": PLAIN,
    "dupsampling": {
        "ratio": 4,
        "fusion_stride": 4,
        "channels": 24,
        "fusion_channels": 64,
        "low_level_channels": 32,
        "context_channels": 32,
        "coarse_scores": True,
        "downsample": "subsample",
    },
}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--output", type=pathlib.Path, default=RUNS / "demo")
    arguments = parser.parse_args(arguments)
    recipe = load_recipe(RECIPE, arguments.overrides)
    output, reports, predictors = arguments.output, {}, {}
    for decoder, fields in DECODERS.items():
        print(f"\n{decoder}: {recipe.steps} steps on {recipe.train_count} drawn images")
        one = dataclasses.replace(recipe, decoder=decoder, **fields)
        reports[decoder] = train_or_exit(one, output / decoder)
        model = models.load(output / decoder / "model.keras")
        predictors[decoder] = predictor(model)
    val_data = datasets(recipe)[1]
    print("\nexports of the DUpsampling model, compared with Keras on drawn images")
    images = [val_data.image(i) for i in range(4)]
    export.saved_model(model, output / "saved_model", images=images)
    export.litert(model, output / "model.tflite", input_size=recipe.crop_size, images=images)
    picture = pictures.comparison(val_data, predictors, 6, 240)
    picture.save(output / "comparison.png")
    times = {decoder: milliseconds(predict, images) for decoder, predict in predictors.items()}
    print(summary(reports, times))
    print(f"\npicture: {output / 'comparison.png'}")


def milliseconds(predict, images):
    """The median time of a prediction."""
    found = []
    for image in [images[0], *images * 5]:
        start = time.perf_counter()
        predict(image)
        found.append(1000 * (time.perf_counter() - start))
    return statistics.median(found[1:])  # the first is also the tracing


def summary(reports, times):
    """The decoders as lines of text: mIoU, multiply-adds of the decoder and in all, and time."""
    lines = [
        f"\n{'':12}  {'':>8}  {'multiply-adds':>30}  {'time':>9}",
        f"{'decoder':12}  {'mIoU':>8}  {'decoder':>14}  {'total':>14}  {'per image':>9}",
    ]
    for decoder, report in reports.items():
        counts = report["multiply_adds"]
        lines.append(
            f"{decoder:12}  {100 * report['miou']:6.2f} %  {counts['decoder']:14,}  "
            f"{counts['total']:14,}  {times[decoder]:6.1f} ms"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
