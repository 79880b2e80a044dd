"""What a training crop is on every backend: its size, and what fills it."""

import numpy as np

__all__ = ["MEAN_COLOUR", "crop_shape"]

MEAN_COLOUR = 127.0
"""What fills the image where there is none: mid-grey, near zero after preprocessing."""


def crop_shape(crop_size: int | tuple[int, int]) -> tuple[int, int]:
    """Returns (height, width) of `crop_size`, an integer or a pair; ValueError if not positive."""
    shape = tuple(np.broadcast_to(crop_size, 2).tolist()) if np.size(crop_size) <= 2 else ()
    if not shape or min(shape) < 1:
        raise ValueError(f"crop_size is a positive integer or (height, width), not {crop_size}")
    return shape
