"""How the networks of a table of experiments do at one class, on val and on train.

    python -m training.one_class camvid_long bicyclist --seeds 0 1

Takes the runs of `python -m training.experiments`, whose models lie in training/runs/. Recall,
precision, IoU and mean -log p of the pixels of that class, mean -log p of all pixels, and the IoU
with a number added to the scores of the class, which tells a class that is held for too rare from
one that is not recognised. Val whole, every fourth picture of train. Writes
training/results/TABLE/class_NAME.json, which training/RESULTS.md shows.
"""

import argparse

import numpy as np

from keras_dup import data, evaluation, inference, models, training
from keras_dup.training.recipe import datasets
from keras_dup.training.run import provenance
from keras_dup.whole import write_json
from training.experiments import HERE, RESULTS, TABLES, command, finished_run

ADDED = (0, 0.5, 1, 1.5, 2, 3)


def measure(network, pictures, indices, k):
    """{what: number} of class k."""
    losses = {True: [], False: []}  # of its pixels, of the others
    confusions = dict.fromkeys(ADDED, 0)
    for i in indices:
        scores = inference.probabilities(network, pictures.image(i)).astype("float64")
        scores, labels = np.log(scores + 1e-12), pictures.label_map(i)
        valid = labels != data.VOID
        picked = np.where(valid, labels, 0)[..., None].astype(int)
        loss = -np.take_along_axis(scores, picked, -1)[..., 0]
        losses[True].append(loss[valid & (labels == k)])
        losses[False].append(loss[valid & (labels != k)])
        for added in ADDED:
            found = (scores + added * np.eye(pictures.num_classes)[k]).argmax(-1)
            counts = evaluation.confusion(labels, found, pictures.num_classes)
            confusions[added] = confusions[added] + counts
    own, others = (np.concatenate(values) for values in losses.values())
    plain = confusions[0]
    ious = [evaluation.ious(counts) for counts in confusions.values()]
    return {
        "share": len(own) / (len(own) + len(others)),
        "recall": plain[k, k] / plain[k].sum(),
        "precision": plain[k, k] / max(1, plain[:, k].sum()),
        "loss": own.mean(),
        "loss_of_all": np.concatenate([own, others]).mean(),
        "iou": [iou[k] for iou in ious],
        "miou": [np.nanmean(iou) for iou in ious],
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("class_name")
    parser.add_argument("--rows", nargs="+", default=["bilinear32", "stride32"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args(arguments)
    _, _, _, recipe, *overrides = command(arguments.table, arguments.rows[0], 0)
    train, val = datasets(training.load(HERE.parent / recipe, overrides))
    names = list(val.class_names)
    if arguments.class_name not in names:
        parser.error(f"no class {arguments.class_name}; it is one of {', '.join(names)}")
    k = names.index(arguments.class_name)
    splits = {"val": (val, range(len(val))), "train": (train, range(0, len(train), 4))}
    found = []
    for row in arguments.rows:
        for seed in arguments.seeds:
            network = models.load(finished_run(arguments.table, row, seed) / "model.keras")
            for split, (pictures, indices) in splits.items():
                numbers = measure(network, pictures, indices, k)
                found.append({"row": row, "seed": seed, "split": split, **numbers})
                numbers = f"recall {numbers['recall']:.3f}, IoU {numbers['iou'][0]:.3f}"
                print(f"{row}, seed {seed}, {split}: {numbers}", flush=True)
    seeds = " ".join(map(str, arguments.seeds))
    words = f"python -m training.one_class {arguments.table} {arguments.class_name} --rows "
    words += f"{' '.join(arguments.rows)} --seeds {seeds}"
    path = RESULTS / arguments.table / f"class_{arguments.class_name}.json"
    result = {"command": words, "class": arguments.class_name, "added": ADDED, "rows": found}
    write_json({**result, "run": provenance()}, path)
    print(path)


if __name__ == "__main__":
    main()
