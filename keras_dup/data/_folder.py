"""A data set that is a folder of images and a folder of masks."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from keras_dup._label_maps import VOID, IdCounts
from keras_dup.data._images import check_image, image_size, read_image
from keras_dup.data._listing import mask_files, pair
from keras_dup.data._masks import read_mask
from keras_dup.data._protocol import LabelMapsOf
from keras_dup.data._tables import Colours, Ids
from keras_dup.data._values import MaskValues

__all__ = ["Folder", "LabelMaps", "checked_names", "size_fault"]

_QUOTED = 20  # messages in one error


class Folder:
    """Images and masks in two folders, paired by file name without ending, sorted by it.

    Args:
        images: folder of .jpg, .jpeg, .png, .bmp, .gif, .tif, .tiff or .webp files, endings in
            any case.
        masks: folder of .png, .bmp, .gif, .tif, .tiff, lossless .webp or .npy files of class ids,
            one per pixel, or of colours.
        num_classes: number of classes, 1..255; ids are 0..num_classes - 1 and void.
        names: which items to take: a text file with one name per line (VOC's train.txt), or a
            list; without folder and ending. None takes all.
        ignore_class: the id that the mask files use for void, e.g. 255 in VOC, 11 in CamVid;
            None if they have no void. Label maps that come out use 255.
        class_names: `num_classes` strings; by default those of `colours` or `ids`, or the ids.
        ids: what the ids in the mask files mean, in place of `ignore_class`:
            {id: class id, or 255 for void}, e.g. {0: 0, 255: 1} for black and white masks; texts
            ("0:0", "1..6:1", "7..20:2..15"); or a known name ("cityscapes", "ade20k",
            "oxford_iiit_pet").
        colours: what the colours in the mask files mean: {(r, g, b): class id, or 255 for void};
            a text file with lines "name r g b", or such lines, where "void" is void, equal names
            are one class, and the order of the names is that of the classes; or a known name
            ("voc2012", "camvid", "cityscapes").
        mask_suffix: what the names of masks have behind those of their images, "_mask"; None finds
            it by itself.
        recursive: whether subfolders are read too; their items have names "subfolder/name".

    Attributes: `names` are the names, `image_files` and `mask_files` the paths, item by item.
    `id_counts` are the ids that `check` found, with `text` and `complaint`; None before.

    Raises FileNotFoundError for a folder or list that does not exist, ValueError for files that do
    not pair. The contents of the files are read later, or by `check` all at once.
    """

    def __init__(
        self,
        images: str | os.PathLike,
        masks: str | os.PathLike,
        num_classes: int,
        names: str | os.PathLike | Sequence[str] | None = None,
        ignore_class: int | None = VOID,
        class_names: Sequence[str] | None = None,
        ids: Ids | None = None,
        colours: Colours | None = None,
        mask_suffix: str | None = None,
        recursive: bool = False,
    ):
        self.values = MaskValues(num_classes, ignore_class, ids, colours, class_names)
        self.num_classes = num_classes
        self.class_names = checked_names(self.values.class_names, num_classes)
        pairs = pair(images, masks, names, mask_suffix, recursive)
        self.names, self.image_files, self.mask_files = map(list, zip(*pairs, strict=True))
        self.id_counts: IdCounts | None = None

    def __len__(self):
        return len(self.image_files)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """Returns item i as an example, for `Examples` and what reads examples."""
        return {"image": self.image(i), "segmentation_mask": self.label_map(i)}

    @property
    def palette(self) -> np.ndarray:
        """What to draw classes with: the colours of the masks, or VOC's, uint8 (256, 3)."""
        return self.values.palette()

    def image(self, i: int) -> np.ndarray:
        """Returns image i as uint8 (H, W, 3)."""
        return read_image(self.image_files[i])

    def label_map(self, i: int) -> np.ndarray:
        """Returns label map i as uint8 (H, W), void 255; ValueError if its file is unusable."""
        path = self.mask_files[i]
        label_map = read_mask(path, self.values)
        size = image_size(self.image_files[i])
        if label_map.shape != size:
            raise ValueError(size_fault(path, label_map.shape, self.image_files[i], size))
        return label_map

    def label_maps(self) -> LabelMapsOf:
        """Returns all label maps as a sequence, for `keras_dup.projection.fit`."""
        return LabelMapsOf(self)

    def check(self, on_error: str = "raise", verbose: bool = True) -> list[str]:
        """Reads every pair, tells all the faults at once, in order, and counts the ids.

        Files are decoded to their ends, as nothing less finds those cut short; images at an
        eighth of their size, where the format allows it, which finds the same faults sooner.

        Args:
            on_error: "raise", or "skip" to drop the pairs with a fault from the data set.
            verbose: whether to show progress, and what was skipped.

        Returns: the messages of the faults, a list of strings; empty if there is none.
        Raises ValueError for a fault, or, with "skip", if no pair would be left; it quotes the
        first 20 messages.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error is {on_error!r}; 'raise' or 'skip' is expected")
        faults, counts = {}, IdCounts()
        with ThreadPoolExecutor() as pool:
            done = pool.map(self._fault, range(len(self)))
            bar = tqdm(done, "checking files", len(self), unit=" pairs", disable=not verbose)
            for i, (fault, pixels) in enumerate(bar):
                if fault:
                    faults[i] = fault
                else:
                    counts.pixels.update(pixels)
                    counts.label_maps += 1
        self.id_counts = counts
        if not faults:
            return []
        report = _report(list(faults.values()), len(self))
        if on_error == "raise" or len(faults) == len(self):
            raise ValueError(report)
        if verbose:
            print(f"skipped: {report}")
        kept = [i for i in range(len(self)) if i not in faults]
        for items in (self.names, self.image_files, self.mask_files):
            items[:] = [items[i] for i in kept]
        return list(faults.values())

    def _fault(self, i):
        """What is wrong with pair i, all its messages in one string, and {id: pixels}."""
        faults, counts = [], IdCounts()
        for check in (
            lambda: check_image(self.image_files[i]),
            lambda: counts.add(self.label_map(i)),
        ):
            try:
                check()
            except (OSError, ValueError) as error:
                if str(error) not in faults:  # what is no image has no size for the mask either
                    faults.append(str(error))
        return "; ".join(faults), counts.pixels


class LabelMaps(LabelMapsOf):
    """The label maps of a folder of masks alone, read one by one: `len()` and `[i]`.

    What `keras_dup.projection.fit` reads with several `workers`. Arguments as in `Folder`, which
    names errors of a file in the same way; without `names` no `mask_suffix` is looked for. `files`
    are the paths, sorted by name, `names` the names, and `mask_suffix` what they are without.
    """

    def __init__(
        self,
        masks: str | os.PathLike,
        num_classes: int,
        names: str | os.PathLike | Sequence[str] | None = None,
        ignore_class: int | None = VOID,
        ids: Ids | None = None,
        colours: Colours | None = None,
        mask_suffix: str | None = None,
        recursive: bool = False,
    ):
        self.values = MaskValues(num_classes, ignore_class, ids, colours)
        found, self.mask_suffix = mask_files(masks, names, mask_suffix, recursive)
        self.names, self.files = list(found), list(found.values())

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # no slices
        """Returns label map i as uint8 (H, W), void 255; ValueError if its file is unusable."""
        return read_mask(self.files[i], self.values)


def checked_names(class_names: Sequence[str] | None, num_classes: int) -> tuple[str, ...]:
    """Returns the names of the classes, the ids by default; ValueError for another number."""
    names = tuple(class_names or map(str, range(num_classes)))
    if len(names) != num_classes:
        raise ValueError(f"{len(names)} class_names, but num_classes {num_classes}")
    return names


def size_fault(mask: os.PathLike, shape: tuple, image: os.PathLike, size: tuple) -> str:
    """Returns what is wrong with a mask and an image whose (height, width) differ."""
    there, other = (f"{height} x {width} (height x width)" for height, width in (shape, size))
    return (
        f"{mask}: mask of {there}, but its image {image} has {other} (as its EXIF orientation "
        "turns it); both must be the same"
    )


def _report(faults, pairs):
    lines = faults[:_QUOTED]
    if len(faults) > _QUOTED:
        lines.append(f"and {len(faults) - _QUOTED} more")
    return "\n  ".join([f"{len(faults)} of {pairs} pairs have a fault:", *lines])
