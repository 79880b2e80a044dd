"""Pictures to look at: image, truth, prediction and difference side by side."""

import csv
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from keras_dup import data
from keras_dup.pictures import colours, legend, save

RIGHT, WRONG, UNKNOWN = (225, 225, 225), (200, 30, 30), (255, 255, 255)
MARGIN = 6


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
            label_map = function(image[None].astype("float32")).numpy()[0]
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


def difference(truth, label_map):
    """(H, W, 3) uint8: red where the label maps differ, white where the truth is void."""
    picture = np.where((truth == label_map)[..., None], RIGHT, WRONG)
    return np.where((truth == data.VOID)[..., None], UNKNOWN, picture).astype("uint8")


def grid(rows, titles, class_names, width=240):
    """Rows of pictures of any size under titles, with a legend of the classes: a Pillow image."""
    rows = [[_scaled(picture, width) for picture in row] for row in rows]
    heights = [max(picture.height for picture in row) for row in rows]
    canvas_width = len(titles) * (width + MARGIN) + MARGIN
    key = legend(class_names, canvas_width)
    canvas = Image.new("RGB", (canvas_width, 24 + sum(heights) + MARGIN * len(rows)), "white")
    pen = ImageDraw.Draw(canvas)
    for column, title in enumerate(titles):
        pen.text((MARGIN + column * (width + MARGIN), 6), title, fill="black")
    top = 24
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            canvas.paste(picture, (MARGIN + column * (width + MARGIN), top))
        top += height + MARGIN
    whole = Image.new("RGB", (canvas_width, canvas.height + key.height), "white")
    whole.paste(canvas, (0, 0))
    whole.paste(key, (0, canvas.height))
    return whole


def _scaled(picture, width):
    picture = Image.fromarray(picture)
    height = round(picture.height * width / picture.width)
    return picture.resize((width, height), Image.NEAREST)
