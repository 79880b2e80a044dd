"""On a GPU, through JAX: networks, their parts, training steps and the head, beside their peers.

    KERAS_BACKEND=jax python -m research.benchmarks.gpu --output FILE.json [--seconds 480]
        [--size 513 513] [--batch 16] [--runs 20] [--only TEXT ...]

Ends within the seconds, whatever does not compile: the peer first, in a process of its own; then
all programs compile in threads, what matters most first; then what is ready is measured, rows in
turn, medians. What did not fit is named. FILE.json gets the rows, and which of the bounds
of `gpu_report.must_hold` hold; FILE.png shows them where Matplotlib is installed.

inference: image batch -> label map, 21 classes, `export.fold(dtype="bfloat16")`. cut: ResNet-50 at
stride 16 up to the end of a part. training: a step of a recipe in mixed_bfloat16. head: features ->
label map. "rate" is multiply-adds per second as a share of those of a product of two bfloat16
matrices, "bandwidth" bytes per second as a share of those of adding 1 to a large array.
torchvision: deeplabv3_resnet50, stride 8, compiled, channels last, bfloat16. input: JPEGs ->
training batches. Peers are left out where they are not installed. Memory is JAX's plan of a call,
weights and inputs in it; of torch, the peak of its allocator.

A machine with JAX and PyTorch needs neither TensorFlow nor a network. What it lacks of Keras's
needs travels as wheels, fetched for its version of Python:

    pip download --no-deps --only-binary :all: --python-version 3.12 -d wheels \
        keras==3.15.1 namex optree
    pip install --no-index --no-deps --target site wheels/*.whl; export PYTHONPATH=site
"""

import argparse
import concurrent.futures
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

START = time.time()
TORCH, COMPILE = 0.4, 0.75  # shares of the seconds at which these end
RESERVE = 60  # seconds for the input, a second start, the picture
LEAST_RUNS = 3


def say(*words):
    print(f"[{time.time() - START:5.0f}]", *words, flush=True)


class Torchvision:
    """The peer's process: its rows, and when the GPU is free of it."""

    def __init__(self, arguments, end):
        self.rows, self.gone = [], threading.Event()
        missing = [name for name in ("torch", "torchvision") if not importlib.util.find_spec(name)]
        if missing or not arguments.torch:
            say(f"torchvision's rows are left out: {' and '.join(missing) or '--no-torch'}")
            self.gone.set()
            return
        words = ["--size", *arguments.size, "--batch", arguments.batch, "--runs", arguments.runs]
        command = [sys.executable, "-m", "research.benchmarks.gpu_torch", *map(str, words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        timer = threading.Timer(max(1, end - time.time()), process.kill)
        timer.start()

        def read():
            self.rows += map(json.loads, process.stdout)
            process.wait()
            timer.cancel()
            say(f"torchvision: {len(self.rows)} rows")
            self.gone.set()

        threading.Thread(target=read, daemon=True).start()


def compile_all(programs, gpu_free, end):
    """[(program, row, compiled)] of what is ready in time; rows of the others say "failed"."""
    pool = concurrent.futures.ThreadPoolExecutor(max(2, (os.cpu_count() or 2) // 2))
    entries = []

    def compile_one(lowered, row):
        gpu_free.wait()
        started = time.time()
        compiled = lowered.compile()
        row["compile_seconds"] = time.time() - started
        plan = compiled.memory_analysis()
        total = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
        row["mib"] = (total - plan.alias_size_in_bytes) / 2**20
        return compiled

    for program in programs:
        row = {"part": program.part, "name": program.name, "batch": program.batch, **program.facts}
        future, started = None, time.time()
        if started > end:
            row["failed"] = "left out: no time to trace it"
        else:
            try:
                lowered = program.lower()
                row["trace_seconds"] = time.time() - started
                future = pool.submit(compile_one, lowered, row)
            except Exception as error:
                row["failed"] = f"{type(error).__name__}: {error}"[:300]
        entries.append((program, row, future))
    say(f"{len(entries)} programs traced")
    for i, (program, row, future) in enumerate(entries):
        compiled = None
        if future:
            try:
                compiled = future.result(max(0.1, end - time.time()))
            except concurrent.futures.TimeoutError:
                row["failed"] = "left out: not compiled in time"
            except Exception as error:
                row["failed"] = f"{type(error).__name__}: {error}"[:300]
        entries[i] = program, row, compiled
    pool.shutdown(wait=False, cancel_futures=True)
    say(f"{sum(compiled is not None for *_, compiled in entries)} programs compiled")
    return entries


def measure(entries, runs, end):
    """Adds "seconds" to the rows, one run of each in turn."""
    import jax

    ready = []
    for program, row, compiled in entries:
        if compiled is None:
            continue
        try:
            function = program.start(compiled)
            for _ in range(2):
                jax.block_until_ready(function())
        except Exception as error:  # too little memory: a result too
            row["failed"] = f"{type(error).__name__}: {error}"[:300]
            continue
        row["seconds"] = []
        ready.append((program, row, function))
    for run in range(runs):
        for program, row, function in ready:
            if run >= LEAST_RUNS and time.time() > end:
                continue
            start = time.perf_counter()
            jax.block_until_ready([function() for _ in range(program.calls)])
            row["seconds"].append((time.perf_counter() - start) / program.calls)
    say("measured")


def second_start(programs):
    """Seconds to trace ResNet-50's training step again and to take it from JAX's cache."""
    import jax

    jax.clear_caches()
    started = time.time()
    program = next(x for x in programs if x.part == "training")
    program.lower().compile()
    return time.time() - started


def input_speed(arguments, seconds=6.0):
    """Images per second from JPEGs to training batches: in all, and per second of a core."""
    from PIL import Image

    from keras_dup import data

    with tempfile.TemporaryDirectory() as folder:
        drawn, folder = data.Shapes(32, (375, 500)), pathlib.Path(folder)
        for kind in ("images", "masks"):
            (folder / kind).mkdir()
        for i in range(len(drawn)):
            Image.fromarray(drawn.image(i)).save(folder / "images" / f"{i}.jpg", quality=90)
            Image.fromarray(drawn.label_map(i)).save(folder / "masks" / f"{i}.png")
        files = data.Folder(folder / "images", folder / "masks", drawn.num_classes)
        batches = data.train_batches(files, arguments.batch, tuple(arguments.size))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(batches.__getitem__, range(2)))
            wall, cpu, count = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - wall < seconds:
                count += sum(len(batch[0]) for batch in pool.map(batches.__getitem__, range(4)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"images_per_second": count / wall, "per_core": count / cpu, "cores": os.cpu_count()}


def main():
    arguments = parse()
    end = START + arguments.seconds
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # JAX reads it when it first looks
    last = threading.Timer(end - time.time(), out_of_time)
    last.daemon = True
    last.start()
    torchvision = Torchvision(arguments, START + TORCH * arguments.seconds)
    import jax

    from research.benchmarks import gpu_programs, gpu_report
    from research.benchmarks.machine import machine

    with tempfile.TemporaryDirectory() as cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        programs = [
            program
            for program in gpu_programs.programs(tuple(arguments.size), arguments.batch)
            if any(text in f"{program.part} {program.name}" for text in arguments.only)
        ]
        compile_until = START + COMPILE * arguments.seconds
        entries = compile_all(programs, torchvision.gone, compile_until)
        torchvision.gone.wait()
        measure(entries, arguments.runs, end - RESERVE)
        rows = [row for _, row, _ in entries] + torchvision.rows
        results = {"size": arguments.size, "batch": arguments.batch, **device(), "rows": rows}
        results["machine"] = machine("jax", "torch", "torchvision", "keras-hub")
        gpu_report.add_shares(results)
        keep(results, arguments.output)  # whatever happens to the rest
        results["input"] = attempt(input_speed, arguments)
        if any(row["part"] == "training" and "seconds" in row for row in rows):
            results["second_start"] = attempt(second_start, programs)
    results["must_hold"] = gpu_report.must_hold(results)
    print(gpu_report.text(results), results["machine"], sep="\n")
    keep(results, arguments.output)
    if arguments.output:
        attempt(gpu_report.draw, results, arguments.output.with_suffix(".png"))
    say("done")
    sys.stdout.flush()
    os._exit(0)  # programs that still compile are of no use


def attempt(function, *arguments):
    """What a function gives; None, and a line, for one that fails: the rows are not lost."""
    try:
        return function(*arguments)
    except Exception as error:
        say(f"{function.__name__} failed: {type(error).__name__}: {error}"[:300])


def keep(results, path):
    if path:
        path.write_text(json.dumps(results, indent=1) + "\n")


def out_of_time():
    say("out of time: what was measured so far is in the file")
    sys.stdout.flush()
    os._exit(1)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[513, 513])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--only", nargs="+", default=[""], help="rows with a text in their name")
    parser.add_argument("--no-torch", dest="torch", action="store_false")
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    if os.environ.get("KERAS_BACKEND") != "jax":
        parser.error("this is for KERAS_BACKEND=jax")
    return arguments


def device():
    """{"device", "peak_mib"}; None for the peak where JAX does not know it, as on a CPU."""
    import jax

    first = jax.devices()[0]
    peak = (first.memory_stats() or {}).get("peak_bytes_in_use")
    return {"device": first.device_kind, "peak_mib": peak and peak / 2**20}


if __name__ == "__main__":
    main()
