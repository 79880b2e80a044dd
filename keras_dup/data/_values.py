"""What the values in mask files mean: one record, made once per data set.

Users say it with `ids`, `colours` or `ignore_class`: in Python, in a recipe and on the command line
alike. Nobody else looks into these three.
"""

from collections.abc import Sequence

import numpy as np

from keras_dup._label_maps import VOID, IdTable, check_ids, palette
from keras_dup.data._tables import Colours, Ids, read_table

__all__ = ["MaskValues", "count_colours"]

_QUOTED = 3  # colours in one message


class MaskValues:
    """What the values in mask files mean, for `num_classes` classes.

    Args: as in `keras_dup.data.Folder`.

    Attributes: `class_names` of the table, or as given; None where nobody says.

    Raises ValueError for a table that cannot be.
    """

    def __init__(
        self,
        num_classes: int,
        ignore_class: int | None = VOID,
        ids: Ids | None = None,
        colours: Colours | None = None,
        class_names: Sequence[str] | None = None,
    ):
        if not 1 <= num_classes <= VOID:
            raise ValueError(f"num_classes is 1..{VOID}, not {num_classes}")
        self.num_classes, self.ignore_class = num_classes, ignore_class
        self.class_names = tuple(class_names) if class_names else None
        self._ids = self._colours = None
        table = read_table(ids, colours)
        if table is None:
            return
        table = table.for_classes(class_names)
        if self.class_names is None and len(table.names) == num_classes:
            self.class_names = table.names
        if colours:
            self._colours = _ColourTable(table, num_classes)
        else:
            self._ids = IdTable(table.classes, num_classes)

    def palette(self) -> np.ndarray:
        """Returns what to draw the classes with, uint8 (256, 3): the colours of the files.

        PASCAL VOC's where the files have none; the first one of a class that has several.
        """
        colours = palette()
        if self._colours is not None:
            for colour, k in reversed(self._colours.table.classes.items()):
                colours[k] = colours[k] if k == VOID else colour
        return colours

    @property
    def are_colours(self) -> bool:
        """Whether the values are colours."""
        return self._colours is not None

    def label_map(self, values: np.ndarray, name: object) -> np.ndarray:
        """Returns the label map, uint8 (H, W), void 255, of the values in a mask file.

        Args: values: integers (H, W), or, of colours, uint8 (H, W, 3); name: of the file, for
            errors.

        Raises ValueError for a value that means nothing.
        """
        if self._colours is not None:
            return self._colours(values, name)
        if self._ids is not None:
            return self._ids(values, name)
        check_ids(values, self.num_classes, self.ignore_class, name)
        if self.ignore_class not in (None, VOID):
            values = np.where(values == self.ignore_class, VOID, values)
        return values.astype(np.uint8)


class _ColourTable:
    """Colours -> class ids by a small table without collisions: the colour modulo some number."""

    def __init__(self, table, num_classes):
        wrong = [k for k in table.classes.values() if not 0 <= k < num_classes and k != VOID]
        if wrong or len(table.names) > num_classes:
            count = len(table.names) or f"class id {wrong[0]} of"
            raise ValueError(
                f"{table.source}: {count} classes, but num_classes is {num_classes} "
                f"(classes 0..{num_classes - 1} and void {VOID})"
            )
        self.table = table
        codes = np.array([r << 16 | g << 8 | b for r, g, b in table.classes], np.uint32)
        self.modulus = np.uint32(_modulus(codes))
        places = codes % self.modulus
        self.codes = np.full(self.modulus, 2**32 - 1, np.uint32)
        self.codes[places] = codes
        self.classes = np.full(self.modulus, VOID, np.uint8)
        self.classes[places] = list(table.classes.values())

    def __call__(self, colours, name):
        """Returns the label map of colours uint8 (H, W, 3); ValueError for an unknown colour."""
        label_map = np.empty(colours.shape[:2], np.uint8)
        for row in range(0, len(colours), 64):  # a part that the processor's cache holds
            codes = _codes(colours[row : row + 64])
            places = codes % self.modulus
            if (self.codes[places] != codes).any():
                raise ValueError(self._complaint(colours, name))
            label_map[row : row + 64] = self.classes[places]
        return label_map

    def _complaint(self, colours, name):
        codes = _codes(colours)
        wrong = self.codes[codes % self.modulus] != codes
        unknown, first, counts = np.unique(codes[wrong], return_index=True, return_counts=True)
        rows, columns = np.nonzero(wrong)
        parts = [
            f"{_rgb(unknown[i])} in {counts[i]} pixels, the first at row {rows[first[i]]}, column "
            f"{columns[first[i]]}"
            for i in np.argsort(-counts, kind="stable")[:_QUOTED]
        ]
        more = f"; and {len(unknown) - _QUOTED} colours more" if len(unknown) > _QUOTED else ""
        advice = "add them, as void if they have no label"
        if len(unknown) > _QUOTED:
            advice = (
                "where that are shades between the right colours, the mask was saved as JPEG or "
                "scaled smoothly at some time: export it again"
            )
        return (
            f"{name}: {wrong.sum()} of {wrong.size} pixels have a colour that is not in "
            f"{self.table.source}: {'; '.join(parts)}{more}; {advice}"
        )


def count_colours(colours: np.ndarray) -> dict[tuple[int, ...], int]:
    """Returns {(r, g, b): pixels} of uint8 (H, W, 3)."""
    unique, counts = np.unique(_codes(colours), return_counts=True)
    return dict(zip(map(_rgb, unique), counts.tolist(), strict=True))


def _codes(colours):
    codes = colours[..., 0].astype(np.uint32)
    for channel in (1, 2):
        codes <<= 8
        codes |= colours[..., channel]
    return codes


def _rgb(code):
    return tuple(int(code) >> shift & 255 for shift in (16, 8, 0))


def _modulus(codes):
    """The smallest number from which on all codes differ modulo it."""
    modulus = len(codes)
    while len(np.unique(codes % np.uint32(modulus))) < len(codes):
        modulus += 1
    return modulus
