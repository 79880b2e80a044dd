"""A data set that is a folder of images and a folder of masks."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from keras_dup._label_maps import VOID, IdCounts, IdTable, palette
from keras_dup.data._images import check_image, image_size, read_image
from keras_dup.data._listing import mask_files, pair
from keras_dup.data._masks import read_label_map
from keras_dup.data._protocol import LabelMapsOf

__all__ = ["Folder", "LabelMaps", "check_classes", "checked_names"]

_QUOTED = 20  # messages in one error


class Folder:
    """Images and masks in two folders, paired by file name without ending, sorted by it.

    Args:
        images: folder of .jpg, .jpeg, .png, .bmp, .gif, .tif, .tiff or .webp files, endings in
            any case.
        masks: folder of .png, .bmp, .gif, .tif or .tiff files, palette or grey, one class id per
            pixel.
        num_classes: number of classes, 1..255; ids are 0..num_classes - 1 and void.
        names: which items to take: a text file with one name per line (VOC's train.txt), or a
            list; without folder and ending. None takes all.
        ignore_class: the id that the mask files use for void, e.g. 255 in VOC, 11 in CamVid;
            None if they have no void. Label maps that come out use 255.
        class_names: `num_classes` strings; the ids by default.
        ids: {id in the mask files: class id, or 255 for void}, in place of `ignore_class`; e.g.
            {0: 0, 255: 1} for black and white masks.

    Attributes: `image_files` and `mask_files` are the paths, item by item. `id_counts` are the ids
    that `check` found, with `text` and `complaint`; None before.

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
        ids: Mapping[int, int] | None = None,
    ):
        check_classes(num_classes, ids)
        self.num_classes = num_classes
        self.ignore_class, self.ids = ignore_class, ids
        self.class_names = checked_names(class_names, num_classes)
        pairs = pair(images, masks, names)
        self.image_files, self.mask_files = map(list, zip(*pairs, strict=True))
        self.id_counts: IdCounts | None = None

    def __len__(self):
        return len(self.image_files)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """Returns item i as an example, for `Examples` and what reads examples."""
        return {"image": self.image(i), "segmentation_mask": self.label_map(i)}

    @property
    def palette(self) -> np.ndarray:
        """PASCAL VOC's colours, uint8 (256, 3)."""
        return palette()

    def image(self, i: int) -> np.ndarray:
        """Returns image i as uint8 (H, W, 3)."""
        return read_image(self.image_files[i])

    def label_map(self, i: int) -> np.ndarray:
        """Returns label map i as uint8 (H, W), void 255; ValueError if its file is unusable."""
        path = self.mask_files[i]
        label_map = read_label_map(path, self.num_classes, self.ignore_class, self.ids)
        size = image_size(self.image_files[i])
        if label_map.shape != size:
            raise ValueError(
                f"{path}: mask of {_size(label_map.shape)}, but its image "
                f"{self.image_files[i]} has {_size(size)} (as its EXIF orientation turns it); "
                "both must be the same"
            )
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
        self.image_files = [self.image_files[i] for i in kept]
        self.mask_files = [self.mask_files[i] for i in kept]
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
    names errors of a file in the same way; `files` are the paths, sorted by name.
    """

    def __init__(
        self,
        masks: str | os.PathLike,
        num_classes: int,
        names: str | os.PathLike | Sequence[str] | None = None,
        ignore_class: int | None = VOID,
        ids: Mapping[int, int] | None = None,
    ):
        check_classes(num_classes, ids)
        self.files = mask_files(masks, names)
        self.num_classes, self.ignore_class, self.ids = num_classes, ignore_class, ids

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i: int) -> np.ndarray:  # type: ignore[override]  # no slices
        """Returns label map i as uint8 (H, W), void 255; ValueError if its file is unusable."""
        return read_label_map(self.files[i], self.num_classes, self.ignore_class, self.ids)


def check_classes(num_classes: int, ids: Mapping[int, int] | None) -> None:
    """Raises ValueError for a number of classes or a table of ids that cannot be."""
    if not 1 <= num_classes <= VOID:
        raise ValueError(f"num_classes is 1..{VOID}, not {num_classes}")
    if ids is not None:
        IdTable(ids, num_classes)


def checked_names(class_names: Sequence[str] | None, num_classes: int) -> tuple[str, ...]:
    """Returns the names of the classes, the ids by default; ValueError for another number."""
    names = tuple(class_names or map(str, range(num_classes)))
    if len(names) != num_classes:
        raise ValueError(f"{len(names)} class_names, but num_classes {num_classes}")
    return names


def _report(faults, pairs):
    lines = faults[:_QUOTED]
    if len(faults) > _QUOTED:
        lines.append(f"and {len(faults) - _QUOTED} more")
    return "\n  ".join([f"{len(faults)} of {pairs} pairs have a fault:", *lines])


def _size(shape):
    return f"{shape[0]} x {shape[1]} (height x width)"
