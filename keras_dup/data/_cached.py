"""A data set kept in memory, for one whose files are decoded epoch after epoch."""

from threading import Lock

import numpy as np

from keras_dup.data._protocol import Dataset, LabelMapsOf

__all__ = ["Cached"]


class Cached:
    """Keeps the decoded images and label maps of another data set in memory.

    The first items that are read stay, up to `max_bytes`; the others are read every time. (Each
    epoch visits all items in another order, so it does not matter which ones stay.) An item of
    H x W pixels takes 4 H W bytes.

    Args:
        data: the data set.
        max_bytes: the most that images and label maps may take, 4 GiB by default.

    Images and label maps that come out are read-only: they are the ones in memory.
    """

    def __init__(self, data: Dataset, max_bytes: int = 4 * 2**30):
        if max_bytes < 0:
            raise ValueError(f"max_bytes is at least 0, not {max_bytes}")
        self.data = data
        self.max_bytes = max_bytes
        self.num_classes = data.num_classes
        self.class_names = data.class_names
        self._kept: dict[tuple[str, int], np.ndarray] = {}
        self._bytes, self._lock = 0, Lock()

    def __len__(self):
        return len(self.data)

    def image(self, i: int) -> np.ndarray:
        """Returns image i as uint8 (H, W, 3)."""
        return self._get("image", i)

    def label_map(self, i: int) -> np.ndarray:
        """Returns label map i as uint8 (H, W), void 255."""
        return self._get("label_map", i)

    def label_maps(self) -> LabelMapsOf:
        """Returns all label maps as a sequence, for `keras_dup.projection.fit`."""
        return LabelMapsOf(self)

    def __getstate__(self):  # what is kept stays with this process
        return {**self.__dict__, "_kept": {}, "_bytes": 0, "_lock": None}

    def __setstate__(self, state):
        self.__dict__ = {**state, "_lock": Lock()}

    def _get(self, kind, i):
        pixels = self._kept.get((kind, int(i)))
        if pixels is None:
            pixels = getattr(self.data, kind)(i)
            pixels.flags.writeable = False
            self._keep((kind, int(i)), pixels)
        return pixels

    def _keep(self, key, pixels):
        with self._lock:
            if key not in self._kept and self._bytes + pixels.nbytes <= self.max_bytes:
                self._kept[key] = pixels
                self._bytes += pixels.nbytes
