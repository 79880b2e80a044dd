"""A SavedModel of functions that call a network; what is served and what is converted."""

import keras
import tensorflow as tf

__all__ = ["write"]


def write(network: keras.Model, folder: str, functions: dict[str, tuple]) -> None:
    """Writes {name: (function of a tensor, its `tf.TensorSpec`)} to a folder.

    `keras.export.ExportArchive` writes the same and traces each function twice, which is most of
    the time of an export.
    """
    root = tf.Module()
    root.weights = [variable.value for variable in network.variables]  # the functions' own
    signatures = {
        name: tf.function(function, autograph=False).get_concrete_function(spec)
        for name, (function, spec) in functions.items()
    }
    tf.saved_model.save(root, folder, signatures=signatures)
