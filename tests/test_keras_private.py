"""Keras's private names: what the package relies on, and that nothing else relies on them."""

import ast
import pathlib

import keras
import numpy as np
import pytest

from keras_dup import _keras_private as private

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("keras_dup", "training", "research", "saved_models")


def _private_names(path):
    """Attributes and methods of other objects that begin with one underscore."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr[0] == "_" and node.attr[:2] != "__":
            yield node.attr


def test_keras_still_has_every_private_name():
    x = keras.Input((4, 4, 3))
    inner = keras.Sequential([keras.layers.Conv2D(2, 1, name="a")], name="inner")
    outer = keras.layers.ReLU(name="b")
    model = keras.Model(x, outer(inner(x)))
    assert private.is_functional(model) and not private.is_functional(outer)
    assert {inner, outer} <= {node.operation for node in private.nodes(model)}
    assert all(hasattr(node, "input_tensors") for node in private.nodes(model))
    assert private.source(model.outputs[0]) is outer
    assert private.calls(outer) == 1
    assert {"inner", "a", "b"} <= {layer.name for layer in private.sublayers(model)}
    assert outer not in private.sublayers(inner) and inner in private.sublayers(inner)
    assert inner not in private.sublayers(inner, include_self=False)
    seen = []

    def call(layer, *inputs, **keywords):
        seen.append(layer.name)
        return layer(*inputs, **keywords)

    image = np.ones((1, 4, 4, 3), "float32")
    np.testing.assert_array_equal(private.run_graph(model, image, call), model(image))
    assert seen[-2:] == ["inner", "b"]


def test_weights_without_values_are_not_filled_later():
    with private.without_values():
        layer = keras.layers.Dense(2)
        layer.build((1, 3))
    with keras.StatelessScope():
        other = keras.layers.Dense(2)
        other.build((1, 3))
    assert layer.kernel.shape == (3, 2) and layer.kernel._value is None
    assert other.kernel._value is not None


def test_keras_s_optimizers_still_have_every_private_name():
    optimizer = keras.optimizers.SGD(0.1, use_ema=True)
    variables = [keras.Variable(np.ones(n), name=f"v{n}") for n in (1, 2)]
    optimizer.build(variables)
    assert [private.variable_index(optimizer, variable) for variable in variables] == [0, 1]
    assert [v.shape for v in private.moving_averages(optimizer)] == [(1,), (2,)]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's trainer alone")
def test_keras_still_builds_from_shapes_where_it_is_told_them():
    for name in ("_maybe_symbolic_build", "_symbolic_build", "distribute_strategy"):
        assert hasattr(keras.Model, name), name


def test_private_names_of_keras_stand_in_one_file():
    known = {*_private_names(ROOT / "keras_dup/_keras_private.py"), "_maybe_symbolic_build"}
    assert {"_nodes_by_depth", "_flatten_layers", "_symbolic_build"} <= known
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "_keras_private.py":
                assert not known & set(_private_names(path)), path
                assert "keras.src" not in path.read_text(), path
