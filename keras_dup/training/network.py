"""The network of a recipe, as it predicts and as it is trained."""

import functools
import importlib

import keras
import numpy as np
import tensorflow as tf

from keras_dup import models, pretrained
from keras_dup._keras_private import BuiltFromShape
from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling
from keras_dup.losses import CompressedLabelsError, PixelCrossentropy, over_replicas
from keras_dup.packed_loss import packed_crossentropy
from keras_dup.training import find_weights, optimizer, upper_bound
from keras_dup.training.batch_norm import FusedBatchNormalization, GroupedBatchNormalization

# how the names of ASPP, decoder and label encoder begin
NEW_LAYERS = ("aspp", "fuse_", "compressed", "scores", upper_bound.NAME)


def build_network(recipe, projection=None):
    """What `keras_dup.models.build` gives for a recipe, its new layers drawn as it says."""
    model = _built(recipe, projection)
    if recipe.new_layers_variance:
        draw_new_layers(model, recipe.new_layers_variance, recipe.seed)
    weights = find_weights(recipe)
    if weights and not recipe.network and recipe.backbone != upper_bound.NAME:
        pretrained.load_weights(model, recipe.backbone, weights)  # what it fills is not new
    if isinstance(model.layers[-1], AdaptiveTemperatureSoftmax):
        model.layers[-1].trainable = recipe.train_temperature
        model.get_layer("dupsampling").trainable = recipe.train_projection
    return model


def _built(recipe, projection):
    if recipe.network:
        return _named(recipe.network)(recipe, projection)
    if recipe.backbone == upper_bound.NAME:
        return upper_bound.network(recipe, projection)
    return models.build(
        backbone=recipe.backbone,
        num_classes=recipe.num_classes,
        output_stride=recipe.output_stride,
        low_level_features=recipe.low_level_features,
        channels=recipe.channels,
        projection="random" if projection is None else projection,
        decoder=recipe.decoder,
        temperature=recipe.temperature,
        downsample=recipe.downsample,
        ratio=recipe.ratio or None,
        fusion_stride=recipe.fusion_stride or None,
        fusion_channels=recipe.fusion_channels,
        low_level_channels=recipe.low_level_channels,
        context_channels=recipe.context_channels or None,
        coarse_scores=recipe.coarse_scores,
        initializer=recipe.initializer,
        interpolated_scores=recipe.interpolated_scores,
    )


def _named(text):
    """The function that MODULE:FUNCTION names."""
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"network={text!r}: MODULE:FUNCTION, but {error}") from error


def draw_new_layers(model, variance, seed=0):
    """Draws the kernels of ASPP and decoder from a Gaussian of mean 0 (Sec. 4).

    The paper's variance, 0.01, slows training down: the network of voc2012_upper_bound.py at
    output stride 32 with 128 channels, after 900 steps of 12 crops of 193 x 193, has a loss of
    0.050 and 85.9 % mIoU on every 20th label map of val, from Keras's default 0.023 and 92.7 % (one
    seed). It is 46 times the default's of a 3x3 kernel from 512 to 512; batch norm hides the
    scale of its outputs, but a step of the same size then turns the kernel by less. A recipe of 0
    keeps the default, those of the paper's experiments have 0.01.
    """
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name.startswith(NEW_LAYERS):
            for variable in layer.trainable_variables:
                if variable.name.endswith("kernel"):
                    variable.assign(rng.normal(0, variance**0.5, variable.shape))


def training_copy(model, recipe, replicas=1, packed=True):
    """A copy of a network that is trained in its place: with the same weights, compiled.

    It ends before DUpsampling, whose part the loss takes over (`keras_dup.packed_loss`); where the
    decoder is another one it gives logits / T in place of probabilities, on which the loss is exact
    on every backend. Its batch norms take their statistics of as many images as the recipe says.
    Its weights have the order of the network's: `model.set_weights(copy.get_weights())`.

    Args:
        model: what `build_network` returned.
        recipe: a `Recipe`.
        replicas: of the strategy in whose scope this is called.
        packed: False gives logits / T with DUpsampling too.

    Raises:
        ValueError: batch-norm groups that do not go with the batch and the replicas; XLA over
            several replicas.
    """
    _check(recipe, replicas)

    def copy(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            return _batch_norm(config, recipe, replicas)
        if layer is model.layers[-1] and not packed:
            tempered = isinstance(layer, AdaptiveTemperatureSoftmax)
            return (TemperedLogits if tempered else Logits).from_config(config)
        return type(layer).from_config(config)

    upsampling = {layer.name: layer for layer in model.layers}.get("dupsampling")
    packed = packed and type(upsampling) is DUpsampling
    clone = keras.models.clone_model(model, clone_function=copy, recursive=True)
    clone.set_weights(model.get_weights())
    output, head, loss_of = clone.output, (), loss(recipe)
    if packed:
        head = clone.get_layer("dupsampling"), clone.layers[-1]
        output, loss_of = head[0].input, functools.partial(packed_crossentropy, loss_of, *head)
    clone = Trained(clone.input, output, name=model.name)
    return clone.compile_for(recipe, loss_of, recipe.steps, recipe.learning_rate, head)


def regressing(model, recipe, projection):
    """A trained network up to the compressed labels, compiled to meet those of the truth (Eq. 4).

    Args:
        model: what `training_copy` returned, whose weights these are.
        recipe, projection: as there.
    """
    features = Trained(model.input, model.get_layer("compressed").output, name="regression")
    return features.compile_for(
        recipe,
        CompressedLabelsError(projection),
        recipe.pretraining_steps,
        recipe.pretraining_learning_rate,
    )


def loss(recipe):
    """The cross-entropy of a recipe, of logits."""
    return PixelCrossentropy(
        class_weights=recipe.class_weights or None,
        hard_pixels=recipe.hard_pixels,
        label_smoothing=recipe.label_smoothing,
        from_logits=True,
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


class Trained(BuiltFromShape, keras.Model):
    """A functional model whose `fit` works over several workers and tells when a batch arrived.

    Keras 3.15 fails under `MultiWorkerMirroredStrategy` where it reduces the first batch and
    scalar logs over the workers; both are gone round here.
    """

    def compile_for(self, recipe, loss, steps, learning_rate, head=()):
        """Compiles with the recipe's optimizer, its variables made; returns the model.

        Args:
            recipe: a `Recipe`.
            loss: labels (B, H, W) and outputs -> a number, summed up over the replicas.
            steps, learning_rate: of the schedule.
            head: layers that are part of the loss alone.
        """
        self.head, self.loss_of = list(head), loss
        self.done = 0  # steps of the run
        self.batch_shape = (recipe.batch_size, *recipe.crop_size)
        slow = [] if recipe.backbone_rate == 1 else _of_backbone(self)
        sgd = optimizer.SGD(
            optimizer.poly(learning_rate, steps, recipe.power),
            momentum=recipe.momentum,
            l2=recipe.weight_decay,
            clip=recipe.clip_norm,
            rates={variable.path: recipe.backbone_rate for variable in slow},
            use_ema=bool(recipe.ema),
            ema_momentum=recipe.ema or 0.99,
        )
        # False has JAX run a step operation by operation
        self.compile(sgd, jit_compile=recipe.jit_compile or keras.backend.backend() == "jax")
        self.optimizer.build(self.trainable_variables)
        return self

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = self.loss_of(y, y_pred)
        if self.losses:  # regularizers of the backbone, a share on every replica
            loss += sum(self.losses) / over_replicas(keras.ops.ones(()))
        return loss

    if keras.backend.backend() == "tensorflow":

        def train_step(self, batch):
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


def _of_backbone(model):
    """The trainable variables of a network that are not of its ASPP, decoder or softmax."""
    new = (*NEW_LAYERS, "dupsampling", "softmax")
    layers = [layer for layer in model.layers if not layer.name.startswith(new)]
    return [variable for layer in layers for variable in layer.trainable_variables]


def _batch_norm(config, recipe, replicas):
    """Batch norm over the whole batch, over that of a replica, or over parts of it."""
    config = {**config, "momentum": recipe.batch_norm_momentum}
    if not recipe.train_batch_norm and not config["name"].startswith(NEW_LAYERS):
        return keras.layers.BatchNormalization.from_config({**config, "trainable": False})
    group, share = recipe.batch_norm_group or recipe.batch_size, recipe.batch_size // replicas
    if group not in (share, recipe.batch_size):
        return GroupedBatchNormalization(group, **config)
    config["synchronized"] = group != share
    kind = FusedBatchNormalization if _fuses(config, recipe) else keras.layers.BatchNormalization
    return kind.from_config(config)


def _fuses(config, recipe):
    """Does TensorFlow's one kernel do what this batch norm does?"""
    here = keras.backend.backend() == "tensorflow" and not recipe.jit_compile
    plain = config["scale"] and config["center"] and config["axis"] in (-1, 3, [3])
    return here and plain and not (config["synchronized"] or config["renorm"])


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
