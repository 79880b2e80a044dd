"""On a GPU, through JAX: networks, their training steps and the head alone, beside torchvision's.

    KERAS_BACKEND=jax python -m research.benchmarks.gpu [--size 513 513] [--batch 16] [--runs 20]
        [--backbones resnet50] [--networks "ours, stride 16" ...]
        [--parts inference training head torchvision] [--output FILE.json]

Not run on a GPU yet: only on a CPU at a small size (--size 65 65 --batch 1 --runs 2).

inference: image batch -> label map (B, H, W), 21 classes, `export.fold(dtype="bfloat16")`.
training: a step of a recipe in mixed_bfloat16: forward, backward, SGD with momentum.
head: features (B, H/16, W/16, 64) in bfloat16 -> label map, in float32, as `fold` leaves it, or in
mixed_bfloat16. "rate" is its multiply-adds per second, as a share of those of a product of two
bfloat16 matrices; "bandwidth" its bytes per second (features, W, mean and ids, each once), as a
share of those of adding 1 to a large array.
torchvision: its deeplabv3_resnet50, stride 8, in a process of its own: torch.compile,
channels_last, bfloat16 by autocast. Left out where torch or torchvision is missing.

Random weights; compiled, warm, the rows of a part interleaved, medians. Memory is JAX's plan of a
call, weights and inputs in it; of torch, the peak of its allocator. Below the table stands the
peak of JAX's whole process, which JAX cannot set back; that of one row needs a run of its own.
"""

import argparse
import functools
import importlib.util
import json
import math
import os
import pathlib
import statistics
import sys
import time

from research.benchmarks.machine import machine, printed_by

NETWORKS = {  # decoder, output stride
    "ours, stride 32": ("dupsampling", 32),
    "ours, stride 16": ("dupsampling", 16),
    "vanilla decoder, stride 16": ("bilinear", 16),
    "vanilla decoder, stride 8": ("bilinear", 8),
}
FEATURES = {"resnet50": ("b1u2c3",)}  # as in networks.py; of other backbones the default
CLASSES, RATIO, CHANNELS = 21, 16, 64
PARTS = ("inference", "training", "head", "torchvision")
CALLS = 10  # of a head in a row: the GPU need not wait for Python


def builders(build, arguments):
    """{name: function that gives a function to time, and its MiB} of the networks."""
    return {
        f"{backbone}, {name}": functools.partial(build, backbone, *network, arguments)
        for backbone in arguments.backbones
        for name, network in NETWORKS.items()
        if name in arguments.networks
    }


def inference(backbone, decoder, stride, arguments):
    from keras_dup import export, models

    low_level = features(backbone)
    model = models.build(backbone, CLASSES, stride, low_level, CHANNELS, decoder=decoder)
    return forward(export.fold(model, dtype="bfloat16"), images(arguments))


def forward(model, x):
    """Runs a model whose weights are arguments of the program, not constants in it."""
    import jax

    def call(trainable, non_trainable, x):
        return model.stateless_call(trainable, non_trainable, x, training=False)[0]

    weights = values(model.trainable_variables), values(model.non_trainable_variables)
    program = jax.jit(call).lower(*weights, x).compile()
    return lambda: program(*weights, x), planned(program)


def training(backbone, decoder, stride, arguments):
    import jax
    import keras

    from keras_dup.training import Recipe, build_network, training_copy

    recipe = Recipe(
        name="step",
        num_classes=CLASSES,
        backbone=backbone,
        output_stride=stride,
        low_level_features=features(backbone),
        decoder=decoder,
        channels=CHANNELS,
        crop_size=tuple(arguments.size),
        batch_size=arguments.batch,
        dtype_policy="mixed_bfloat16",
    )
    keras.config.set_dtype_policy(recipe.dtype_policy)
    model = training_copy(build_network(recipe), recipe)
    keras.config.set_dtype_policy("float32")
    shape = arguments.batch, *arguments.size
    batch = images(arguments), jax.random.randint(jax.random.key(1), shape, 0, CLASSES)
    weights = model.trainable_variables, model.non_trainable_variables
    state = tuple(map(values, (*weights, model.optimizer.variables, model.metrics_variables)))
    program = jax.jit(model.train_step, donate_argnums=0).lower(state, batch).compile()

    def step():
        nonlocal state
        logs, state = program(state, batch)
        return logs, state

    return step, planned(program)


def features(backbone):
    return FEATURES.get(backbone)  # None: those of the package


def images(arguments):
    import jax

    shape = arguments.batch, *arguments.size, 3
    return jax.random.uniform(jax.random.key(0), shape, maxval=255.0)


def values(variables):
    return [variable.value for variable in variables]


def planned(program):
    """MiB: arguments, outputs and what is between; an output in an argument's place counts once."""
    plan = program.memory_analysis()
    total = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
    return (total - plan.alias_size_in_bytes) / 2**20


def heads(arguments):
    """Rows of the heads, after the product and the copy that they are compared with."""
    import jax

    side = 8192 if jax.default_backend() == "gpu" else 512
    matrix = jax.random.normal(jax.random.key(0), (side, side), "bfloat16")
    array = jax.random.normal(jax.random.key(0), (4 * side, side), "bfloat16")
    functions = {
        "product": lambda: (functools.partial(jax.jit(lambda x: x @ x), matrix), None),
        "copy": lambda: (functools.partial(jax.jit(lambda x: x + 1), array), None),
    }
    counts = {}  # multiply-adds and bytes
    shape = arguments.batch, *(-(-side // RATIO) for side in arguments.size), CHANNELS
    cells = math.prod(shape[:3])
    for classes in arguments.classes:
        for policy in ("float32", "mixed_bfloat16"):
            name, scores = f"{classes} classes, {policy}", RATIO**2 * classes
            functions[name] = functools.partial(head, classes, policy, shape)
            moved = cells * (2 * CHANNELS + RATIO**2) + 4 * scores * (CHANNELS + 1)
            counts[name] = cells * CHANNELS * scores, moved  # an id is a byte
    rows = measured("head", functions, arguments.runs, jax.block_until_ready, CALLS)
    product, copy = (statistics.median(row["seconds"]) for row in rows[:2])
    rate, bandwidth = side**3 / product, 2 * array.nbytes / copy
    rows[0]["multiply_adds_a_second"], rows[1]["bytes_a_second"] = rate, bandwidth
    for row in rows[2:]:
        if "seconds" in row:
            median, (sums, moved) = statistics.median(row["seconds"]), counts[row["name"]]
            row["rate"], row["bandwidth"] = sums / median / rate, moved / median / bandwidth
    return rows


def head(classes, policy, shape):
    import jax
    import keras

    from keras_dup import export, layers

    features = keras.Input(shape[1:], dtype="bfloat16")
    scores = layers.DUpsampling(classes, RATIO, dtype=policy)(features)
    model = keras.Model(features, layers.AdaptiveTemperatureSoftmax()(scores))
    return forward(export.fold(model), jax.random.normal(jax.random.key(0), shape, "bfloat16"))


def torchvision(train, arguments):
    import torch
    from torchvision.models.segmentation import deeplabv3_resnet50

    cuda = torch.cuda.is_available()
    device, shape = "cuda" if cuda else "cpu", (arguments.batch, *arguments.size)
    torch.backends.cudnn.benchmark = True  # chooses convolutions by their time, as XLA does
    model = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES)
    model = model.to(device, memory_format=torch.channels_last).train(train)
    image = torch.rand(shape[0], 3, *shape[1:], device=device)
    image = image.to(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, shape, device=device)
    sgd = torch.optim.SGD(model.parameters(), 0.007, momentum=0.9, weight_decay=1e-4)

    @torch.compile
    def compiled(image, labels):
        with torch.autocast(device, torch.bfloat16):
            scores = model(image)["out"]  # resized to the image
            if train:
                return torch.nn.functional.cross_entropy(scores, labels)
            return scores.argmax(1).to(torch.uint8)

    def call():
        with torch.set_grad_enabled(train):
            result = compiled(image, labels)
        if train:
            result.backward()
            sgd.step()
            sgd.zero_grad()
        if cuda:
            torch.cuda.synchronize()

    call()
    if not cuda:
        return call, None
    torch.cuda.reset_peak_memory_stats()
    call()
    return call, torch.cuda.max_memory_allocated() / 2**20


def peer(arguments):
    """The rows of torchvision, of a process of its own; none where it is missing."""
    missing = [name for name in ("torch", "torchvision") if not importlib.util.find_spec(name)]
    if missing:
        print(f"torchvision's rows are left out: {' and '.join(missing)} not installed")
        return []
    return json.loads(printed_by("gpu", *sys.argv[1:], "--torch"))


def ours(arguments):
    """The rows of the other parts."""
    import jax
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")  # keras_dup imports it, but the memory is JAX's
    rows = []
    for part, build in (("inference", inference), ("training", training)):
        if part in arguments.parts:
            given = builders(build, arguments)
            rows += measured(part, given, arguments.runs, jax.block_until_ready)
    return rows + (heads(arguments) if "head" in arguments.parts else [])


def measured(part, builders, runs, wait=lambda result: None, calls=1):
    """A row a builder: "part", "name" and "seconds" and "mib", or "failed"."""
    rows, functions = [], []
    for name, build in builders.items():
        rows.append({"part": part, "name": name})
        try:
            function, mib = build()
            for _ in range(2):
                wait(function())
        except Exception as error:  # too little memory: a result too
            rows[-1]["failed"] = f"{type(error).__name__}: {error}"[:300]
            continue
        rows[-1].update(mib=mib, seconds=[])
        functions.append((function, rows[-1]["seconds"]))
    for _ in range(runs):
        for function, seconds in functions:
            start = time.perf_counter()
            wait([function() for _ in range(calls)])
            seconds.append((time.perf_counter() - start) / calls)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[513, 513])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--backbones", nargs="+", default=["resnet50"])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--classes", type=int, nargs="+", default=[CLASSES, 150], help="of the head"
    )
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--torch", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.torch:
        modes = {"inference": False, "training": True}
        given = {name: functools.partial(torchvision, modes[name], arguments) for name in modes}
        print(json.dumps(measured("torchvision", given, arguments.runs)))
        return
    if os.environ.get("KERAS_BACKEND") != "jax":
        parser.error("this is for KERAS_BACKEND=jax")
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # JAX reads it when it first looks
    theirs = peer(arguments) if "torchvision" in arguments.parts else []
    rows = ours(arguments) + theirs
    results = {"size": arguments.size, "batch": arguments.batch, **device(), "rows": rows}
    results["machine"] = machine("jax", *(("torch", "torchvision") if theirs else ()))
    print(table(results), results["machine"], sep="\n")
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


def device():
    """{"device", "peak_mib"}; None for the peak where JAX does not know it, as on a CPU."""
    import jax

    first = jax.devices()[0]
    peak = (first.memory_stats() or {}).get("peak_bytes_in_use")
    return {"device": first.device_kind, "peak_mib": peak and peak / 2**20}


def table(results):
    """The results as Markdown, a row a line."""
    lines = ["| part | row | time | images/s | memory | rate | bandwidth |", f"|{'---|' * 7}"]
    for row in results["rows"]:
        if "failed" in row:
            cells = ["failed: " + row["failed"]]
        else:
            median = statistics.median(row["seconds"])
            of_chip = row["name"] in ("product", "copy")
            cells = [
                f"{1000 * median:.2f} ms",
                "-" if of_chip else f"{results['batch'] / median:.1f}",
                f"{row['mib']:.0f} MiB" if row["mib"] else "-",
                *(f"{100 * row[key]:.1f} %" for key in ("rate", "bandwidth") if key in row),
                *(f"{row[key] / 1e9:.0f} G/s" for key in row if key.endswith("_a_second")),
            ]
            if row["name"] == "copy":  # it has no rate
                cells.insert(3, "-")
        lines.append(f"| {' | '.join([row['part'], row['name'], *cells])} |")
    return "\n".join([*lines, f"{results['device']}, peak of JAX: {results['peak_mib']} MiB"])


if __name__ == "__main__":
    main()
