"""The names of the effects on training images that are asked for; without TensorFlow."""

from collections.abc import Iterable

from keras_dup._nearest import hint

__all__ = ["AUGMENTATIONS", "check_augmentation"]

AUGMENTATIONS = ("color_jitter", "grayscale", "gaussian_blur", "rotation", "erasing")


def check_augmentation(names: Iterable[str]) -> None:
    """Raises ValueError, with the nearest name, for one that is no effect."""
    for name in names:
        if name not in AUGMENTATIONS:
            known = ", ".join(AUGMENTATIONS)
            raise ValueError(f"augmentation={name!r}; of {known}{hint(name, AUGMENTATIONS)}")
