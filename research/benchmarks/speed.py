"""Image to label map: this package's networks, the vanilla decoder's, and those of its peers.

    python -m research.benchmarks.speed [--size 512 512] [--batch 1] [--runs 9]
        [--runtimes graph xla litert onnxruntime] [--only WORD ...] [--output FILE.json]

The networks are those of networks.py, interleaved, medians. A runtime is TensorFlow's graph mode,
the same compiled by XLA, LiteRT or onnxruntime, all with as many threads as there are cores. Beside
them runs the product of two matrices of 2048 x 2048: "rate" is the multiply-adds of a network a
second, as a share of that product's, in the network's type. The memory is the peak of a process
that runs one network in graph mode, above that of the built network.
"""

import argparse
import ctypes
import json
import os
import pathlib
import re
import statistics
import time

import tensorflow as tf

from keras_dup.data import Shapes
from research import interpreter
from research.benchmarks.machine import machine, printed_by
from research.benchmarks.networks import multiply_adds, networks

PEERS = "keras-hub", "keras-cv", "zeromodels"
SIDE = 2048  # of the matrices
CORES = len(os.sched_getaffinity(0))


def graph(network, image):
    compiled = tf.function(network, autograph=False)
    return lambda: compiled(image).numpy()


def xla(network, image):
    compiled = tf.function(network, autograph=False, jit_compile=True)
    return lambda: compiled(image).numpy()


def litert(network, image):
    concrete = tf.function(network, autograph=False).get_concrete_function(_spec(image))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    run = interpreter.load(content=converter.convert(), threads=CORES)
    return lambda: run(image.numpy())


def onnxruntime(network, image):
    import onnxruntime
    import tf2onnx

    function = tf.function(network, autograph=False)
    converted, _ = tf2onnx.convert.from_function(function, [_spec(image)], opset=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(converted.SerializeToString(), options)
    (given,) = session.get_inputs()
    return lambda: session.run(None, {given.name: image.numpy()})[0]


RUNTIMES = {run.__name__: run for run in (graph, xla, litert, onnxruntime)}


def _spec(image):
    return tf.TensorSpec(image.shape, image.dtype, "image")


def product(dtype):
    """A function that multiplies two matrices."""
    left, right = (tf.cast(tf.random.normal((SIDE, SIDE)), dtype) for _ in range(2))
    return lambda: tf.matmul(left, right)[0, 0].numpy()


def interleaved(functions, runs):
    """{name: seconds of each run}; the first two runs, which trace and warm up, do not count."""
    seconds = {name: [] for name in functions}
    for run in range(runs + 2):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if run > 1:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def memory(name, arguments):
    """MiB of a network in a process of its own."""
    words = ["--size", *arguments.size, "--batch", arguments.batch, "--peak", name]
    return float(printed_by("speed", *words))


def peak(network, image):
    """MiB that a network takes at most while it runs."""
    run = graph(network, image)
    ctypes.CDLL(None).malloc_trim(0)  # what building the network left behind
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = _status("VmRSS")
    for _ in range(3):
        run()
    return _status("VmHWM") - before


def _status(name):
    """A line of /proc/self/status, in MiB: VmRSS is the memory, VmHWM its peak."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 2**10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[512, 512])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=["graph"])
    parser.add_argument("--only", nargs="+", help="words of the names of networks to run")
    parser.add_argument("--output", type=pathlib.Path)
    again = "measure the memory of what is in the file --output again, and nothing else"
    parser.add_argument("--memory", action="store_true", help=again)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    shapes = Shapes(arguments.batch, arguments.size)
    image = tf.stack([tf.cast(shapes.image(i), tf.float32) for i in range(arguments.batch)])
    known = networks(arguments.size)
    if arguments.peak:
        print(peak(known[arguments.peak](), image))
        return
    only = arguments.only or [""]
    if arguments.memory:
        results = json.loads(arguments.output.read_text())
    else:
        chosen = {name: known[name] for name in known if any(word in name for word in only)}
        results = measured(chosen, image, arguments)
    results["mib"] = {name: memory(name, arguments) for name in results["multiply_adds"]}
    peers = [name for name in PEERS if any(name in n for n in results["mib"])]
    results = {"size": arguments.size, "batch": arguments.batch, **results}
    if not arguments.memory:
        results["machine"] = machine(*peers, "ai-edge-litert", "onnxruntime")
    print(table(results), results["machine"], sep="\n")
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1) + "\n")


def measured(builders, image, arguments):
    """{"multiply_adds", "seconds", "products", "failed"} of networks in every runtime."""
    functions, counts, failed = {}, {}, {}
    for name, build in builders.items():
        network = build()
        counts[name] = multiply_adds(network, image)
        for runtime in arguments.runtimes:
            try:
                run = RUNTIMES[runtime](network, image)
                run()
                functions[runtime, name] = run
            except Exception as error:  # a converter does not know an operation: a result too
                text = re.sub(r"/\S+", "", str(error).splitlines()[0])  # without paths
                failed[f"{runtime}: {name}"] = f"{type(error).__name__}: {text}"
    products = {dtype: product(dtype) for dtype in ("float32", "bfloat16")}
    seconds = interleaved({**functions, **products}, arguments.runs)
    return {
        "multiply_adds": counts,
        "products": {dtype: seconds[dtype] for dtype in products},
        "seconds": {
            runtime: {n: seconds[r, n] for r, n in functions if r == runtime}
            for runtime in arguments.runtimes
        },
        "failed": failed,
    }


def table(results):
    """The results as Markdown: a network a line, milliseconds in every runtime."""
    medians = {
        runtime: {name: statistics.median(s) for name, s in networks.items()}
        for runtime, networks in results["seconds"].items()
    }
    (main, of_main), *others = medians.items()
    first, second = list(of_main.values())[:2]
    columns = [main, "of ours at 32", "of ours at 16", "multiply-adds", "rate", "memory"]
    lines = [f"| {' | '.join(['network', *columns, *(name for name, _ in others)])} |"]
    lines.append(f"|{'---|' * (1 + len(columns) + len(others))}")
    for name, median in of_main.items():
        dtype = "bfloat16" if "bfloat16" in name else "float32"
        rate = results["multiply_adds"][name] * results["batch"] / median
        whole = SIDE**3 / statistics.median(results["products"][dtype])
        cells = [
            f"{1000 * median:.0f} ms",
            f"{median / first:.2f}",
            f"{median / second:.2f}",
            f"{results['multiply_adds'][name] / 1e9:.1f} G",
            f"{100 * rate / whole:.0f} %",
            f"{results['mib'][name]:.0f} MiB",
            *(f"{1000 * times[name]:.0f} ms" if name in times else "-" for _, times in others),
        ]
        lines.append(f"| {' | '.join([name, *cells])} |")
    lines += [f"{name} failed: {error}" for name, error in results["failed"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
