"""The copy of a network that is trained in its place."""

import time

import keras

from keras_dup import models
from keras_dup._keras_private import BuiltFromShape, sublayers
from keras_dup._loss_terms import over_replicas
from keras_dup._packed_loss import packs
from keras_dup._trained import backbone_variables, set_backbone_trainable
from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling
from keras_dup.projection import LabelProjection
from keras_dup.training._batch_norm import batch_norm
from keras_dup.training._compressed_labels_error import CompressedLabelsError
from keras_dup.training._objective import (
    auxiliary_scores,
    objective,
    read_teacher,
    recipe_loss,
)
from keras_dup.training._optimizer import SGD, averages, poly
from keras_dup.training._recipe import Recipe


def training_copy(
    model: keras.Model, recipe: Recipe, replicas: int = 1, packed: bool = True
) -> "TrainingModel":
    """Returns a compiled copy of a network, which is trained in its place.

    It ends before DUpsampling, which the loss computes window by window (`keras_dup._packed_loss`).
    With another decoder, a teacher or a Lovasz loss it returns logits / T in place of
    probabilities, on which the loss is exact on every backend. Its batch norms take their
    statistics of as many images as the recipe says. `update_network()` writes its weights into the
    network.

    Args:
        model: what `build_network` returned.
        recipe: the recipe, as in `build_network`.
        replicas: of the strategy in whose scope this is called.
        packed: False returns logits / T with DUpsampling too.

    Raises:
        ValueError: batch-norm groups that do not go with the batch and the replicas; XLA over
            several replicas; a teacher of other classes; an auxiliary head without ASPP.
    """
    _check(recipe, replicas)
    teacher, loss = read_teacher(recipe, models.class_names(model)), recipe_loss(recipe)
    upsampling = {layer.name: layer for layer in model.layers}.get("dupsampling")
    packed = packed and type(upsampling) is DUpsampling and not recipe.teacher
    packed = packed and packs(loss)

    def copy(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            return batch_norm(config, recipe, replicas)
        if layer is model.layers[-1] and not packed:
            tempered = isinstance(layer, AdaptiveTemperatureSoftmax)
            return (TemperedLogits if tempered else Logits).from_config(config)
        return type(layer).from_config(config)

    clone = keras.models.clone_model(model, clone_function=copy, recursive=True)
    clone.set_weights(model.get_weights())
    pairs = list(zip(model.weights, clone.weights, strict=True))
    if recipe.freeze_backbone or recipe.backbone_rate == 0:
        set_backbone_trainable(clone, False)
    head: tuple = (clone.get_layer("dupsampling"), clone.layers[-1]) if packed else ()
    outputs = [head[0].input if packed else clone.output]
    if recipe.auxiliary_weight:
        outputs.append(auxiliary_scores(clone, recipe))
    training = TrainingModel(
        clone.input, outputs if len(outputs) > 1 else outputs[0], name=model.name
    )
    training.head, training.teacher = list(head), teacher
    training.pairs = lambda: pairs  # in a list Keras would take the network's weights for its own
    total = objective(recipe, loss, head, teacher)
    return training.compile_for(recipe, total, recipe.steps, recipe.learning_rate)


def pretraining_copy(
    model: "TrainingModel", recipe: Recipe, projection: LabelProjection
) -> "TrainingModel":
    """Returns a training copy up to the compressed labels, compiled to meet the truth's (Eq. 4).

    Args:
        model: what `training_copy` returned, whose weights these are.
        recipe, projection: as there.
    """
    features = TrainingModel(model.input, model.get_layer("compressed").output, name="regression")
    error = CompressedLabelsError(projection)
    return features.compile_for(
        recipe,
        lambda images, labels, outputs: error(labels, outputs),
        recipe.pretraining_steps,
        recipe.pretraining_learning_rate,
    )


@keras.saving.register_keras_serializable(package="keras_dup")
class TemperedLogits(AdaptiveTemperatureSoftmax):
    """What `AdaptiveTemperatureSoftmax` takes the softmax of: x / T."""

    def call(self, x):
        return x * keras.ops.exp(-self.log_temperature)


@keras.saving.register_keras_serializable(package="keras_dup")
class Logits(keras.layers.Softmax):
    """What `Softmax` takes the softmax of."""

    def call(self, inputs, mask=None):
        return inputs


class TrainingModel(BuiltFromShape, keras.Model):
    """A functional model whose `fit` works over several workers and tells when a batch arrived.

    That time is "arrived" in the logs of a step.

    Keras 3.15 fails under `MultiWorkerMirroredStrategy` where it reduces the first batch and
    scalar logs over the workers; both are avoided here.
    """

    def compile_for(self, recipe, loss, steps, learning_rate):
        """Compiles with the recipe's optimizer, its variables made; returns the model.

        Args:
            recipe: the recipe.
            loss: images, labels (B, H, W) and outputs -> a number, summed up over the replicas.
            steps, learning_rate: of the schedule.
        """
        self.loss_of = loss
        self.done = 0  # steps of the run
        self.batch_shape = (recipe.batch_size, *recipe.crop_size)
        slow = [] if recipe.backbone_rate == 1 else backbone_variables(self)
        sgd = SGD(
            poly(learning_rate, steps, recipe.power),
            momentum=recipe.momentum,
            l2=recipe.weight_decay,
            clip=recipe.clip_norm,
            rates={variable.path: recipe.backbone_rate for variable in slow},
            undecayed=() if recipe.decay_depthwise else _depthwise_kernels(self),
            use_ema=bool(recipe.ema),
            ema_momentum=recipe.ema or 0.99,
        )
        # False has JAX run a step operation by operation
        self.compile(sgd, jit_compile=recipe.jit_compile or keras.backend.backend() == "jax")
        self.optimizer.build(self.trainable_variables)
        return self

    def update_network(self):
        """Gives the network its weights, or their moving averages where there are any."""
        found = averages(self.optimizer)
        if found is not None:
            variables = map(id, self.trainable_variables)
            found = dict(zip(variables, found, strict=True))
        for theirs, ours in self.pairs():
            value = ours if found is None else found.get(id(ours), ours)
            theirs.assign(keras.ops.convert_to_numpy(value))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = self.loss_of(x, y, y_pred)
        if self.losses:  # regularizers of the backbone, a share on every replica
            loss += sum(self.losses) / over_replicas(keras.ops.ones(()))
        return loss

    if keras.backend.backend() == "tensorflow":

        def train_step(self, batch):
            import tensorflow as tf

            arrived = {}
            if not self.jit_compile:
                with tf.control_dependencies([batch[0]]):
                    arrived["arrived"] = tf.timestamp()
                # the step waits for it: else one thread may come to it last
                with tf.control_dependencies([arrived["arrived"]]):
                    batch = (tf.identity(batch[0]), *batch[1:])
            logs = {**super().train_step(batch), **arrived}
            over_workers = isinstance(
                tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy
            )
            return {key: value[None] if over_workers else value for key, value in logs.items()}

    if keras.backend.backend() == "jax":

        def make_train_function(self, force=False):
            if self.train_function is not None and not force:
                return
            super().make_train_function(force)
            step = self.train_function

            def timed(state, batches):
                batch = next(batches)
                arrived = time.time()
                logs, state = step(state, iter([batch]))
                return {**logs, "arrived": arrived}, state

            self.train_function = timed


def _depthwise_kernels(model):
    """The paths of the depthwise kernels of a model, at any depth."""
    depthwise = keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D
    layers = [layer for layer in sublayers(model) if isinstance(layer, depthwise)]
    separable = keras.layers.SeparableConv2D
    return tuple(
        (layer.depthwise_kernel if isinstance(layer, separable) else layer.kernel).path
        for layer in layers
    )


def _check(recipe, replicas):
    group, share = recipe.batch_norm_group or recipe.batch_size, recipe.batch_size // replicas
    if group != recipe.batch_size and share % group:
        raise ValueError(
            f"batch_norm_group={group}, but a replica has {share} images; the group must divide "
            f"that, or be the whole batch of {recipe.batch_size} (0)"
        )
    if recipe.jit_compile and replicas > 1:
        raise ValueError(
            f"jit_compile: TensorFlow cannot compile a step over {replicas} replicas; take one "
            "device, or the JAX backend, which always compiles"
        )
