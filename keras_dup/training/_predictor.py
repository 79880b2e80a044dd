"""From a network to a function that answers with class ids."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_dup import inference

THREADS = 8  # that may call a predictor at once on JAX


def predictor(network: keras.Model) -> Callable[[np.ndarray], Any]:
    """Returns a function of an image (H, W, 3) that returns class ids (H, W).

    On JAX several threads may call it at once, and it has the weights that the network has now.
    """
    if keras.backend.backend() == "jax":
        network = _Compiled(network)
    return lambda image: inference.predict(network, image)


class _Compiled:
    """`predict_on_batch` of a network that threads may call at once, which Keras's on JAX is not.

    JAX compiles for every size of image, which takes seconds; threads do so side by side.
    """

    def __init__(self, network):
        self.input_shape, self.output_shape = network.input_shape, network.output_shape
        variables = network.trainable_variables, network.non_trainable_variables
        self.weights = [[variable.value for variable in kind] for kind in variables]
        self.call = _compiled(network)

    def predict_on_batch(self, images):
        return np.asarray(self.call(*self.weights, images))


@functools.lru_cache(maxsize=1)  # of the network of a run, validation after validation
def _compiled(network):
    import jax

    return jax.jit(lambda *arguments: network.stateless_call(*arguments, training=False)[0])
