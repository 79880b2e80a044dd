"""What a stride leaves of the label maps of the photograph sets, class by class: no network in it.

    python -m research.projections.label_bounds

Brings the val label maps of the data in $KERAS_DUP_DATA down and up again: by nearest neighbour, by
averaging and bilinear interpolation, and by W of 64 channels, fitted to the label maps of train as
the paper does and with balanced classes. Measures also how much of each class's ramps W holds, see
`LabelProjection.class_ramps`. Writes research/results/label_bounds.json.
"""

import functools

import numpy as np
from tqdm import tqdm

from keras_dup import data, evaluation, projection, training
from keras_dup.training import datasets, provenance
from research.experiments.tables import RESULTS, ROOT
from research.files import write_json
from research.projections import void_rules

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
    ways = {"nearest": nearest, "bilinear": bilinear}
    ious = {way: measure(val, functools.partial(f, ratio=stride)) for way, f in ways.items()}
    ramps = {}
    for way, balance in BALANCES.items():
        shape = {"ratio": stride, "channels": CHANNELS, "class_balance": balance}
        fitted = projection.fit_counts(counts, **shape, **labels)
        ious[way] = measure(val, lambda label_map, w=fitted: w.reconstruct(w.compress(label_map)))
        ramps[way] = np.where(np.isnan(ious[way]), np.nan, fitted.class_ramps)
    return [{way: named(val, x) for way, x in rows.items()} for rows in (ious, ramps)]


def named(dataset, numbers):
    numbers = [None if np.isnan(x) else float(x) for x in numbers]
    return dict(zip(dataset.class_names, numbers, strict=True))


def measure(dataset, rebuild):
    """(K,): IoU of each class, where `rebuild` turns a label map into scores (H', W', K)."""
    confusion = 0
    for truth in tqdm(dataset.label_maps(), unit=" label maps"):
        found = rebuild(truth).argmax(-1)[: truth.shape[0], : truth.shape[1]]
        confusion = confusion + evaluation.confusion(truth, found, dataset.num_classes)
    return evaluation.ious(confusion)


def nearest(label_map, ratio):
    """Every pixel of a window gets the label of the window's centre, one-hot."""
    centres = void_rules.nearest(label_map, ratio)[ratio // 2 :: ratio, ratio // 2 :: ratio]
    ids = centres.repeat(ratio, 0).repeat(ratio, 1)
    return ids[..., None] == np.arange(256)


def bilinear(label_map, ratio):
    """The shares of the classes in each window stand at its centre and are interpolated."""
    filled = void_rules.nearest(label_map, ratio)
    classes = np.arange(filled.max() + 1)
    height, width = (side // ratio for side in filled.shape)
    windows = filled.reshape(height, ratio, width, ratio)
    shares = (windows[..., None] == classes).mean((1, 3))
    rows, columns = (_weights(count, ratio) for count in (height, width))
    return np.einsum("Hh,hwk,Ww->HWk", rows, shares, columns, optimize=True)


def _weights(count, ratio):
    """(count * ratio, count): of which windows each pixel of a row is made."""
    places = np.clip((np.arange(count * ratio) + 0.5) / ratio - 0.5, 0, count - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(count)))


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


if __name__ == "__main__":
    main()
