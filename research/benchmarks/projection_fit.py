"""From PNGs to W on PASCAL VOC 2012: time, memory and exactness, side by side in one run.

    pip install 'keras-dup[benchmarks]'
    KERAS_DUP_DATA=/where/the/data/lie python -m research.benchmarks.projection_fit

prints a table, and one line of JSON with machine, versions and commit. Times are medians of
--rounds rounds that take every case in turn; each case runs in a process of its own, whose peak
of memory is that of the case. CPU seconds are those of all its processes together: on a machine
that others use, only they can be compared. The exact solution is scipy.linalg.eigh on the dense
covariance. scikit-learn's IncrementalPCA is timed on --part windows and extrapolated to all; its
reconstruction is that of this part, which is drawn at random from all windows. Linear algebra has
one thread in both.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import pathlib
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from PIL import Image
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

from keras_dup import projection
from keras_dup.data import LabelMaps
from research.benchmarks.machine import machine

CHANNELS, CLASSES, MANY = 64, 21, 150


class Relabelled(LabelMaps):
    """VOC's label maps with its classes replaced by some of 150, others in every label map."""

    def __getitem__(self, i):
        classes = np.full(256, 255, np.uint8)
        classes[:CLASSES] = np.random.default_rng(i).permutation(MANY)[:CLASSES]
        return classes[super().__getitem__(i)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times-only", action="store_true")
    parser.add_argument("--peer-only", action="store_true", help="only IncrementalPCA")
    parser.add_argument("--part", type=int, default=8 * 1024, help="windows for IncrementalPCA")
    arguments = parser.parse_args()
    if arguments.times_only:
        report = {"times": times(arguments.rounds), "load": os.getloadavg(), **machine()}
        print_times(report["times"])
        print(json.dumps(report))
        return
    if importlib.util.find_spec("sklearn") is None:  # before minutes of measuring
        parser.error("scikit-learn is missing: pip install 'keras-dup[benchmarks]'")
    if arguments.peer_only:
        print(json.dumps({**peer(arguments.part), **machine("scikit-learn")}))
        return
    found = {"times": times(arguments.rounds), **exactness(), **peer(arguments.part)}
    report = {**found, "channels": CHANNELS, **machine("scikit-learn")}
    print_table(report)
    print(json.dumps(report))


def times(rounds):
    """{case: {"seconds", "cpu_seconds", "peak_mib"}}, medians."""
    two = min(2, os.cpu_count())
    train, many = label_maps("train"), label_maps("train", Relabelled)
    cases = {
        "decode, 1 process": lambda: decode(train.files, 1),
        "fit r=16 C=21, 1 process": lambda: fit(train, CLASSES, 16, 1),
        "decode, 2 processes": lambda: decode(train.files, two),
        "fit r=16 C=21, 2 processes": lambda: fit(train, CLASSES, 16, two),
        "fit r=32 C=21, 2 processes": lambda: fit(train, CLASSES, 32, two),
        "fit r=16 C=150, 2 processes": lambda: fit(many, MANY, 16, two),
        "fit r=32 C=150, 2 processes": lambda: fit(many, MANY, 32, two),
    }
    runs = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            runs[name].append(alone(case))
    return {
        name: {
            key: round(statistics.median(run[key] for run in some), 2)
            for key in ("seconds", "cpu_seconds", "peak_mib")
        }
        for name, some in runs.items()
    }


def alone(case):
    """Runs a case in a process of its own."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def run():
        start = time.perf_counter()
        case()
        seconds = time.perf_counter() - start
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu, peak = sum(u.ru_utime + u.ru_stime for u in used), used[0].ru_maxrss / 1024
        sender.send({"seconds": seconds, "cpu_seconds": cpu, "peak_mib": peak})

    process = context.Process(target=run)
    process.start()
    result = receiver.recv()
    process.join()
    return result


def label_maps(part, kind=LabelMaps):
    folder = pathlib.Path(os.environ["KERAS_DUP_DATA"]) / "voc2012"
    return kind(folder / "SegmentationClass", CLASSES, folder / f"{part}.txt")


def decode(files, workers):
    if workers == 1:
        return decode_some(files)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        return list(pool.map(decode_some, [files[i : i + 16] for i in range(0, len(files), 16)]))


def decode_some(files):
    for file in files:
        with Image.open(file) as image:
            np.asarray(image)


def fit(maps, num_classes, ratio, workers):
    return projection.fit(maps, num_classes, ratio, CHANNELS, workers=workers)


def exactness():
    """W against the dense solution."""
    counts = projection.count_windows(label_maps("train"), CLASSES, 16, workers=os.cpu_count())
    fitted = projection.fit_counts(counts, CLASSES, 16, CHANNELS)
    exact = dense(counts)
    angle = linalg.subspace_angles(fitted.matrix[:32].T.astype(float), exact[:32].T)[0]
    rebuilt = {
        "pca": fitted,
        "exact": projection.LabelProjection(
            exact.astype(np.float32), fitted.mean, fitted.explained_variance_ratio, CLASSES, 16
        ),
    }
    return {
        "windows": int(counts.counts.sum()),
        "distinct_windows": len(counts),
        "angle_of_first_32": float(angle),
        **{f"miou_{name}": miou(some) for name, some in rebuilt.items()},
    }


def dense(counts):
    """The eigenvectors as rows, float64."""
    weights = counts.counts / counts.counts.sum()
    windows, size = counts.windows, 16 * 16 * CLASSES
    columns = np.arange(16 * 16) * CLASSES + windows
    starts = np.arange(0, columns.size + 1, 16 * 16)
    one_hot = sparse.csr_array(
        (np.ones(columns.size), columns.ravel(), starts), shape=(len(windows), size)
    )
    mean = one_hot.T @ weights
    second = (one_hot.T @ (one_hot * weights[:, None])).toarray()
    covariance = second - np.outer(mean, mean)
    with threadpool_limits(1):
        vectors = linalg.eigh(covariance, subset_by_index=(size - CHANNELS, size - 1))[1]
    return vectors[:, ::-1].T


def miou(fitted):
    return projection.reconstruction_miou(fitted, label_maps("val"), workers=os.cpu_count())


def peer(part, batch=1024):
    """scikit-learn's IncrementalPCA on the same one-hot windows."""
    from sklearn.decomposition import IncrementalPCA

    counts = projection.count_windows(label_maps("train"), CLASSES, 16, workers=os.cpu_count())
    total = int(counts.counts.sum())
    drawn = np.random.default_rng(0).choice(len(counts), part, p=counts.counts / total)
    solver, start = IncrementalPCA(CHANNELS), time.perf_counter()
    with threadpool_limits(1):  # as `fit` does: threads lose where others use the cores
        for i in range(0, part, batch):
            windows = counts.windows[drawn[i : i + batch]]
            solver.partial_fit(np.eye(CLASSES)[windows].reshape(len(windows), -1))
    seconds = time.perf_counter() - start
    fitted = projection.LabelProjection(
        solver.components_.astype(np.float32),
        solver.mean_.astype(np.float32),
        solver.explained_variance_ratio_,
        CLASSES,
        16,
    )
    return {
        "peer_windows": part,
        "peer_seconds": round(seconds, 2),
        "peer_seconds_for_all": round(seconds * total / part, 1),
        "miou_peer": miou(fitted),
    }


def print_times(runs):
    for name, run in runs.items():
        both = f"{run['seconds']:9.2f} s{run['cpu_seconds']:9.2f} s CPU"
        print(f"{name:32}{both}{run['peak_mib']:9.0f} MiB")
    ratios = {
        f"fit / decode, {layout}": (f"fit r=16 C=21, {layout}", f"decode, {layout}")
        for layout in ("1 process", "2 processes")
    }
    for case in ("r=32 C=21", "r=16 C=150", "r=32 C=150"):
        of = f"fit {case}, 2 processes", "fit r=16 C=21, 2 processes"
        ratios[f"{case} / r=16 C=21, per pixel"] = of
    for name, (one, other) in ratios.items():
        wall, cpu = (runs[one][key] / runs[other][key] for key in ("seconds", "cpu_seconds"))
        print(f"{name:32}{wall:9.2f}  {cpu:9.2f}   CPU")


def print_table(report):
    print_times(report["times"])
    one = report["times"]["fit r=16 C=21, 1 process"]["seconds"]
    print(f"largest angle to the exact 32    {report['angle_of_first_32']:9.1e} rad")
    for name in ("pca", "exact", "peer"):
        print(f"reconstruction mIoU, {name:12}{100 * report[f'miou_{name}']:9.3f} %")
    print(
        f"IncrementalPCA: {report['peer_seconds']} s for {report['peer_windows']} windows, "
        f"{report['peer_seconds_for_all']} s for all (extrapolated): "
        f"{report['peer_seconds_for_all'] / one:.0f} times the fit by 1 process"
    )


if __name__ == "__main__":
    main()
