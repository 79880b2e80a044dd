"""Whether networks of a table of experiments differ by more than the choice of the images.

    python -m research.probes.bootstrap animals_stride bilinear32_2 interpolated32_fixed_2
    python -m research.probes.bootstrap animals_half bilinear32_0 interpolated32_fixed_0 --on unseen

Takes finished runs, written ROW_SEED. All others are compared with the first one. A row with
several seeds is also compared by its mean, with the mean over the seeds of the first row. The
images of val are drawn 2000 times with replacement, the same draw for all networks (the paired
bootstrap, Efron 1979); a class that a draw lacks is left out of its means. `--on train` measures on
the images that the networks were trained on, `--on unseen` on val and the images that `train_share`
left out of train. Writes research/results/TABLE/bootstrap.json (bootstrap_train.json,
bootstrap_unseen.json): the differences of mIoU and of each class's IoU, the bounds of 95 % of the
draws, and in how many images each class occurs. The bounds hold the chance of the images alone:
another training adds its own, and frames of one film are more alike than such draws suppose.
"""

import argparse
import dataclasses
import shlex
import warnings

import numpy as np
from tqdm import tqdm

from keras_dup import evaluation, models
from keras_dup.training import datasets, predictor, provenance
from research.experiments import tables
from research.experiments.runs import finished_run, recipe_of
from research.files import write_json

DRAWS = 2000
BOUNDS = 2.5, 97.5  # percentiles


def measured_on(recipe, on):
    """[(data set, index of an image)] of "val", of "train" or of all that were "unseen"."""
    train, val = datasets(recipe)
    if on == "train":
        return [(train, i) for i in range(len(train))]
    chosen = [(val, i) for i in range(len(val))]
    if on == "unseen":
        if recipe.train_share == 1:
            raise SystemExit(f"{recipe.name} is trained on all of train; see train_share")
        whole, _ = datasets(dataclasses.replace(recipe, train_share=1.0))
        seen = set(train.image_files)
        chosen += [(whole, i) for i, file in enumerate(whole.image_files) if file not in seen]
    return chosen


def confusions(predict, chosen):
    """(n, K, K): `evaluation.confusion` of each image of `measured_on`."""
    return np.array(
        [
            evaluation.confusion(data.label_map(i), predict(data.image(i)), data.num_classes)
            for data, i in tqdm(chosen, unit=" images")
        ]
    )


def draw(length, seed=0):
    """(1 + DRAWS, length): how often each image is drawn; the first row is once each."""
    rng = np.random.default_rng(seed)
    return np.vstack([np.ones((1, length)), rng.multinomial(length, [1 / length] * length, DRAWS)])


def scores(counts, taken, frequent):
    """(1 + DRAWS, 3 + K) by what was taken: mIoU, pixel accuracy, `frequent`, IoU or NaN."""
    totals = np.tensordot(taken, counts, 1)
    found = np.array([evaluation.ious(total) for total in totals])
    accuracies = np.trace(totals, axis1=1, axis2=2) / totals.sum((1, 2))
    miou, of_frequent = (np.nanmean(several, axis=1) for several in (found, found[:, frequent]))
    return np.column_stack([miou, accuracies, of_frequent, found])


def differences(ours, theirs):
    """[(difference, low, high)] of the columns of `scores`, None where one never has the class."""
    both = ours - theirs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns that are all NaN
        bounds = np.nanpercentile(both, BOUNDS, axis=0)
    return [
        None if np.isnan(first) else (float(first), float(low), float(high))
        for first, low, high in zip(both[0], *bounds, strict=True)
    ]


def compared(row, seeds, ours, theirs):
    """A line: `scores` as they are, and their `differences` from those of the first."""
    found = [None if np.isnan(x) else float(x) for x in ours[0]]
    return {"row": row, "seeds": seeds, "scores": found, "differences": differences(ours, theirs)}


def means(found):
    """The `compared` means over the seeds of each row, where {(row, seed): scores} has several."""
    seeds = {}
    for row, seed in found:
        seeds.setdefault(row, []).append(seed)
    if len(seeds) == len(found):
        return []
    of_row = {row: np.mean([found[row, seed] for seed in seeds[row]], axis=0) for row in seeds}
    first = next(iter(seeds))
    return [compared(row, seeds[row], of_row[row], of_row[first]) for row in seeds]


def occurrences(label_maps, num_classes):
    """[in how many label maps each class occurs]."""
    present = [np.bincount(y.ravel(), minlength=256) > 0 for y in label_maps]
    return np.sum(present, axis=0)[:num_classes].tolist()


def row_and_seed(text):
    """ "ROW_SEED" -> (row, seed)."""
    row, _, seed = text.rpartition("_")
    if not row or not seed.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not ROW_SEED, such as bilinear32_0")
    return row, int(seed)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=tables.TABLES)
    parser.add_argument("runs", nargs="+", type=row_and_seed, help="ROW_SEED, as their folders")
    parser.add_argument("--on", choices=("val", "train", "unseen"), default="val")
    arguments = parser.parse_args(arguments)
    table, runs, on = arguments.table, arguments.runs, arguments.on
    paths = [finished_run(table, *run) / "model.keras" for run in runs]
    recipe = recipe_of(table, runs[0][0])
    train, val = datasets(recipe)
    frequent = [val.class_names.index(x) for x in tables.TABLES[table].subset or val.class_names]
    chosen, found, rows = measured_on(recipe, on), {}, []
    taken = draw(len(chosen))
    for (row, seed), path in zip(runs, paths, strict=True):
        found[row, seed] = scores(confusions(predictor(models.load(path)), chosen), taken, frequent)
        rows.append(compared(row, [seed], found[row, seed], found[runs[0]]))
        print(
            row,
            seed,
            f"{100 * rows[-1]['scores'][0]:.2f} %",
            rows[-1]["differences"][0],
            flush=True,
        )
    words = ["python", "-m", "research.probes.bootstrap", table]
    words += [f"{row}_{seed}" for row, seed in runs]
    words += ["--on", on] if on != "val" else []
    label_maps = {"train": train.label_maps(), on: (data.label_map(i) for data, i in chosen)}
    result = {
        "command": shlex.join(words),
        "draws": DRAWS,
        "on": on,
        "rows": rows + means(found),
        "class_names": list(val.class_names),
        "pictures": {x: occurrences(maps, val.num_classes) for x, maps in label_maps.items()},
        "run": provenance(),
    }
    path = tables.RESULTS / table / ("bootstrap.json" if on == "val" else f"bootstrap_{on}.json")
    write_json(result, path)


if __name__ == "__main__":
    main()
