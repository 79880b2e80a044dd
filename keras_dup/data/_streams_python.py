"""Batches by threads of Python, for backends other than TensorFlow."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_dup._label_maps import VOID
from keras_dup.data._augment_numpy import augment
from keras_dup.data._crop import MEAN_COLOUR

__all__ = ["Batches", "augment", "eval_stream", "train_stream"]

_AHEAD = 2  # batches that `fit` has made before it needs them


class Batches(keras.utils.PyDataset):
    """Batches by their number. `fit` makes the next ones meanwhile, their images in threads.

    Args:
        element: number of an element -> image, label map.
        batch_size: elements of a batch.
        count: of elements; None for endless batches.
        change: (images, label_maps) -> the batch that comes out.
    """

    def __init__(
        self, element: Callable, batch_size: int, count: int | None = None, change: Callable = tuple
    ):
        super().__init__(workers=_AHEAD, max_queue_size=_AHEAD)
        self.element, self.batch_size, self.count = element, batch_size, count
        self.change = change

    @property
    def num_batches(self) -> int | None:
        """How many there are; None if they have no end."""
        return None if self.count is None else -(-self.count // self.batch_size)

    def __getitem__(self, index: int) -> tuple:
        numbers = range(index * self.batch_size, (index + 1) * self.batch_size)
        if self.count is not None:
            numbers = numbers[: max(0, self.count - numbers.start)]
        images, label_maps = zip(*_threads().map(self.element, numbers), strict=True)
        return self.change((np.stack(images), np.stack(label_maps)))

    def map(self, change: Callable) -> "Batches":
        """The same batches after a function of images and label maps, as of a tf.data.Dataset."""
        changed = lambda batch: change(*self.change(batch))  # noqa: E731
        return Batches(self.element, self.batch_size, self.count, changed)


@functools.cache
def _threads():
    """Of all streams: Pillow and NumPy leave the others their time while they work."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(cores, thread_name_prefix="images")


def train_stream(item, of_whole, batch_size, start_step, seed, window, whole):
    """Endless augmented batches; arguments as in `_streams_tensorflow`."""
    del whole
    crop_size, *options = window

    def element(number):
        k = of_whole(start_step * batch_size + number)
        return augment(*item(k), crop_size, (seed, k), *options)

    return Batches(element, batch_size)


def eval_stream(item, count, batch_size, size):
    """All items once; padded to a size, if there is one."""

    def element(i):
        image, label_map = item(i)
        image, label_map = image.astype(np.float32), label_map.astype(np.int32)
        if size is None:
            return image, label_map
        ends = [(0, side - length) for side, length in zip(size, label_map.shape, strict=True)]
        image = np.pad(image, [*ends, (0, 0)], constant_values=MEAN_COLOUR)
        return image, np.pad(label_map, ends, constant_values=VOID)

    return Batches(element, batch_size if size else 1, count)
