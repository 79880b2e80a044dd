"""What a training step makes small: the recipe's loss, an auxiliary head, a teacher."""

import warnings

import keras
from keras import ops

from keras_dup import models
from keras_dup._label_maps import VOID, different_names
from keras_dup._loss_terms import LossSum, over_replicas, valid_labels
from keras_dup._packed_loss import packed_loss
from keras_dup.layers import BilinearUpsampling
from keras_dup.losses import PixelCrossentropy, RegionLoss

AUXILIARY = "auxiliary_scores"  # the layer's name


def recipe_loss(recipe):
    """The loss of a recipe, of logits: a sum of losses of `keras_dup.losses`."""
    names = recipe.loss.split("+")
    weights = recipe.loss_weights or [1.0] * len(names)
    terms = [_term(recipe, name) for name in names]
    return LossSum(list(zip(weights, terms, strict=True)))


def _term(recipe, name):
    common = {"class_weights": recipe.class_weights or None, "from_logits": True}
    if name not in ("crossentropy", "focal"):
        alpha, beta = recipe.tversky
        return RegionLoss(name, alpha, beta, **common)
    focal = {"gamma": recipe.focal_gamma, "label_smoothing": 0.0} if name == "focal" else {}
    smoothing = {"label_smoothing": recipe.label_smoothing}
    return PixelCrossentropy(hard_pixels=recipe.hard_pixels, **{**common, **smoothing, **focal})


def auxiliary_scores(model, recipe):
    """Class scores from ASPP's output at the size of its windows, (B, h*r, w*r, K).

    Bilinear interpolation; features sit where the decoder of the model has them: at the centres of
    windows if it has no other upsampling than DUpsampling.
    """
    layers = {layer.name: layer for layer in model.layers}
    if "aspp_projection_relu" not in layers:
        raise ValueError(
            f"recipe {recipe.name}: auxiliary_weight={recipe.auxiliary_weight} needs the ASPP of "
            "`build`, which this network does not have; set it to 0"
        )
    features = layers["aspp_projection_relu"].output
    scores = keras.layers.Conv2D(recipe.num_classes, 1, name=AUXILIARY)(features)
    centred = all(x.centred for x in model.layers if isinstance(x, BilinearUpsampling))
    return BilinearUpsampling(recipe.output_stride, centred, dtype="float32")(scores)


def read_teacher(recipe, class_names):
    """The trained model that the recipe names, frozen; None without one.

    Args:
        recipe: the recipe.
        class_names: of the network that it teaches, or None. A warning tells of other names.

    Raises:
        ValueError: no model, or one of another number, another order of classes or another size
            of image.
    """
    if not recipe.teacher:
        return None
    teacher = models.load(recipe.teacher)
    about = f"recipe {recipe.name}: teacher {recipe.teacher}"
    if len(teacher.output_shape) != 4 or teacher.output_shape[-1] != recipe.num_classes:
        raise ValueError(
            f"{about} gives {teacher.output_shape}, but num_classes={recipe.num_classes}; "
            f"(B, H, W, {recipe.num_classes}) is needed, probabilities"
        )
    size = teacher.input_shape[1:3]
    if any(one not in (None, crop) for one, crop in zip(size, recipe.crop_size, strict=True)):
        raise ValueError(f"{about} takes images of {size}, but crop_size={recipe.crop_size}")
    names = models.class_names(teacher)
    if names and class_names and (told := different_names(class_names, names, "the teacher")):
        if sorted(names) == sorted(class_names):
            raise ValueError(f"{about} has the classes in another order; {told}")
        warnings.warn(f"{about}: {told}", stacklevel=3)
    teacher.trainable = False
    return teacher


def objective(recipe, loss, head=(), teacher=None):
    """A function of images (B, H, W, 3), labels (B, H, W) and outputs: a number.

        (1 - w) * loss + w * distillation + auxiliary_weight * loss of that head

    w is `teacher_weight` where there is a teacher, else 0.

    Args:
        recipe: the recipe.
        loss: of `recipe_loss`.
        head: DUpsampling and softmax, where the outputs end before them; () for logits / T.
        teacher: a model, or None.
    """

    def total(images, labels, outputs):
        outputs, *auxiliary = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        value = packed_loss(loss, *head, labels, outputs) if head else loss(labels, outputs)
        if teacher is not None:
            distilled = distillation(labels, teacher(images, training=False), outputs)
            value = (1 - recipe.teacher_weight) * value + recipe.teacher_weight * distilled
        if auxiliary:
            height, width = labels.shape[1:]
            scores = auxiliary[0][:, :height, :width]
            value += recipe.auxiliary_weight * loss(labels, scores)
        return value

    return total


def distillation(labels, probabilities, logits):
    """The mean of KL(teacher || network) over the labelled pixels of all replicas.

        sum of w[p] * sum_k q[p, k] (log q[p, k] - log s[p, k]) / sum of w[p],    w = 0 where void

    Args:
        labels: (B, H, W).
        probabilities: q, of the teacher, (B, H, W, K); no gradient goes there.
        logits: of the network, (B, H, W, K); s is their softmax.
    """
    _, valid = valid_labels(ops.cast(labels, "int32"), VOID)
    q = ops.stop_gradient(ops.cast(probabilities, "float32"))
    log_q = ops.log(ops.maximum(q, keras.config.epsilon()))
    log_s = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
    divergence = ops.sum(q * (log_q - log_s), axis=-1)
    return ops.divide_no_nan(ops.sum(divergence * valid), over_replicas(ops.sum(valid)))
