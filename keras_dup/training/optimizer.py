"""The paper's optimizer: SGD with momentum, "poly" learning rate, L2 decay on kernels (Sec. 4)."""

import keras

from keras_dup.losses import over_replicas


def poly(learning_rate, steps, power=0.9):
    """learning_rate * (1 - step / steps) ** power."""
    return keras.optimizers.schedules.PolynomialDecay(
        learning_rate, steps, end_learning_rate=0.0, power=power
    )


def sgd(schedule, momentum=0.9, weight_decay=0.0, clip_norm=0.0, ema=0.0):
    """SGD for `schedule`, decaying kernels and nothing else.

    The paper's weight decay is an L2 loss, whose gradient passes through the momentum; Keras
    decays the weights directly. Dividing by (1 - momentum) gives the same decay in the long run.

    Args:
        schedule: the learning rate.
        momentum: 0..1.
        weight_decay: of the paper's L2 loss.
        clip_norm: largest norm of the gradient of the whole batch; 0: any.
        ema: momentum of a moving average of the weights, see `averages`; 0: none.
    """
    optimizer = ClippedSGD(
        schedule,
        momentum=momentum,
        weight_decay=weight_decay / (1 - momentum) or None,
        clip=clip_norm,
        use_ema=bool(ema),
        ema_momentum=ema or 0.99,
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias", "log_temperature"])
    return optimizer


@keras.saving.register_keras_serializable(package="keras_dup")
class ClippedSGD(keras.optimizers.SGD):
    """SGD that clips the norm of the gradient that all replicas have together.

    Keras's own `global_clipnorm` clips what one replica has, so that the number of replicas changes
    the result. And `fit` does not replace the weights by their moving averages at its end, since a
    run is several calls of it.
    """

    def __init__(self, *arguments, clip=0.0, **keywords):
        super().__init__(*arguments, **keywords)
        self.clip = clip

    def apply(self, grads, trainable_variables=None):
        if self.clip:
            # the replicas' gradients are added up once more when they are applied: a share each
            share = over_replicas(keras.ops.ones(()))
            grads = [over_replicas(grad) / keras.ops.cast(share, grad.dtype) for grad in grads]
            norm = share * keras.ops.sqrt(
                sum(keras.ops.sum(keras.ops.square(keras.ops.cast(g, "float32"))) for g in grads)
            )
            factor = self.clip / keras.ops.maximum(norm, self.clip)
            grads = [grad * keras.ops.cast(factor, grad.dtype) for grad in grads]
        return super().apply(grads, trainable_variables)

    def finalize_variable_values(self, var_list):
        pass

    def get_config(self):
        return {**super().get_config(), "clip": self.clip}


def averages(optimizer):
    """The moving averages of the trainable variables, in their order; None without `ema`."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of mixed_float16
    return optimizer._model_variables_moving_average if optimizer.use_ema else None
