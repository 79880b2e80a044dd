"""A data set kept in memory, for one whose files are decoded epoch after epoch."""

from threading import Lock


class Cached:
    """Another data set, whose pictures stay in memory, decoded, once they were read.

    The first ones read stay, up to `max_bytes`; the others are read every time. (Epochs visit all
    items in an order of their own, so which ones stay makes no difference, and throwing one out
    for another only costs.) A picture of H x W takes 4 H W bytes.

    Args:
        data: the data set.
        max_bytes: bound of the memory for pictures, 4 GiB by default.

    Images and label maps that come out are read-only: they are the ones in memory.
    """

    def __init__(self, data, max_bytes=4 * 2**30):
        if max_bytes < 0:
            raise ValueError(f"max_bytes is at least 0, not {max_bytes}")
        self.data = data
        self.max_bytes = max_bytes
        self.num_classes = data.num_classes
        self.class_names = data.class_names
        self._kept, self._bytes, self._lock = {}, 0, Lock()

    def __len__(self):
        return len(self.data)

    def image(self, i):
        """Returns image i as uint8 (H, W, 3)."""
        return self._get("image", i)

    def label_map(self, i):
        """Returns label map i as uint8 (H, W), void 255."""
        return self._get("label_map", i)

    def label_maps(self):
        """Yields all label maps in order, for `keras_dup.projection.fit`."""
        return (self.label_map(i) for i in range(len(self)))

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
