"""Label maps -> compressed label maps in Keras operations, for pipelines and losses (Eq. 4)."""

import math
from typing import Any

from keras import ops

from keras_dup.projection._label_projection import LabelProjection

__all__ = ["LabelCompression"]


class LabelCompression:
    """`LabelProjection.compress` for batches: the target Y~ of Tian et al. 2019, Eq. 4.

        x[b, i, j] = P (v[b, i, j] - mean),    v the one-hot window at (i*r, j*r)

    Void is filled in from the nearest label as in `compress`, exactly; windows that are void
    throughout become zeros, the mean. To pre-train a network by regression to compressed labels,

        compress = LabelCompression(projection)
        features = keras.Model(model.input, model.get_layer("compressed").output)
        features.compile(optimizer, "mse")
        features.fit(batches.map(lambda image, label_map: (image, compress(label_map))))

    and then train `model` itself, whose weights these are.

    Args:
        projection: a `LabelProjection`.

    Calling it: (B, H, W), integers 0..C-1 and void -> (B, ceil(H/r), ceil(W/r), C~) float32. On
    TensorFlow, whose backend `tf.data` needs, H and W may be unknown in a graph. Ids are not
    checked: what is no class counts as no label at all.

    Raises:
        TypeError: not a linear projection.
    """

    def __init__(self, projection: LabelProjection) -> None:
        if not isinstance(projection, LabelProjection):
            raise TypeError(f"a LabelProjection is expected, not {type(projection).__name__}")
        self.projection = projection
        r, c = projection.ratio, projection.num_classes
        self._kernel = projection.p.T.reshape(r, r, c, -1)
        self._shift = projection.p @ projection.mean

    def __call__(self, label_maps: Any) -> Any:
        r, c = self.projection.ratio, self.projection.num_classes
        label_maps = ops.cast(label_maps, "int32")  # (B, H, W)
        void = ops.zeros_like(label_maps, dtype="bool")
        if self.projection.ignore_class is not None:
            void = ops.equal(label_maps, self.projection.ignore_class)
            label_maps = ops.cond(
                ops.any(void),
                lambda: _fill_void(label_maps, void, r, c),
                lambda: label_maps,
            )
        label_maps, void = (_repeat_edge(x, r) for x in (label_maps, void))
        label_maps = ops.where(label_maps < c, label_maps, -1)  # PyTorch refuses larger ids
        one_hot = ops.one_hot(label_maps, c, dtype="float32")
        x = ops.conv(one_hot, self._kernel, strides=r, padding="valid")
        x = ops.subtract(x, self._shift)
        valid = ops.cast(ops.logical_not(void), "float32")[..., None]
        return x * ops.max_pool(valid, r, r)  # (B, h, w, C~)


def _fill_void(label_maps, void, ratio, num_classes):
    """What `windows.cut_windows` does to void within reach of a label: (B, H, W), exact.

    The nearest label in each column, then the nearest of those in each row, as minima over
    shifts. A key holds distance, rank among equals (the leftmost, then the topmost) and label.
    """
    reach = math.ceil(ratio * math.sqrt(2))  # in a window with a label none is further away
    shifts, none = range(-reach, reach + 1), 2**30
    keys = ops.where(void, none, label_maps)
    ranks = [(2 * shift**2 + (shift > 0)) * num_classes for shift in shifts]
    keys = _least(keys, ranks, axis=1, none=none)
    label, distance = keys % num_classes, keys // (2 * num_classes)
    keys = ops.where(keys < none, distance * len(shifts) * num_classes + label, none)
    ranks = [(shift**2 * len(shifts) + i) * num_classes for i, shift in enumerate(shifts)]
    keys = _least(keys, ranks, axis=2, none=none)
    return ops.where(keys < none, keys % num_classes, num_classes)


def _least(keys, ranks, axis, none):
    """(B, H, W): the least of keys + rank over shifts along an axis, centred."""
    reach, size = len(ranks) // 2, ops.shape(keys)[axis]
    padding = [(0, 0)] * 3
    padding[axis] = (reach, reach)
    around = ops.pad(keys, padding, constant_values=none)
    least = None
    for start, rank in enumerate(ranks):
        rows = slice(start, start + size)
        shifted = (around[:, rows] if axis == 1 else around[:, :, rows]) + rank
        least = shifted if least is None else ops.minimum(least, shifted)
    return least


def _repeat_edge(label_maps, ratio):
    """(B, H, W) -> multiples of r; the repeated void stays out of what counts as void."""
    for axis in (1, 2):
        size = ops.shape(label_maps)[axis]
        places = ops.minimum(ops.arange(-(-size // ratio) * ratio), size - 1)
        label_maps = ops.take(label_maps, places, axis=axis)
    return label_maps
