"""The id of void, where nothing else is needed: without NumPy."""

VOID = 255
"""The id of pixels without a label in every label map that this package hands out."""
