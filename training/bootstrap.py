"""Whether networks of a table of experiments differ by more than the choice of val's pictures.

    python -m training.bootstrap animals_stride bilinear32_2 interpolated32_fixed_2

Takes runs, ROW_SEED, of `python -m training.experiments`, whose models lie in training/runs/: the
first is what the others are compared with. Val is drawn anew from its own pictures 2000 times, with
replacement, for all networks alike (the paired bootstrap, Efron 1979); a class that a draw lacks is
left out of its means. Writes
training/results/TABLE/bootstrap.json, which training/RESULTS.md shows: by how much mIoU and the IoU
of each class differ, between which bounds in 95 % of the draws, and in how many pictures each class
occurs. That is the chance of the pictures alone: training anew adds its own, and pictures of one
film are more alike than such draws suppose.
"""

import argparse
import shlex
import warnings

import numpy as np
from tqdm import tqdm

from keras_dup import evaluation, models
from keras_dup.training.callbacks import predictor
from keras_dup.training.recipe import datasets
from keras_dup.training.run import provenance
from keras_dup.whole import write_json
from training.experiments import RESULTS, TABLES, finished_run, recipe_of

DRAWS = 2000
BOUNDS = 2.5, 97.5  # percentiles


def confusions(predict, pictures):
    """(n, K, K): `evaluation.confusion` of each picture."""
    return np.array(
        [
            evaluation.confusion(
                pictures.label_map(i), predict(pictures.image(i)), pictures.num_classes
            )
            for i in tqdm(range(len(pictures)), unit=" images")
        ]
    )


def draw(length, seed=0):
    """(1 + DRAWS, length): how often each picture is taken; once each at first, then at random."""
    rng = np.random.default_rng(seed)
    return np.vstack([np.ones((1, length)), rng.multinomial(length, [1 / length] * length, DRAWS)])


def ious(counts, taken, frequent):
    """(1 + DRAWS, 2 + K) by what was taken: mIoU, the mean of `frequent`, IoU, or NaN."""
    totals = np.tensordot(taken, counts, 1)
    found = np.array([evaluation.ious(total) for total in totals])
    means = [np.nanmean(several, axis=1) for several in (found, found[:, frequent])]
    return np.column_stack([*means, found])


def differences(ours, theirs):
    """[(difference, low, high)] of the columns of `ious`, None where one never has the class."""
    both = ours - theirs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns that are all NaN
        bounds = np.nanpercentile(both, BOUNDS, axis=0)
    return [
        None if np.isnan(first) else (float(first), float(low), float(high))
        for first, low, high in zip(both[0], *bounds, strict=True)
    ]


def occurrences(pictures):
    """[in how many pictures each class occurs]."""
    present = [np.bincount(y.ravel(), minlength=256) > 0 for y in pictures.label_maps()]
    return np.sum(present, axis=0)[: pictures.num_classes].tolist()


def row_and_seed(text):
    """ "ROW_SEED" -> (row, seed)."""
    row, _, seed = text.rpartition("_")
    if not row or not seed.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not ROW_SEED, such as bilinear32_0")
    return row, int(seed)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("runs", nargs="+", type=row_and_seed, help="ROW_SEED, as their folders")
    arguments = parser.parse_args(arguments)
    runs = arguments.runs
    paths = [finished_run(arguments.table, *run) / "model.keras" for run in runs]
    train, val = datasets(recipe_of(arguments.table, runs[0][0]))
    names = TABLES[arguments.table].subset or val.class_names
    frequent = [val.class_names.index(name) for name in names]
    taken, first, rows = draw(len(val)), None, []
    for (row, seed), path in zip(runs, paths, strict=True):
        found = ious(confusions(predictor(models.load(path)), val), taken, frequent)
        first = found if first is None else first
        rows.append({"row": row, "seed": seed, "differences": differences(found, first)})
        print(row, seed, f"{100 * found[0, 0]:.2f} %", rows[-1]["differences"][0], flush=True)
    words = ["python", "-m", "training.bootstrap", arguments.table]
    words += [f"{row}_{seed}" for row, seed in runs]
    result = {"command": shlex.join(words), "draws": DRAWS, "rows": rows}
    result["class_names"] = list(val.class_names)
    result["pictures"] = {"train": occurrences(train), "val": occurrences(val)}
    path = RESULTS / arguments.table / "bootstrap.json"
    write_json({**result, "run": provenance()}, path)
    print(path)


if __name__ == "__main__":
    main()
