"""Where the time of a network goes: `python -m research.benchmarks.operations "ours, stride 32"`.

One line a kind of operation, as TensorFlow runs it after fusing: how often, the sum of the times
(several may run at once), and of convolutions the billions of multiply-adds per second. Names as in
networks.py; medians over the runs of each operation's time.
"""

import argparse
import collections
import math
import statistics

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from keras_dup.data import Shapes
from research.benchmarks.machine import machine
from research.benchmarks.networks import networks

LARGEST = 8  # operations that are listed by name


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=networks(()), metavar="NETWORK")
    parser.add_argument("--size", type=int, nargs=2, default=[512, 512])
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args(arguments)
    image = tf.cast(Shapes(1, arguments.size).image(0)[None], tf.float32)
    network = networks(arguments.size)[arguments.network]()
    function = tf.function(network, autograph=False).get_concrete_function(image)
    frozen = convert_to_constants.convert_variables_to_constants_v2(function)
    runs = traced(frozen, image.numpy(), arguments.runs)
    micros = {name: statistics.median(run[name][1] for run in runs) for name in runs[-1]}
    kinds = {name: kind for name, (kind, _) in runs[-1].items()}
    costs = convolutions(frozen.graph)
    whole, groups = sum(micros.values()), collections.defaultdict(list)
    for name, kind in kinds.items():
        groups[kind].append(name)
    print(f"{arguments.network}: {whole / 1000:.1f} ms in {len(micros)} operations")
    for kind, names in sorted(groups.items(), key=lambda item: -sum(micros[n] for n in item[1])):
        time = sum(micros[name] for name in names)
        if time > 0.002 * whole:
            print(f"{kind:32} {len(names):4} {time / 1000:8.2f} ms {100 * time / whole:5.1f} %")
    print("the largest:")
    for name in sorted(micros, key=lambda name: -micros[name])[:LARGEST]:
        rate = f"{costs[name] / micros[name] / 1000:6.0f} G/s" if name in costs else ""
        print(f"  {micros[name] / 1000:8.2f} ms {rate:>10}  {kinds[name]} {name[-60:]}")
    print(machine())


def traced(frozen, image, runs):
    """[{operation: (kind, microseconds)}] of runs in a session, without the first two."""
    found = []
    options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
    with tf.compat.v1.Session(graph=frozen.graph) as session:
        for _ in range(runs + 2):
            told = tf.compat.v1.RunMetadata()
            feed = {frozen.inputs[0].name: image}
            session.run(frozen.outputs[0].name, feed, options=options, run_metadata=told)
            nodes = [node for device in told.step_stats.dev_stats for node in device.node_stats]
            found.append({node.node_name: (_kind(node), _micros(node)) for node in nodes})
    every = set.intersection(*(set(run) for run in found[2:]))
    return [{name: run[name] for name in every} for run in found[2:]]


def _kind(node):
    return node.timeline_label.partition(" = ")[2].partition("(")[0] or node.node_name


def _micros(node):
    return (node.op_end_rel_nanos - node.op_start_rel_nanos) / 1000


def convolutions(graph):
    """{operation: multiply-adds}; fusing keeps the name of the last operation that is fused in."""
    found = {}
    for operation in graph.get_operations():
        if operation.type == "Conv2D":
            inputs, output = operation.inputs[1].shape, operation.outputs[0].shape
            count = math.prod(inputs[:3]) * math.prod(output)
            while operation.type in ("Conv2D", "BiasAdd", "AddV2", "Relu", "Relu6"):
                found[operation.name] = count
                readers = operation.outputs[0].consumers()
                if len(readers) != 1:
                    break
                operation = readers[0]
    return found


if __name__ == "__main__":
    main()
