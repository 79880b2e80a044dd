"""Every private name of Keras that the package uses, in one place.

Keras may change these without notice. `tests/test_keras_private.py` calls each of them and is the
first test to fail on a Keras that did.
"""

import contextlib
import functools
from collections.abc import Iterator

import keras


def is_functional(layer):
    """Is this a `keras.Model` whose graph of layers is known?"""
    return isinstance(layer, keras.Model) and hasattr(layer, "_nodes_by_depth")


def nodes(model):
    """The calls of layers in a functional model: each has `operation` and `input_tensors`."""
    return [node for depth in model._nodes_by_depth.values() for node in depth]


def source(tensor):
    """The layer that computes a symbolic tensor."""
    return tensor._keras_history.operation


def calls(layer):
    """How many times a layer was called on symbolic tensors."""
    return len(layer._inbound_nodes)


def sublayers(layer, include_self=True):
    """A layer and all layers inside it, at any depth."""
    return list(layer._flatten_layers(include_self=include_self))


def run_graph(model, inputs, call):
    """Runs a functional model on `inputs`, with `call(layer, *inputs)` in place of each layer."""
    return model._run_through_graph(inputs, call_fn=call)


def moving_averages(optimizer):
    """The moving averages of the weights, in the order of the trainable variables."""
    return optimizer._model_variables_moving_average


def variable_index(optimizer, variable):
    """The position of a variable among those that the optimizer was built for."""
    return optimizer._get_variable_index(variable)


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Layers that are built inside have no values in their weights, which saves most of the time.

    Keras keeps such weights, and fills all of them when any other scope ends, even in the middle
    of a trace. Here it forgets them.
    """
    from keras.src.backend.common import global_state

    before = list(global_state.get_global_attribute("uninitialized_variables") or ())
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute("uninitialized_variables", before)


def wrap_operation(name, wrapper):
    """Has Keras's layers call `wrapper(Keras's function, inputs, ...)`, once for all.

    Args:
        name: of a function of `keras.ops` for neural networks, like "depthwise_conv".
    """
    from keras.src.backend import nn  # a layer looks the function up at every call

    function = getattr(nn, name)
    if not hasattr(function, "__wrapped__"):
        setattr(nn, name, functools.wraps(function)(functools.partial(wrapper, function)))


class BuiltFromShape:
    """A mixin of `keras.Model`: builds for `self.batch_shape`, (B, H, W), without reading a batch.

    On TensorFlow Keras reads the first batch to learn its shapes, which fails over several workers.
    """

    if keras.backend.backend() == "tensorflow":

        def _maybe_symbolic_build(self, iterator=None, data_batch=None):
            with self.distribute_strategy.scope():
                image = keras.KerasTensor((*self.batch_shape, 3))
                target = keras.KerasTensor(self.batch_shape, "int32")
                self._symbolic_build(data_batch=(image, target))
