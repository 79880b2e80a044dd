"""The model of the package beside a trained DeepLabv3, on the same images.

    python -m research.peers.animals baseline/deeplabv3_mnv2_pascal_quant.tflite

The peer is DeepLabv3 on MobileNetV2, 8 bits, 513 x 513, trained on the whole of PASCAL VOC 2012 or
more: it has seen more images, and all classes often. The images are the val list of
training/recipes/voc_animals_efficientnet_lite0.py in $KERAS_DUP_DATA; the path of the peer's file
is relative to that folder too. The peer gets the images once as they are, with grey around them,
and once enlarged to a long side of 513. Writes research/results/peer.json.
"""

import argparse
import os
import pathlib

import numpy as np
from scipy import ndimage

from keras_dup import evaluation, export, inference, models, training
from keras_dup.training import datasets, provenance
from research import interpreter
from research.experiments.tables import RESULTS, ROOT
from research.files import write_json

RECIPE = ROOT / "training/recipes/voc_animals_efficientnet_lite0.py"
OURS = "voc_animals"
SIDE = 513


def peer(path, enlarge):
    """The function image (H, W, 3) -> label map (H, W) of the .tflite file."""
    run = interpreter.load(path)

    def predict(image):
        height, width = image.shape[:2]
        scale = (SIDE - 1) / (max(height, width) - 1) if enlarge else 1
        size = [round((side - 1) * scale) + 1 for side in (height, width)]
        zoom = size[0] / height, size[1] / width, 1
        resized = ndimage.zoom(image.astype("float32"), zoom, order=1).round()  # corners aligned
        padded = np.full((1, SIDE, SIDE, 3), 127, "uint8")
        padded[0, : size[0], : size[1]] = resized
        ids = run(padded)[0]
        rows, columns = (
            np.minimum(np.arange(side) * scale + 0.5, SIDE - 1).astype(int)
            for side in (height, width)
        )
        return ids[np.ix_(rows, columns)].astype("uint8")

    return predict


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tflite", type=pathlib.Path)
    arguments = parser.parse_args()
    recipe = training.load_recipe(RECIPE)
    path = pathlib.Path(os.environ.get("KERAS_DUP_DATA", ".")) / arguments.tflite
    network = export.fold(models.load(OURS), "probabilities")
    ways = {
        f"{OURS}, as they are": lambda image: inference.predict(network, image),
        f"{arguments.tflite.name}, as they are": peer(path, enlarge=False),
        f"{arguments.tflite.name}, enlarged": peer(path, enlarge=True),
    }
    val = datasets(recipe)[1]
    rows = {}
    for name, predict in ways.items():
        report = evaluation.evaluate(predict, val)
        rows[name] = {key: report[key] for key in ("miou", "pixel_accuracy", "iou", "images")}
        print(name, f"{100 * report['miou']:.2f} %")
    command = f"python -m research.peers.animals {arguments.tflite}"
    write_json({"command": command, "rows": rows, "run": provenance()}, RESULTS / "peer.json")


if __name__ == "__main__":
    main()
