"""Networks of a table of experiments when the frequency of the classes in train is taken out.

    python -m research.probes.class_priors camvid_long --rows bilinear32 stride32 --seeds 0 1

A network learns how frequent its classes are in train; where val has other frequencies, that
costs. Divides the probabilities of finished runs by the shares of the classes in train to the power
of tau, then takes the largest ("logit adjustment", Menon et al. 2021). tau 0 is the network as it
is, tau 1 takes all classes for equally frequent. Writes research/results/TABLE/priors.json.
"""

import numpy as np
from tqdm import tqdm

from keras_dup import evaluation, models
from keras_dup.training import datasets, provenance
from research.experiments import tables
from research.experiments.runs import finished_run, parse, recipe_of
from research.files import write_json
from research.probes.one_class import shares

TAUS = (0.0, 0.25, 0.5, 0.75, 1.0)


def measure(model, dataset, priors):
    """[{"tau", "miou", "pixel_accuracy"}] of a model, one per tau."""
    confusions, absent = [0] * len(TAUS), priors == 0
    logs = np.log(np.where(absent, 1, priors)).astype("float32")
    for i in tqdm(range(len(dataset)), unit="images"):
        image, labels = dataset.image(i)[None].astype("float32"), dataset.label_map(i)
        scores = np.log(np.maximum(model.predict_on_batch(image)[0], 1e-30))
        scores[..., absent] = -np.inf
        for j, tau in enumerate(TAUS):
            found = np.argmax(scores - tau * logs, axis=-1)
            confusions[j] = confusions[j] + evaluation.confusion(labels, found, len(priors))
    return [
        {
            "tau": tau,
            "miou": float(np.nanmean(evaluation.ious(confusion))),
            "pixel_accuracy": float(np.trace(confusion) / confusion.sum()),
        }
        for tau, confusion in zip(TAUS, confusions, strict=True)
    ]


def main(arguments=None):
    arguments, command = parse(__doc__, "class_priors", arguments)
    train, val = datasets(recipe_of(arguments.table, arguments.rows[0]))
    priors = shares(train)
    found = []
    for row in arguments.rows:
        for seed in arguments.seeds:
            run = finished_run(arguments.table, row, seed)
            taus = measure(models.load(run / "model.keras"), val, priors)
            found.append({"row": row, "seed": seed, "taus": taus})
            print(row, seed, *(f"{100 * numbers['miou']:.2f} %" for numbers in taus), flush=True)
    result = {"command": command, "class_names": list(train.class_names)}
    result["shares"] = {"train": priors.tolist(), "val": shares(val).tolist()}
    path = tables.RESULTS / arguments.table / "priors.json"
    write_json({**result, "rows": found, "run": provenance()}, path)


if __name__ == "__main__":
    main()
