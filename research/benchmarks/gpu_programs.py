"""What `gpu` measures in JAX: networks, their parts, training steps, heads, the chip's ceilings.

Each is a `Program`: traced and lowered here, compiled by the caller, in threads. Networks are built
on the CPU, where the values of weights are made quickly; they move to the GPU to be measured.
"""

import functools
import importlib.util
import math
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import keras
import numpy as np

from keras_dup import export, layers, models, training
from research.benchmarks.networks import keras_hubs_model

CLASSES, RATIO, CHANNELS = 21, 16, 64
FEATURES = {"resnet50": ("b1u2c3",)}  # as in networks.py; of other backbones the default
PARTS = {  # of ResNet-50 at stride 16: how the names of its layers begin, in their order
    "root": "conv1_",
    "pool": "pool1",
    "b1": "b1u",
    "b2": "b2u",
    "b3": "b3u",
    "b4": "b4u",
    "ASPP": "aspp",
    "fusion": "fuse_",
}
HEADS = (CLASSES, 150)


class Program(NamedTuple):
    """A row to measure: `lower()` traces it, `start(compiled)` gives a function to time."""

    part: str
    name: str
    batch: int
    lower: Callable[[], Any]
    start: Callable[[Any], Callable]
    calls: int = 1  # in a row: the GPU need not wait for Python
    facts: Mapping = types.MappingProxyType({})  # of the row


def programs(size: tuple[int, int], batch: int) -> Iterator[Program]:
    """All rows, what matters most first."""
    yield from ceilings()
    for stride in (16, 32):
        yield inference("resnet50", "dupsampling", stride, size, batch)
    yield training_step("resnet50", "dupsampling", 16, size, batch)
    yield inference("xception65", "dupsampling", 16, size, batch)
    for name in ("b4", "ASPP"):
        yield cut(name, size, batch)
    yield from (head(classes, size, batch) for classes in HEADS)
    for stride in (16, 8):
        yield inference("resnet50", "bilinear", stride, size, batch)
    for backbone in ("xception65", "efficientnet_lite0"):
        for stride in (16, 32) if backbone != "xception65" else (32,):
            yield inference(backbone, "dupsampling", stride, size, batch)
    for backbone in ("xception65", "efficientnet_lite0"):
        yield training_step(backbone, "dupsampling", 16, size, batch)
    yield training_step("resnet50", "dupsampling", 32, size, batch)
    yield from (cut(name, size, batch) for name in PARTS if name not in ("b4", "ASPP"))
    for level in ("P4", "P5") if importlib.util.find_spec("keras_hub") else ():
        yield keras_hub(level, size, batch)
    if batch > 1:
        for backbone in ("resnet50", "xception65", "efficientnet_lite0"):
            yield inference(backbone, "dupsampling", 16, size, 1)


def inference(backbone, decoder, stride, size, batch):
    name = f"{backbone}, {'ours' if decoder == 'dupsampling' else 'vanilla'}, stride {stride}"
    build = functools.partial(network, backbone, decoder, stride)
    return forward("inference", name, build, (batch, *size, 3), "float32")


def cut(part, size, batch):
    """ResNet-50 at stride 16, up to the end of a part."""

    def build():
        model = network("resnet50", "dupsampling", 16)
        last = [layer for layer in model.layers if layer.name.startswith(PARTS[part])][-1]
        return keras.Model(model.input, last.output)

    return forward("cut", part, build, (batch, *size, 3), "float32")


def keras_hub(level, size, batch):
    """Its network takes multiples of 32 alone: the next smaller size."""
    size = tuple(side // 32 * 32 for side in size)

    def build():
        with on_cpu():
            image = keras.Input((*size, 3))
            scores = keras_hubs_model(level, "bfloat16")(image / 127.5 - 1)
            scores = keras.ops.image.resize(keras.ops.cast(scores, "float32"), size)
            return keras.Model(image, keras.ops.cast(keras.ops.argmax(scores, -1), "uint8"))

    stride = {"P4": 16, "P5": 32}[level]
    name = f"resnet50, keras-hub, stride {stride}, {size[0]} x {size[1]}"
    return forward("inference", name, build, (batch, *size, 3), "float32")


@functools.cache
def network(backbone, decoder, stride):
    """A network as it is deployed: image batch -> label maps, weights at random, in bfloat16."""
    with on_cpu():
        options = {"decoder": decoder}
        if decoder == "dupsampling":
            options["projection"] = "random"
        features = FEATURES.get(backbone)
        model = models.build(backbone, CLASSES, stride, features, CHANNELS, **options)
        return export.fold(model, dtype="bfloat16")


def head(classes, size, batch):
    """Features (B, H/16, W/16, 64) in bfloat16 -> label maps."""
    shape = (batch, *(-(-side // RATIO) for side in size), CHANNELS)

    def build():
        with on_cpu():
            features = keras.Input(shape[1:], dtype="bfloat16")
            scores = layers.DUpsampling(classes, RATIO, dtype="mixed_bfloat16")(features)
            model = keras.Model(features, layers.AdaptiveTemperatureSoftmax()(scores))
            return export.fold(model)

    cells, scores = math.prod(shape[:3]), RATIO**2 * classes
    # features, W and the mean once; an id is a byte
    moved = cells * (2 * CHANNELS + RATIO**2) + 4 * scores * (CHANNELS + 1)
    facts = {"multiply_adds": cells * CHANNELS * scores, "bytes": moved}
    program = forward("head", f"{classes} classes", build, shape, "bfloat16")
    return program._replace(calls=10, facts=facts)


def forward(part, name, build, shape, dtype):
    """A model whose weights are arguments of the program, not constants in it."""
    kept = {}

    def lower():
        model = kept["model"] = build()

        def call(trainable, non_trainable, x):
            return model.stateless_call(trainable, non_trainable, x, training=False)[0]

        return jax.jit(call).lower(*map(shapes, weights(model)), jax.ShapeDtypeStruct(shape, dtype))

    def start(compiled):
        arguments = *map(on_device, weights(kept.pop("model"))), pixels(shape, dtype)
        return lambda: compiled(*arguments)

    return Program(part, name, shape[0], lower, start)


def training_step(backbone, decoder, stride, size, batch):
    """Forward, backward and SGD of a recipe in mixed_bfloat16, as `keras_dup.training` runs it."""
    recipe = training.Recipe(
        name="step",
        num_classes=CLASSES,
        backbone=backbone,
        output_stride=stride,
        low_level_features=FEATURES.get(backbone),
        decoder=decoder,
        channels=CHANNELS,
        crop_size=tuple(size),
        batch_size=batch,
        dtype_policy="mixed_bfloat16",
    )
    kept = {}

    def lower():
        keras.config.set_dtype_policy(recipe.dtype_policy)
        try:
            with on_cpu():
                model = training.training_copy(training.build_network(recipe), recipe)
        finally:
            keras.config.set_dtype_policy("float32")
        variables = *weights(model), model.optimizer.variables, model.metrics_variables
        kept["state"] = tuple(map(weight_values, variables))
        batch_shapes = (
            jax.ShapeDtypeStruct((batch, *size, 3), "float32"),
            jax.ShapeDtypeStruct((batch, *size), "int32"),
        )
        state = tuple(map(shapes, kept["state"]))
        return jax.jit(model.train_step, donate_argnums=0).lower(state, batch_shapes)

    def start(compiled):
        state = tuple(map(on_device, kept.pop("state")))
        labels = jax.random.randint(jax.random.key(1), (batch, *size), 0, CLASSES)
        data = pixels((batch, *size, 3), "float32"), labels

        def step():
            nonlocal state
            logs, state = compiled(state, data)
            return logs, state

        return step

    return Program("training", f"{backbone}, ours, stride {stride}", batch, lower, start)


def ceilings():
    """A product of two matrices and a copy of a large array, both in bfloat16."""
    side = 8192 if jax.default_backend() == "gpu" else 512
    for name, function, shape, facts in (
        ("product", lambda x: x @ x, (side, side), {"multiply_adds": side**3}),
        ("copy", lambda x: x + 1, (4 * side, side), {"bytes": 2 * 2 * 4 * side**2}),
    ):

        def lower(function=function, shape=shape):
            return jax.jit(function).lower(jax.ShapeDtypeStruct(shape, "bfloat16"))

        def start(compiled, shape=shape):
            x = jax.random.normal(jax.random.key(0), shape, "bfloat16")
            return lambda: compiled(x)

        yield Program("ceiling", name, 1, lower, start, 10, facts)


def on_cpu():
    return keras.device("cpu:0")


def weights(model):
    return weight_values(model.trainable_variables), weight_values(model.non_trainable_variables)


def weight_values(variables):
    return [getattr(variable, "value", variable) for variable in variables]


def shapes(values):
    return [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in values]


def on_device(values):
    return jax.device_put([np.asarray(value) for value in values], jax.devices()[0])


@functools.cache
def pixels(shape, dtype):
    return jax.random.uniform(jax.random.key(0), shape, maxval=255.0).astype(dtype)
