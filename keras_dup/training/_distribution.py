"""On which devices and machines a run trains, and how a batch is spread over them."""

import contextlib
import functools
import json
import os
import sys

import keras

from keras_dup import data
from keras_dup._loss_terms import over_replicas
from keras_dup.training._errors import WorkerLost


@functools.cache
def strategy(devices=()):
    """What the backend, the environment and the devices ask for; one a process.

    TensorFlow: `MultiWorkerMirroredStrategy` where $TF_CONFIG names several workers,
    `MirroredStrategy` over several devices, else TensorFlow's default. JAX: data-parallel over its
    devices through `keras.distribution`, where a batch is one array: here there is one replica.

    Args:
        devices: names like "gpu:0", "cpu:1"; () for all GPUs, or else all CPUs.
    """
    if keras.backend.backend() == "tensorflow":
        return _of_tensorflow(devices)
    if keras.backend.backend() == "jax":
        devices = list(devices) or keras.distribution.list_devices()
        if len(devices) > 1:
            keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return _OneReplica()


class _OneReplica:
    """What is used of a `tf.distribute.Strategy`, where there is none."""

    num_replicas_in_sync = 1
    scope = staticmethod(contextlib.nullcontext)


def _of_tensorflow(devices):
    import tensorflow as tf

    if is_multi_worker():
        return tf.distribute.MultiWorkerMirroredStrategy()
    if not devices:
        kinds = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
        devices = [device.name for device in next(filter(None, kinds))]
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.get_strategy()


def is_multi_worker():
    return len(_cluster()) > 1


def is_chief():
    """Whether this process is the one that writes files and prints."""
    task = _config().get("task", {})
    first = "chief" if "chief" in _config().get("cluster", {}) else "worker"
    return not is_multi_worker() or (task["type"], task["index"]) == (first, 0)


def _cluster():
    cluster = _config().get("cluster", {})
    return [*cluster.get("chief", ()), *cluster.get("worker", ())]


def _config():
    return json.loads(os.environ.get("TF_CONFIG", "{}"))


def batches(dataset, batch_size, **stream):
    """`data.train_batches`, through `dataset.change_batch(images, label_maps)` if there is one."""
    change = getattr(dataset, "change_batch", None)
    found = data.train_batches(dataset, batch_size, **stream)
    return found.map(change) if change else found


def train_batches(chosen, dataset, batch_size, **stream):
    """`batches` for `fit`: every replica gets its share of the same global batches."""
    if chosen.num_replicas_in_sync == 1:
        return batches(dataset, batch_size, **stream)
    if batch_size % chosen.num_replicas_in_sync:
        raise ValueError(
            f"batch_size={batch_size} does not divide by {chosen.num_replicas_in_sync} replicas"
        )

    def share(context):
        shard = context.input_pipeline_id, context.num_input_pipelines
        part = batches(dataset, batch_size, shard=shard, **stream)
        return part.rebatch(batch_size // chosen.num_replicas_in_sync, drop_remainder=True)

    return chosen.distribute_datasets_from_function(share)


def barrier(chosen):
    """Waits until all workers are here: one that leaves early looks lost to the others."""
    if is_multi_worker():
        import tensorflow as tf

        tf.function(lambda: chosen.run(lambda: over_replicas(tf.ones(()))))()


def start_again(error):
    """Starts this process anew, with its own command line, after `WorkerLost`."""
    print(f"{error}; starting again, and waiting for it", file=sys.stderr)
    os.execv(sys.executable, sys.orig_argv)


@contextlib.contextmanager
def noticing_lost_workers():
    """Turns what TensorFlow raises when a worker has gone into `WorkerLost`."""
    if not is_multi_worker():
        yield
        return
    import tensorflow as tf

    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        raise WorkerLost("another worker of this run has ended") from error
