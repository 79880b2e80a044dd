"""The paper's optimizer: SGD with momentum, "poly" learning rate, L2 decay on kernels (Sec. 4)."""

import keras

from keras_dup.losses import over_replicas


def poly(learning_rate, steps, power=0.9):
    """learning_rate * (1 - step / steps) ** power."""
    return keras.optimizers.schedules.PolynomialDecay(
        learning_rate, steps, end_learning_rate=0.0, power=power
    )


UNDECAYED = ("gamma", "beta", "bias", "log_temperature")


@keras.saving.register_keras_serializable(package="keras_dup")
class SGD(keras.optimizers.SGD):
    """Keras's SGD with the paper's weight decay, a rate by variable, and clipping over replicas.

    The paper's weight decay is an L2 loss of kernels alone, whose gradient passes through the
    momentum and is not clipped; Keras's would act on the weights directly. Keras's
    `global_clipnorm` clips what one replica has, so that the number of replicas changes the result.
    And `fit` does not replace the weights by their moving averages at its end, since a run is
    several calls of it.

    Args:
        learning_rate: a number or a schedule.
        momentum: 0..1.
        l2: of the L2 loss, l2 / 2 * the sum of squares.
        clip: largest norm of the gradient of the whole batch; 0: any.
        rates: {path of a variable: its share of the learning rate}; 1 for others.
        ema: momentum of a moving average of the weights, see `averages`; 0: none.
    """

    def __init__(
        self, learning_rate, momentum=0.0, l2=0.0, clip=0.0, rates=None, ema=0.0, name="SGD"
    ):
        average = {"use_ema": bool(ema), "ema_momentum": ema or 0.99}
        super().__init__(learning_rate, momentum=momentum, name=name, **average)
        self.settings = {"l2": l2, "clip": clip, "rates": dict(rates or {}), "ema": ema}
        self.l2, self.clip = l2, clip

    def build(self, variables):
        super().build(variables)
        rates = self.settings["rates"]
        self.rates = [rates.get(variable.path, 1.0) for variable in variables]
        self.decays = [self.l2 and variable.name not in UNDECAYED for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        i = self._get_variable_index(variable)
        if self.decays[i]:
            gradient = gradient + self.l2 * keras.ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, self.rates[i] * learning_rate)

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
        config = super().get_config()
        kept = {key: config[key] for key in ("name", "learning_rate", "momentum")}
        return {**kept, **self.settings}


def averages(optimizer):
    """The moving averages of the trainable variables, in their order; None without `ema`."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of mixed_float16
    return optimizer._model_variables_moving_average if optimizer.use_ema else None
