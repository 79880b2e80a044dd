"""Gradients of a function, on every backend and on two replicas."""

import keras
import numpy as np


def gradients(function, values):
    """[value, its gradient with respect to each of `values`], on every backend."""
    if keras.backend.backend() == "jax":
        import jax

        value, slopes = jax.value_and_grad(function, argnums=tuple(range(len(values))))(*values)
        return [np.asarray(x) for x in (value, *slopes)]
    if keras.backend.backend() == "torch":
        values = [keras.ops.convert_to_tensor(value).requires_grad_() for value in values]
        value = function(*values)
        value.backward()
        return [keras.ops.convert_to_numpy(x) for x in (value, *(v.grad for v in values))]
    import tensorflow as tf

    values = [tf.constant(value) for value in values]

    @tf.function(autograph=False)
    def run(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            value = function(*values)
        return value, tape.gradient(value, values)

    value, slopes = run(*values)
    return [x.numpy() for x in (value, *slopes)]


def on_two_replicas(step, *batch):
    """What `step` of one example each gives on two replicas of `tf.distribute`, added up."""
    import tensorflow as tf

    from keras_dup.training import _distribution

    strategy = _distribution.strategy(("cpu:0", "cpu:1"))  # two of them in a process get mixed up

    @tf.function
    def on_both():
        def of_replica():
            i = tf.distribute.get_replica_context().replica_id_in_sync_group
            return step(*(part[i : i + 1] for part in batch))

        return [strategy.reduce("SUM", part, axis=None) for part in strategy.run(of_replica)]

    return [part.numpy() for part in on_both()]
