"""Builders for tensorflow-datasets (extra `tfds`): archives as they are published -> examples.

`contract.py` is what all have in common, then one file a data set; `keras_dup.data.load` finds
them by name. Importing this package registers nothing, importing one of its modules does.
"""

__all__: list[str] = []
