"""What a stride leaves of the label maps of the photograph sets, class by class: no network in it.

    python -m training.label_bounds

The val label maps of the data in $KERAS_DUP_DATA, brought down and up again by nearest neighbour,
by averaging and bilinear interpolation, and by W of 64 channels, fitted to those of train, as the
paper has it and with balanced classes. Writes training/results/label_bounds.json, of which
`python -m training.results` makes a table.
"""

from keras_dup import data, evaluation, projection, training
from keras_dup.projection import report
from keras_dup.training.recipe import datasets
from keras_dup.training.run import provenance
from keras_dup.whole import write_json
from training.experiments import HERE, RESULTS

RECIPES = {
    "CamVid": "camvid_efficientnet_lite0",
    "animals of PASCAL VOC": "voc_animals_efficientnet_lite0",
}
STRIDES = (32, 16)
CHANNELS = 64
BALANCES = {f"W, {CHANNELS} channels": 0, f"W, {CHANNELS} channels, classes balanced": 0.25}


def bounds(train, val, stride):
    """{way of upsampling: {class: IoU, None where val has no pixel of it}}."""
    labels = {"num_classes": train.num_classes, "ignore_class": data.VOID, "verbose": True}
    counts = projection.count_windows(train.label_maps(), ratio=stride, **labels)
    val_maps, ways = list(val.label_maps()), {}
    for way, balance in BALANCES.items():
        shape = {"ratio": stride, "channels": CHANNELS, "class_balance": balance}
        fitted = projection.fit_counts(counts, **shape, **labels)
        measured = report.measure(fitted, val_maps, verbose=True)
        ways = {**measured.resampled, **ways, way: measured.ious[-1]}
    return {way: evaluation.named(ious, val.class_names) for way, ious in ways.items()}


def main():
    rows = {}
    for name, recipe in RECIPES.items():
        splits = datasets(training.load(HERE / f"recipes/{recipe}.py"))
        for stride in STRIDES:
            for way, iou in bounds(*splits, stride).items():
                rows[f"{name}, stride {stride}, {way}"] = iou
    path = RESULTS / "label_bounds.json"
    command = "python -m training.label_bounds"
    write_json({"command": command, "rows": rows, "run": provenance()}, path)
    print(path)


if __name__ == "__main__":
    main()
