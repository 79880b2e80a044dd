"""Load test of a SavedModel: images per second, latency, memory, and whether answers stay the same.

    python -m research.benchmarks.serving [SAVED_MODEL] [--callers 32] [--requests 10000]
        [--signature serve_encoded] [--size 64 64] [--address localhost:8500]

SAVED_MODEL is the folder of a version, as `exported/saved_model/1`; without one a network of one
convolution is exported. A process of its own serves it with the gRPC interface of TensorFlow
Serving. With --address a server that runs on this machine is called, which serves it as "dup"; its
memory is then not measured. Each request holds one of 8 images, and its answer is compared with
the one that a single caller got. Latency is that of the callers, which share the cores with the
server.
"""

import argparse
import concurrent.futures
import contextlib
import itertools
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from keras_dup import export
from keras_dup.data import Shapes
from research import served
from research.benchmarks.machine import machine
from research.benchmarks.memory import resident

IMAGES, WORKERS = 8, 4
HOSTS = "localhost", "127.0.0.1", "[::1]"


def tiny():
    """A network that takes no time: what is left is the server's."""
    image = keras.Input((None, None, 3))
    scores = keras.layers.Conv2D(3, 3, padding="same")(image)
    return keras.Model(image, keras.layers.Softmax()(scores))


def requests(signature, size):
    """One request per image."""
    from tensorflow_serving.apis import predict_pb2

    found = []
    for i in range(IMAGES):
        image = Shapes(IMAGES, size).image(i)
        if signature == "serve_encoded":
            key, value = "image_bytes", [tf.io.encode_jpeg(image).numpy()]
        else:
            kind = "uint8" if signature == "serve_uint8" else "float32"
            key, value = "image", image[None].astype(kind)
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = served.NAME, signature
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        found.append(request)
    return found


@contextlib.contextmanager
def caller(address):
    """The function request -> outputs of a server."""
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        yield lambda request: dict(stub.Predict(request, timeout=60).outputs)


def load(call, given, expected, callers, total, on_tenth=lambda tenth: None):
    """Calls `total` times from `callers` threads; request i is given[i % len(given)].

    Returns: {"images_per_second", "latency": {percent: seconds}, "different": answers that are not
        the expected ones}.
    """
    numbers = itertools.count()

    def calls():
        seconds, different = [], 0
        while (i := next(numbers)) < total:
            start = time.perf_counter()
            answer = call(given[i % len(given)])
            seconds.append(time.perf_counter() - start)
            different += answer != expected[i % len(given)]
            if (i + 1) % max(1, total // 10) == 0:
                on_tenth((i + 1) // max(1, total // 10))
        return seconds, different

    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(callers) as pool:
        parts = [future.result() for future in [pool.submit(calls) for _ in range(callers)]]
    elapsed = time.perf_counter() - start
    seconds = np.concatenate([found for found, _ in parts])
    return {
        "images_per_second": total / elapsed,
        "latency": {p: float(np.percentile(seconds, p)) for p in (50, 95, 99)},
        "different": sum(different for _, different in parts),
    }


@contextlib.contextmanager
def process(folder):
    """(address, process id) of a server that ends with the block."""
    command = [sys.executable, "-m", "research.benchmarks.serving", str(folder), "--serve"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as running:
        try:
            yield running.stdout.readline().strip(), running.pid
        finally:
            running.stdin.close()  # it waits for that


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("saved_model", nargs="?")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--requests", type=int, default=10_000)
    signatures = "serve_encoded", "serve_uint8", "serving_default"
    parser.add_argument("--signature", choices=signatures, default=signatures[0])
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), metavar="SIDE")
    parser.add_argument("--address", help="of a server that runs on this machine")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.address and found.address.rpartition(":")[0] not in HOSTS:
        parser.error(f"--address {found.address}: a server on this machine is expected, {HOSTS}")
    return found


def main():
    options = parsed()
    if options.serve:
        with served.server(options.saved_model, WORKERS) as address:
            print(address, flush=True)
            sys.stdin.read()
        return
    print(machine())
    with contextlib.ExitStack() as stack:
        address, number = options.address, None
        if address is None:
            folder = options.saved_model
            if folder is None:
                place = stack.enter_context(tempfile.TemporaryDirectory())
                folder = export.saved_model(tiny(), place, verbose=False)["path"]
            address, number = stack.enter_context(process(folder))
        call, given = (
            stack.enter_context(caller(address)),
            requests(options.signature, options.size),
        )
        expected = [call(request) for request in given]
        memory = []

        def note(tenth):
            memory.append(resident(number) if number else 0)
            print(f"{tenth} of 10: {memory[-1]:.0f} MiB", flush=True)

        found = load(call, given, expected, options.callers, options.requests, note)
    latency = ", ".join(f"{p} % {1000 * s:.0f} ms" for p, s in found["latency"].items())
    print(
        f"{options.requests} requests, {options.callers} callers, {options.signature}, "
        f"{options.size[0]} x {options.size[1]}: {found['images_per_second']:.0f} images per "
        f"second, latency {latency}, {found['different']} answers differ from a single caller's"
    )


if __name__ == "__main__":
    main()
