"""What is left of the ImageNet features of the encoder once the networks of a table are trained.

    python -m research.probes.features animals_stride --rows bilinear32 stride32 --seeds 0

Fits a linear map (ridge regression) from the mean of the encoder's last feature over an image to
the shares of the classes in it, on 400 images of train. Its R2 on val tells how much the feature
knows of what an image shows. The first line is the encoder before the training. Writes
research/results/TABLE/probe.json.
"""

import keras
import numpy as np
from tqdm import tqdm

from keras_dup import models
from keras_dup.training import datasets, provenance
from research.experiments import tables
from research.experiments.runs import finished_run, parse, recipe_of
from research.files import write_json

TRAIN = 400  # images
RIDGE = 100.0  # of features of variance 1


def measure(model, train, val):
    """R2 on val, over all classes."""
    feature = model.get_layer("aspp_mean").input
    mean = keras.Model(model.input, keras.ops.mean(feature, (1, 2)))
    x, y = pairs(mean, train, range(0, len(train), max(1, len(train) // TRAIN))[:TRAIN])
    x_val, y_val = pairs(mean, val, range(len(val)))
    centre, scale, usual = x.mean(0), x.std(0) + 1e-3, y.mean(0)
    x, x_val = (x - centre) / scale, (x_val - centre) / scale
    matrix = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (y - usual))
    rest = y_val - usual - x_val @ matrix
    return float(1 - np.square(rest).sum() / np.square(y_val - y_val.mean(0)).sum())


def pairs(mean, dataset, chosen):
    """(n, channels) mean features and (n, classes) shares of the images `chosen`, by index."""
    features, shares = [], []
    for i in tqdm(chosen, unit=" images"):
        features.append(mean.predict_on_batch(dataset.image(i)[None].astype("float32"))[0])
        counts = np.bincount(dataset.label_map(i).ravel(), minlength=256)[: dataset.num_classes]
        shares.append(counts / max(1, counts.sum()))
    return np.array(features, np.float64), np.array(shares)


def main(arguments=None):
    arguments, command = parse(__doc__, "features", arguments)
    recipe = recipe_of(arguments.table, arguments.rows[0])
    train, val = datasets(recipe)
    encoder = models.build(
        recipe.backbone,
        recipe.num_classes,
        recipe.output_stride,
        low_level_features=(),
        decoder="bilinear",
        weights=recipe.weights or None,
    )
    found = [{"row": None, "seed": None, "r2": measure(encoder, train, val)}]
    print(f"before: {found[0]['r2']:.3f}", flush=True)
    for row in arguments.rows:
        for seed in arguments.seeds:
            model = models.load(finished_run(arguments.table, row, seed) / "model.keras")
            found.append({"row": row, "seed": seed, "r2": measure(model, train, val)})
            print(f"{row} {seed}: {found[-1]['r2']:.3f}", flush=True)
    path = tables.RESULTS / arguments.table / "probe.json"
    write_json({"command": command, "rows": found, "run": provenance()}, path)


if __name__ == "__main__":
    main()
