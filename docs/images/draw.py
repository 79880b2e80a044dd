"""Draws docs/images/predictions.jpg, the first picture of README.md.

    pip install scikit-image
    python docs/images/draw.py

Copies three photographs of scikit-image as cat.jpg, astronaut.jpg and coffee.jpg (licences:
README.md in this folder), predicts the first two with `voc_animals` and puts photograph and
prediction side by side.
"""

import pathlib

import numpy as np
import skimage.data
from PIL import Image

from keras_dup import inference, models

FOLDER = pathlib.Path(__file__).parent
HEIGHT = 300
COLOURS = {"cat": (255, 150, 40), "person": (60, 150, 255)}
OTHER = (200, 60, 200)  # any other class but the background
PHOTOGRAPHS = {
    "cat": skimage.data.chelsea,
    "astronaut": skimage.data.astronaut,
    "coffee": skimage.data.coffee,
}


def photograph(name):
    """The photograph at HEIGHT, as it is after JPEG."""
    image = Image.fromarray(PHOTOGRAPHS[name]())
    image = image.resize((round(image.width * HEIGHT / image.height), HEIGHT), Image.LANCZOS)
    image.save(FOLDER / f"{name}.jpg", quality=88)
    return np.asarray(Image.open(FOLDER / f"{name}.jpg"))


def overlay(image, label_map, class_names):
    """The image with half of its colour replaced by the colours of the classes."""
    colours = np.array([COLOURS.get(name, OTHER) for name in class_names])
    covered = (image // 2 + colours[label_map] // 2).astype(np.uint8)
    return np.where((label_map == 0)[..., None], image, covered)


def main():
    model, class_names = models.load("voc_animals"), models.class_names("voc_animals")
    panels = []
    images = {name: photograph(name) for name in PHOTOGRAPHS}
    for name in ("cat", "astronaut"):
        image = images[name]
        label_map = inference.predict(model, image)
        shares = {class_names[k]: np.mean(label_map == k) for k in np.unique(label_map)}
        print(name, ", ".join(f"{key} {share:.1%}" for key, share in shares.items()))
        panels += [image, overlay(image, label_map, class_names)]
    gap = np.full((HEIGHT, 8, 3), 255, np.uint8)
    row = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
    Image.fromarray(row).save(FOLDER / "predictions.jpg", quality=85)


if __name__ == "__main__":
    main()
