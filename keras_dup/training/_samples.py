"""What a run shows: its first batch as the network sees it, and four images at each validation."""

import pathlib

import keras
import numpy as np

from keras_dup import pictures
from keras_dup._label_maps import VOID
from keras_dup._whole import write_picture
from keras_dup.data import Dataset
from keras_dup.training._folder import PREDICTIONS
from keras_dup.training._predictor import predictor

_SAMPLES = 8
_PREDICTED = 4


def draw_samples(images, label_maps, dataset: Dataset, path: pathlib.Path) -> None:
    """Draws pairs of a batch: the image, and its mask over it, void in white.

    Args:
        images: (B, H, W, 3) in 0..255.
        label_maps: (B, H, W).
        dataset: the data set that they are of, for the names and the colours of classes.
        path: the picture, a PNG.
    """
    pairs, classes = [], (dataset.class_names, getattr(dataset, "palette", None))
    for image, label_map in zip(images[:_SAMPLES], label_maps[:_SAMPLES], strict=True):
        image = np.clip(np.asarray(image), 0, 255).astype("uint8")
        label_map = np.asarray(label_map)
        masked = pictures.mixed(image, label_map, pictures.OPACITY, *classes)
        masked[label_map == VOID] = pictures.UNKNOWN
        pairs.append([image, masked])
    if len(pairs) % 2:
        pairs.append([np.full_like(pairs[0][0], 255)] * 2)
    rows = [left + right for left, right in zip(pairs[::2], pairs[1::2], strict=True)]
    titles = ["training crop", "its mask, void white"] * 2
    write_picture(pictures.grid(rows, titles, classes[0], 240, classes[1]), path)


class Predictions(keras.callbacks.Callback):
    """Draws what the network answers for the same four images at each validation.

    One picture per validation: predictions/step_000400.png.
    """

    def __init__(self, network: keras.Model, val_data: Dataset, output: pathlib.Path):
        super().__init__()
        self.network, self.val_data, self.folder = network, val_data, output / PREDICTIONS

    def on_epoch_end(self, epoch, logs=None):
        self.folder.mkdir(exist_ok=True)
        predict = predictor(self.network)
        self.picture = pictures.comparison(self.val_data, {"prediction": predict}, _PREDICTED, 240)
        write_picture(self.picture, self.folder / f"step_{self.model.done:06}.png")
