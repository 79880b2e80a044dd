"""A data set that is a sequence of examples, read by index."""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_dup._label_maps import palette
from keras_dup.data._folder import checked_names
from keras_dup.data._images import decode_image
from keras_dup.data._masks import decode_ids
from keras_dup.data._protocol import LabelMapsOf
from keras_dup.data._values import MaskValues

__all__ = ["Examples"]


class Examples:
    """Any sequence of dicts {"image": ..., "segmentation_mask": ...} as a data set.

    An image is uint8 (H, W, 3), a mask integers or booleans (H, W) or (H, W, 1). Either may be
    the bytes of an image file, which are decoded on each access. `source` needs `len()` and
    `[i]`, from several threads at once; nothing is kept in memory.

    Args:
        source: the sequence, e.g. what `tfds.data_source` returns, or a list.
        num_classes: number of classes, 1..255.
        class_names: `num_classes` strings; the numbers by default.
        ids: {id in the masks: class id, or 255 for void}, any integers; by default class ids and
            255.
        colours: (num_classes, 3), what to draw the classes with; PASCAL VOC's by default.
        image, mask: the keys in the dicts.
        channel: which channel of the masks holds the ids, where they have three; None: they have
            one.
        name: what errors call the data set.

    Raises ValueError for `ids` that are no classes and, with the item, for an image or mask of
    another shape or with other ids.
    """

    def __init__(
        self,
        source: Sequence[Mapping],
        num_classes: int,
        class_names: Sequence[str] | None = None,
        ids: Mapping[int, int] | None = None,
        colours: Sequence | None = None,
        image: str = "image",
        mask: str = "segmentation_mask",
        channel: int | None = None,
        name: str = "examples",
    ):
        self.values = MaskValues(num_classes, ids=ids)
        self.source, self.name = source, name
        self.num_classes = num_classes
        self.class_names = checked_names(class_names, num_classes)
        self.image_key, self.mask_key, self.channel = image, mask, channel
        self.palette = palette()
        if colours is not None:
            self.palette[:num_classes] = colours

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """Returns item i as {"image": uint8 (H, W, 3), "segmentation_mask": uint8 (H, W)}."""
        example = self._example(i)
        image = self._image(i, example)
        return {"image": image, "segmentation_mask": self._label_map(i, example, image.shape[:2])}

    def image(self, i: int) -> np.ndarray:
        """Returns image i as uint8 (H, W, 3)."""
        return self._image(i, self._example(i))

    def label_map(self, i: int) -> np.ndarray:
        """Returns label map i as uint8 (H, W), void 255."""
        return self._label_map(i, self._example(i))

    def label_maps(self) -> LabelMapsOf:
        """Returns all label maps as a sequence, for `keras_dup.projection.fit`."""
        return LabelMapsOf(self)

    def _example(self, i):
        if not 0 <= i < len(self):
            raise IndexError(f"{self.name}: item {i} of {len(self)}")
        return self.source[int(i)]

    def _image(self, i, example):
        image = self._field(i, example, self.image_key)
        if isinstance(image, bytes):
            return decode_image(image, self._item(i, "image"))
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f"{self._item(i, 'image')}: {image.dtype} {image.shape}; it has to be uint8 "
                "(height, width, 3)"
            )
        return image

    def _label_map(self, i, example, size=None):
        mask = self._field(i, example, self.mask_key)
        name = self._item(i, "mask")
        ids = self._ids(mask, name) if isinstance(mask, bytes) else np.asarray(mask)
        if ids.ndim == 3 and (ids.shape[2] == 1 or self.channel is not None):
            ids = ids[..., self.channel or 0]
        if ids.ndim != 2 or ids.dtype.kind not in "iub":
            raise ValueError(f"{name}: {ids.dtype} {ids.shape}; it has to be integers (H, W)")
        if size is not None and ids.shape != size:
            raise ValueError(f"{name}: {ids.shape}, but the image is {size}")
        return self.values.label_map(ids, name)

    def _ids(self, content, name):
        return (decode_ids if self.channel is None else decode_image)(content, name)

    def _field(self, i, example, key):
        try:
            return example[key]
        except KeyError:
            raise ValueError(f"{self.name}: item {i} has {sorted(example)}, no {key!r}") from None

    def _item(self, i, part):
        return f"{self.name}: {part} of item {i}"
