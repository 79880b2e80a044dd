"""Runs jobs of `research.decoder_plans` on a device: trains, predicts, measures, in a time limit.

    python -m research.on_device_run FOLDER OUTPUT JOBS.json [--seconds 400]

JOBS.json is a list of {"name", "data", "trials", "seeds", "steps", "chunk"} and, as needed,
"weights" (names of trials whose weights are kept), "count" (train on so many of the items),
"settings", "predict": false, "compile_only": true. Programs are compiled in threads, those of the
first job before the others; jobs run in order. A job that does not fit into what is left of the
seconds is left out and says so. OUTPUT gets a JSON file for each job. Compiled programs are kept
in $COMPILE_CACHE. It needs JAX, NumPy, SciPy, Pillow and tqdm.
"""

import argparse
import concurrent.futures
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import zipfile

import jax
import jax.numpy as jnp
import numpy as np

from research import on_device, on_device_data, on_device_train

BATCH = 8  # of predictions
START = time.time()
IDS = {"camvid": {11: 255}, "animals": {}}


def say(*words):
    print(f"[{time.time() - START:6.1f}]", *words, flush=True)


def read_data(folder, name, split, size):
    if not (folder / f"{name}_{split}.zip").exists():  # enough to compile
        count = {"train": 3131, "val": 302}[split]
        blank = np.broadcast_to(np.uint8(0), (count, *size, 3))
        return {"images": blank, "labels": blank[..., 0], "sizes": np.zeros((count, 2), np.int32)}
    with zipfile.ZipFile(folder / f"{name}_{split}.zip") as archive:
        parts = {"images/": [], "masks/": []}
        for entry in archive.namelist():  # each in the order of the data set
            parts[entry.split("/")[0] + "/"].append(archive.read(entry))
    size = tuple(-(-side // 16) * 16 for side in size) if split == "val" else size
    return on_device_data.decoded(*parts.values(), size, IDS[name])


class Job:
    """A group of networks with its data, its programs and its state."""

    def __init__(self, facts, folder, data):
        self.facts, self.name, self.steps = facts, facts["name"], facts["steps"]
        plan = json.loads((folder / f"{facts['data']}.json").read_text())
        self.classes = plan["classes"]
        with np.load(folder / f"{facts['data']}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        with np.load(folder / "trunk.npz") as file:
            trunk_arrays = {key: file[key] for key in file.files}
        first = next(iter(plan["plans"].values()))["layers"]
        trunk = on_device.split(first)[0]
        names = {layer["name"] for layer in trunk}
        plans, heads = {}, {}
        for trial in facts["trials"]:
            layers = [x for x in plan["plans"][trial]["layers"] if x["name"] not in names]
            plans[trial] = trunk + layers, plan["plans"][trial]["centred"]
            heads[trial] = [head_arrays(arrays, trial, seed) for seed in facts["seeds"]]
        settings = {**plan["settings"], **facts.get("settings", {})}
        settings["crop_size"] = tuple(settings["crop_size"])
        settings = on_device_train.Settings(**settings)
        self.group = on_device_train.Group(plans, settings, facts["seeds"])
        self.state = self.group.start(trunk_arrays, heads)
        train, self.val = data[facts["data"]]
        self.train = {k: v[: facts.get("count", len(v))] for k, v in train.items()}
        orders = [
            on_device_data.epoch_order(
                len(self.train["sizes"]), settings.batch_size, self.steps, seed
            )
            for seed in facts["seeds"]
        ]
        self.order = np.stack(orders, 1)  # (steps, S, B)
        self.losses, self.seconds = [], []

    def compile(self):
        """Compiles both programs; the second one for the predictions."""
        started = time.time()
        shape = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.state)
        arguments = [self.train, self.order[: self.facts["chunk"]], 0, 1.0]
        arguments = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(np.shape(x), jnp.result_type(x)), arguments
        )
        lowered = jax.jit(self.group.chunk, donate_argnums=0).lower(shape, *arguments)
        traced = time.time()
        self.chunk = compiled(lowered)
        say(self.name, "traced", round(traced - started), "compiled", round(time.time() - traced))
        memory = self.chunk.memory_analysis()
        if memory is not None:
            say(self.name, "temporary GiB", round(memory.temp_size_in_bytes / 2**30, 2))

    def compile_predict(self):
        started = time.time()
        shape = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.state)
        images, sizes = self.batches()
        images, sizes = (jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (images, sizes))
        self.predict = compiled(jax.jit(self.group.predict).lower(shape, images, sizes))
        say(self.name, "predict: compiled", round(time.time() - started))

    def batches(self):
        """Images and sizes of val in batches, the last one filled up with the first."""
        count = len(self.val["sizes"])
        index = np.arange(-(-count // BATCH) * BATCH) % count
        images, sizes = self.val["images"][index], self.val["sizes"][index]
        return images.reshape(-1, BATCH, *images.shape[1:]), sizes.reshape(-1, BATCH, 2)

    def run(self, end):
        """Trains until the end of the run, or returns False where it would be after `end`."""
        self.state, data = jax.device_put((self.state, self.train))
        size, begun = self.facts["chunk"], time.time()
        for first in range(0, self.steps, size):
            started = time.time()
            order = self.order[first : first + size]
            self.state, losses = self.chunk(
                self.state, data, order, np.int32(first), np.float32(self.steps)
            )
            self.losses.append(np.asarray(losses).tolist())
            self.seconds.append(time.time() - started)
            done = first + size
            step = np.median(self.seconds) / size
            if done % (10 * size) == 0 or done == size:
                count = losses.size
                say(self.name, done, f"{1000 * step:.1f} ms, {1000 * step / count:.2f} a network")
                say("  losses", *(f"{x:.3f}" for x in np.asarray(losses).mean(1)))
            late = time.time() + step * (self.steps - done)
            if len(self.seconds) > 2 and late > end:
                say(self.name, f"would end {late - end:.0f} s too late: left out")
                return False
            if not np.isfinite(np.asarray(losses)).all():
                say(self.name, "losses are not finite:", np.asarray(losses).round(2).tolist())
        say(self.name, f"trained in {time.time() - begun:.1f} s")
        return True

    def results(self, output, versions):
        """Predicts, starts the measuring in a process, writes what is known."""
        report = {**self.facts, **versions, "losses": self.losses, "seconds": self.seconds}
        (output / f"{self.name}.json").write_text(json.dumps(report))
        for trial in self.facts.get("weights", ()):
            self.keep_weights(output, trial)
        if not self.facts.get("predict", True):
            return None
        found = np.asarray(self.predict(self.state, *self.batches()))
        say(self.name, "predicted")
        folder = pathlib.Path(tempfile.mkdtemp(dir="/dev/shm"))
        np.savez(folder / "truth.npz", labels=self.val["labels"], sizes=self.val["sizes"])
        paths = []
        for i, trial in enumerate(self.facts["trials"]):
            for j, seed in enumerate(self.facts["seeds"]):
                paths.append(folder / f"{trial}_{seed}.npy")
                maps = found[:, i, j].reshape(-1, *found.shape[4:])[: len(self.val["sizes"])]
                np.save(paths[-1], maps)
        words = [sys.executable, "-m", "research.decoder_measure", folder / "truth.npz"]
        words += [self.classes, output / f"{self.name}_measured.json", *paths]
        return subprocess.Popen([str(word) for word in words])

    def keep_weights(self, output, trial):
        """float16 values by layer/variable, of the first seed."""
        i, values = self.facts["trials"].index(trial) * len(self.facts["seeds"]), {}
        for kind in ("trained", "kept"):
            for path, value in self.state[kind]["trunk"].items():
                values[path] = np.asarray(value[i], np.float16)
            for path, value in self.state[kind]["heads"][trial].items():
                values[path] = np.asarray(value[0], np.float16)
        np.savez(output / f"{self.name}_{trial}.npz", **values)


def keep_text(output, job):
    with gzip.open(output / "program.txt.gz", "wt") as file:
        file.write(job.chunk.as_text())


def compiled(lowered):
    """Without Triton's matrix products where XLA knows that option: they take long to compile."""
    try:
        return lowered.compile({"xla_gpu_enable_triton_gemm": False})
    except Exception as error:
        say("compiled without options:", str(error)[:200])
        return lowered.compile()


def head_arrays(arrays, trial, seed):
    """Those of a trial: {layer/variable: value}, of a seed where there are any."""
    mine = [key.split("|") for key in arrays if key.split("|")[0] == trial]
    found = {words[1]: arrays["|".join(words)] for words in mine if len(words) == 2}
    own = {words[1]: arrays["|".join(words)] for words in mine if words[2:] == [str(seed)]}
    return {**found, **own}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("jobs", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=400)
    arguments = parser.parse_args()
    cache = os.environ.get("COMPILE_CACHE")
    if cache:
        jax.config.update("jax_compilation_cache_dir", cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    folder, end = arguments.folder, START + arguments.seconds
    jobs = json.loads(arguments.jobs.read_text())
    device = jax.devices()[0]
    versions = {"device": device.device_kind, "jax": jax.__version__}
    say(versions)
    data = {}
    for name in dict.fromkeys(job["data"] for job in jobs):
        size = json.loads((folder / f"{name}.json").read_text())["size"]
        data[name] = [read_data(folder, name, split, tuple(size)) for split in ("train", "val")]
        say(name, *(part["images"].shape for part in data[name]))
    jobs = [Job(job, folder, data) for job in jobs]
    say("read")
    pool = concurrent.futures.ThreadPoolExecutor(2 * len(jobs))
    programs = [[pool.submit(jobs[0].compile), pool.submit(jobs[0].compile_predict)]]
    measuring = []
    for i, job in enumerate(jobs):
        try:
            programs[i][0].result(timeout=max(1, end - time.time()))
            if i == 0:
                keep_text(arguments.output, job)
                later = [[pool.submit(j.compile), pool.submit(j.compile_predict)] for j in jobs[1:]]
                programs.extend(later)
            if job.facts.get("compile_only"):
                programs[i][1].result(timeout=max(1, end - time.time()))
                continue
            if job.run(end - job.facts.get("after", 8)):
                if job.facts.get("predict", True):
                    programs[i][1].result(timeout=max(1, end - time.time()))
                measuring.append(job.results(arguments.output, versions))
        except Exception as error:  # the other jobs go on
            say(job.name, "failed:", f"{type(error).__name__}: {error}"[:1500])
        job.state = job.train = None
    for process in measuring:
        if process is not None:
            process.wait(max(1, end + 20 - time.time()))
    say("done")
    sys.stdout.flush()
    os._exit(0)  # programs that still compile are of no use


if __name__ == "__main__":
    main()
