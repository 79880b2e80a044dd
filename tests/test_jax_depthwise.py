"""Depthwise convolution and pooling on JAX: values and gradients of XLA's own, and its programs."""

import functools
import os
import re

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax import lax

from keras_dup import _keras_private, models
from keras_dup._jax.depthwise import depthwise_conv
from keras_dup._jax.pooling import max_pool

CHANNELS = 4


def library_conv(x, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """XLA's own convolution, as Keras calls it."""
    pairs = [(n, n) if isinstance(n, int) else n for n in (strides, dilation_rate)]
    numbers = ("NHWC", "HWIO", "NHWC")
    kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    groups = x.shape[-1]
    return lax.conv_general_dilated(
        x, kernel, pairs[0], padding.upper(), None, pairs[1], numbers, groups
    )


def shifted(x, kernel, **options):
    return depthwise_conv(pytest.fail, x, kernel, **options)


def draw(size, kernel_size, batch=2, channels=CHANNELS):
    rng = np.random.default_rng(0)
    shapes = (batch, *size, channels), (*kernel_size, channels, 1)
    return [jnp.asarray(rng.normal(0, 1, shape), "float32") for shape in shapes]


def value_and_gradients(convolve, x, kernel, **options):
    y, pull = jax.vjp(lambda x, kernel: convolve(x, kernel, **options), x, kernel)
    slope = jnp.cos(jnp.arange(y.size, dtype="float32")).reshape(y.shape).astype(y.dtype)
    return y, *pull(slope)


def used():
    """What the depthwise convolutions of the backbones and of ASPP are called with."""
    found = set()
    with _keras_private.without_values():
        for backbone in ("xception71", "efficientnet_lite2", "mobilenet_v2"):
            found |= {
                (layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate)
                for layer in models.build(backbone, 3, 8, projection="random").layers
                if isinstance(layer, keras.layers.DepthwiseConv2D)
            }
    return sorted(found)


def test_every_convolution_of_the_networks_equals_xla_s_own_in_value_and_gradients():
    convolutions = [*used(), ((2, 3), (2, 1), "same", (1, 1)), ((3, 3), (3, 2), "valid", (1, 1))]
    assert len(convolutions) > 8

    @jax.jit
    def both():
        pairs = []
        for kernel_size, strides, padding, rates in convolutions:
            options = {"strides": strides, "padding": padding, "dilation_rate": rates}
            x, kernel = draw((13, 10), kernel_size)
            pairs += zip(
                value_and_gradients(shifted, x, kernel, **options),
                value_and_gradients(library_conv, x, kernel, **options),
                strict=True,
            )
        return pairs

    for ours, theirs in both():
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        # sums of at most 260 products of about 1 in float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5)


def test_bfloat16_is_the_float32_result_rounded_once():
    x, kernel = (value.astype("bfloat16") for value in draw((9, 9), (3, 3)))

    @jax.jit
    def both(x, kernel):
        wide = (value.astype("float32") for value in (x, kernel))
        return shifted(x, kernel, padding="same"), shifted(*wide, padding="same")

    narrow, wide = both(x, kernel)
    np.testing.assert_array_equal(narrow, wide.astype("bfloat16"))


def test_what_has_no_sum_of_products_runs_keras_s_own():
    x, kernel = draw((9, 9), (3, 3))
    wide = jnp.concatenate([kernel, kernel], axis=-1)
    for arguments, options in (
        ((x, wide), {}),
        ((jnp.moveaxis(x, -1, 1), kernel), {"data_format": "channels_first"}),
        ((x[:, 0], kernel[0]), {}),
        (draw((9, 9), (8, 8)), {}),
    ):
        assert depthwise_conv(lambda *arguments: "Keras's", *arguments, **options) == "Keras's"


def test_max_pooling_equals_xla_s_own_and_among_equal_values_the_first_has_the_gradient():
    x = jnp.maximum(draw((9, 8), (1, 1))[0], 0)  # after ReLU: many equal values
    pools = [
        ((3, 3), 2, "valid"),
        ((1, 1), 2, "valid"),
        ((2, 3), (2, 1), "same"),
        (2, None, "same"),
    ]

    def library_pool(x, size, strides, padding):
        pairs = [(n, n) if isinstance(n, int) else n for n in (size, strides or size)]
        window, steps = ((1, *pair, 1) for pair in pairs)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, steps, padding.upper())

    @jax.jit
    def both(x):
        pairs = []
        for options in pools:
            for pool in (functools.partial(max_pool, pytest.fail), library_pool):
                y, pull = jax.vjp(lambda x, pool=pool, options=options: pool(x, *options), x)
                slope = jnp.cos(jnp.arange(y.size, dtype="float32")).reshape(y.shape)
                pairs.append((y, *pull(slope)))
        return pairs

    found = both(x)
    for ours, theirs in zip(found[::2], found[1::2], strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6, atol=1e-6)


def instructions(program):
    """[(operation, shape)] of the main computation, parameters left out."""
    text = program.as_text()
    main = text[text.index("\nENTRY ") :].partition("\n}")[0]
    found = re.findall(r"= (\S+?)\{?[\d,]*\}? ([a-z-]+)\(", main)
    return [(name, shape) for shape, name in found if name != "parameter"]


@pytest.mark.skipif("JAX_DISABLE_MOST_OPTIMIZATIONS" in os.environ, reason="XLA is told to do less")
def test_xla_makes_one_pass_of_it_without_copies():
    x, kernel = draw((17, 17), (3, 3), channels=16)

    def network(x, kernel):
        return shifted(jnp.maximum(x, 0), kernel, padding="same", dilation_rate=2)

    program = jax.jit(network).lower(x, kernel).compile()
    names = [name for name, _ in instructions(program)]
    assert "convolution" not in program.as_text() and "copy" not in names
    whole = f"f32[{','.join(map(str, x.shape))}]"
    full = [name for name, shape in instructions(program) if shape == whole]
    assert len(full) <= 2, instructions(program)  # ReLU's result, and the convolution's


def test_a_program_for_a_gpu_has_no_convolution_either():
    x, kernel = draw((9, 9), (3, 3))

    def gradient(x, kernel):
        return value_and_gradients(shifted, x, kernel, padding="same")

    exported = jax.export.export(jax.jit(gradient), platforms=["cuda"])(x, kernel)
    assert "stablehlo.convolution" not in exported.mlir_module()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="of the JAX backend")
def test_keras_s_own_layers_call_it_and_keep_their_names_and_files(tmp_path, monkeypatch):
    calls = []
    image = keras.Input((6, 6, 2))
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(image)
    x = keras.layers.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    model = keras.Model(image, x)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    batch = np.ones((1, 6, 6, 2), "float32")
    expected = model(batch)
    from keras_dup._jax import depthwise

    convolve = depthwise._compiled
    monkeypatch.setattr(depthwise, "_compiled", lambda *args: calls.append(1) or convolve(*args))
    np.testing.assert_array_equal(loaded(batch), expected)
    assert len(calls) == 2
