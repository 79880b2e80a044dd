"""The paper's optimizer: SGD with momentum, "poly" learning rate, L2 decay on kernels (Sec. 4)."""

import keras

from keras_dup import _keras_private
from keras_dup._loss_terms import over_replicas

UNDECAYED = ("gamma", "beta", "bias", "log_temperature")


def poly(learning_rate, steps, power=0.9):
    """learning_rate * (1 - step / steps) ** power."""
    return keras.optimizers.schedules.PolynomialDecay(
        learning_rate, steps, end_learning_rate=0.0, power=power
    )


@keras.saving.register_keras_serializable(package="keras_dup")
class SGD(keras.optimizers.SGD):
    """Keras's SGD with the paper's weight decay, a rate per variable, and clipping over replicas.

    The paper's weight decay is an L2 loss of kernels alone, whose gradient passes through the
    momentum and is not clipped; Keras's would act on the weights directly. Keras's
    `global_clipnorm` clips what one replica has, so that the number of replicas changes the result.
    And `fit` does not replace the weights by their moving averages at its end, since a run is
    several calls of it.

    Args, beside those of Keras:
        l2: of the L2 loss, l2 / 2 * the sum of squares.
        clip: largest norm of the gradient of the whole batch; 0: any.
        rates: {path of a variable: its share of the learning rate}; 1 for others.
        undecayed: paths of further variables without the L2 loss.
    """

    def __init__(self, *arguments, l2=0.0, clip=0.0, rates=None, undecayed=(), **keywords):
        super().__init__(*arguments, **keywords)
        self.l2, self.clip, self.rates = l2, clip, dict(rates or {})
        self.undecayed = tuple(undecayed)

    def build(self, variables):
        super().build(variables)
        self._decays = [self.l2 * self._is_decayed(variable) for variable in variables]
        self._shares = [self.rates.get(variable.path, 1.0) for variable in variables]

    def _is_decayed(self, variable):
        return variable.name not in UNDECAYED and variable.path not in self.undecayed

    def update_step(self, gradient, variable, learning_rate):
        i = _keras_private.variable_index(self, variable)
        if self._decays[i]:
            gradient = gradient + self._decays[i] * keras.ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, self._shares[i] * learning_rate)

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
        ours = {"l2": self.l2, "clip": self.clip, "rates": dict(self.rates)}
        ours["undecayed"] = list(self.undecayed)
        return {**super().get_config(), **ours}


def averages(optimizer):
    """The moving averages of the trainable variables, in their order; None without `ema`."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of mixed_float16
    return _keras_private.moving_averages(optimizer) if optimizer.use_ema else None
