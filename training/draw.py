"""Pictures to look at: image, truth, prediction and difference side by side."""

import csv
import pathlib

import numpy as np

from keras_dup.pictures import colours, difference, grid, save


def comparison(predictors, dataset, path, count=6):
    """Draws image and truth, then what each of {title: predictor} gives and where it is wrong.

    `count` images, evenly spread over the data set. Wrong pixels are red, void ones white; a
    legend of the classes is below.
    """
    rows = []
    for i in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).astype(int):
        image, truth = dataset.image(i), dataset.label_map(i)
        row = [image, colours(truth)]
        for function in predictors.values():
            label_map = function(image)
            row += [colours(label_map), difference(truth, label_map)]
        rows.append(row)
    titles = ["image", "truth"]
    for title in predictors:
        titles += [title, f"{title}: wrong"]
    save(grid(rows, titles, dataset.class_names), path)


def curves(log, path):
    """Draws loss and mIoU over the epochs of a log.csv, of training, and of validation if there."""
    import matplotlib.figure

    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure = matplotlib.figure.Figure(figsize=(9, 3.5), layout="constrained")
    for axes, key in zip(figure.subplots(1, 2), ("loss", "miou"), strict=True):
        for name, label in ((key, "training"), (f"val_{key}", "validation")):
            if name in rows[0]:
                axes.plot(epochs, [float(row[name]) for row in rows], marker=".", label=label)
        axes.set(xlabel="epoch", ylabel="mIoU" if key == "miou" else key)
        axes.grid(alpha=0.3)
        axes.legend()
    path = pathlib.Path(path)
    figure.savefig(path.with_name(f"part.{path.name}"), dpi=110)
    path.with_name(f"part.{path.name}").replace(path)
