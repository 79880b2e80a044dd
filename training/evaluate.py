"""How good a model is on labelled data: IoU per class, mIoU and pixel accuracy at source size.

    python -m training.evaluate training/runs/NAME

evaluates a run's model.keras on the validation data of its recipe.json again.
"""

import argparse
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_dup import data


def evaluate(predict, dataset):
    """Runs a model on every image by itself.

    Args:
        predict: `predictor(model)`.
        dataset: a data set of `keras_dup.data`.

    Returns:
        {"miou", "pixel_accuracy", "iou": {class name: IoU or None}, "images"}; mIoU is the mean
        over the classes that are present in truth or prediction, as in the paper.
    """
    counts = confusion_matrix(predict, dataset).astype(float)
    right, union = np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
    present = union > 0
    iou = right[present] / union[present]
    names = np.array(dataset.class_names)[present].tolist()
    absent = dict.fromkeys(dataset.class_names)
    return {
        "miou": float(iou.mean()),
        "pixel_accuracy": float(right.sum() / counts.sum()),
        "iou": {**absent, **dict(zip(names, iou.tolist(), strict=True))},
        "images": len(dataset),
    }


def confusion_matrix(predict, dataset):
    """(K, K) counts of pixels: row = truth, column = prediction; void left out."""
    size = dataset.num_classes
    counts = np.zeros((size, size), np.int64)
    for image, label_map in tqdm(data.eval_batches(dataset), "evaluating", total=len(dataset)):
        truth, prediction = label_map.numpy()[0], predict(image).numpy()[0]
        valid = truth != data.VOID
        pairs = truth[valid] * size + prediction[valid]
        counts += np.bincount(pairs, minlength=size * size).reshape(size, size)
    return counts


def predictor(model):
    """(1, H, W, 3) images -> (1, H, W) class ids, traced once for all sizes."""
    signature = [tf.TensorSpec((1, None, None, 3), tf.float32)]
    return tf.function(lambda image: tf.argmax(model(image), -1), input_signature=signature)


def table(report):
    """The report as lines of text, one class a line."""
    width = max(map(len, [*report["iou"], "pixel accuracy"]))
    rows = [*report["iou"].items(), ("mIoU", report["miou"])]
    rows.append(("pixel accuracy", report["pixel_accuracy"]))
    return "\n".join(
        f"{name:{width}}  " + ("absent" if value is None else f"{100 * value:6.2f} %")
        for name, value in rows
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    run = parser.parse_args().run
    from training.recipe import Recipe, datasets

    recipe = Recipe(**json.loads((run / "recipe.json").read_text()))
    model = keras.models.load_model(run / "model.keras", compile=False)
    print(table(evaluate(predictor(model), datasets(recipe)[1])))


if __name__ == "__main__":
    main()
