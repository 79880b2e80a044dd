"""What a stride leaves of the label maps of the photograph sets, class by class: no network in it.

    python -m research.projections.label_bounds

Brings the val label maps of the data in $KERAS_DUP_DATA down and up again: by nearest neighbour, by
averaging and bilinear interpolation, and by W of 64 channels, fitted to the label maps of train as
the paper does and with balanced classes. Measures also how much of each class's ramps W holds, see
`LabelProjection.class_ramps`. Writes research/results/label_bounds.json.
"""

import numpy as np

from keras_dup import data, evaluation, projection, training
from keras_dup.projection import report
from keras_dup.training import datasets, provenance
from keras_dup.whole import write_json
from research.experiments.tables import RESULTS, ROOT

RECIPES = {
    "CamVid": "camvid_efficientnet_lite0",
    "animals of PASCAL VOC": "voc_animals_efficientnet_lite0",
}
STRIDES = (32, 16)
CHANNELS = 64
BALANCES = {f"W, {CHANNELS} channels": 0, f"W, {CHANNELS} channels, classes balanced": 0.25}


def bounds(train, val, stride):
    """{way of upsampling: {class: IoU}} and {W: {class: ramps}}; None where val has no pixel."""
    labels = {"num_classes": train.num_classes, "ignore_class": data.VOID, "verbose": True}
    counts = projection.count_windows(train.label_maps(), ratio=stride, **labels)
    val_maps, ways, ramps = list(val.label_maps()), {}, {}
    for way, balance in BALANCES.items():
        shape = {"ratio": stride, "channels": CHANNELS, "class_balance": balance}
        fitted = projection.fit_counts(counts, **shape, **labels)
        measured = report.measure(fitted, val_maps, verbose=True)
        ious = measured.ious[-1]
        ways = {**measured.resampled, **ways, way: ious}
        ramps[way] = np.where(np.isnan(ious), np.nan, fitted.class_ramps)
    names = val.class_names
    return [{way: evaluation.named(x, names) for way, x in rows.items()} for rows in (ways, ramps)]


def main():
    rows, ramps = {}, {}
    for name, recipe in RECIPES.items():
        splits = datasets(training.load_recipe(ROOT / f"training/recipes/{recipe}.py"))
        for stride in STRIDES:
            for table, found in zip((rows, ramps), bounds(*splits, stride), strict=True):
                table |= {f"{name}, stride {stride}, {way}": x for way, x in found.items()}
    path = RESULTS / "label_bounds.json"
    command = "python -m research.projections.label_bounds"
    write_json({"command": command, "rows": rows, "ramps": ramps, "run": provenance()}, path)
    print(path)


if __name__ == "__main__":
    main()
