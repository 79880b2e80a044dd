"""Gradients of a function, on either backend."""

import keras
import numpy as np


def gradients(function, values):
    """[value, its gradient with respect to each of `values`], on either backend."""
    if keras.backend.backend() == "jax":
        import jax

        value, slopes = jax.value_and_grad(function, argnums=tuple(range(len(values))))(*values)
        return [np.asarray(x) for x in (value, *slopes)]
    import tensorflow as tf

    values = [tf.constant(value) for value in values]

    @tf.function(autograph=False)
    def run(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            value = function(*values)
        return value, tape.gradient(value, values)

    value, slopes = run(*values)
    return [x.numpy() for x in (value, *slopes)]
