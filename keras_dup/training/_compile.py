"""`compile` of a network of `keras_dup.models.build`, for Keras's own `fit`."""

import keras

from keras_dup import losses
from keras_dup._label_maps import VOID
from keras_dup._trained import backbone_variables, set_backbone_trainable
from keras_dup.training._optimizer import SGD, poly


def compile(
    model: keras.Model,
    steps: int | None = None,
    *,
    learning_rate: float = 0.02,
    backbone_rate: float = 0.2,
    weight_decay: float = 4e-5,
    ignore_class: int | None = VOID,
    loss: keras.losses.Loss | None = None,
) -> keras.Model:
    """Compiles a network with what segmentation needs, so that `model.fit` is the next line.

    SGD with momentum 0.9; weight decay of kernels, not of biases, batch norms and T; the
    cross-entropy without void; the mean IoU without void. Labels are (B, H, W) class ids.

        model = compile(models.build(projection=projection, weights="imagenet"), steps=10 * 46)
        model.fit(batches, epochs=10, steps_per_epoch=46, validation_data=val_batches)

    `fit` keeps the class scores of all pixels in memory; `train`, which takes a recipe, does not.

    Args:
        model: of `keras_dup.models.build`.
        steps: batches to train on in all, over which the learning rate falls to 0
            (`(1 - step / steps) ** 0.9`). None keeps it as it is.
        learning_rate: of the first step; 0.02 suits batches of 8.
        backbone_rate: learning rate of the backbone, as a share of learning_rate. 0.2 suits a
            pretrained backbone and 1 one without weights; 0 freezes it, its batch norms included,
            until it is compiled with another rate.
        weight_decay: of an L2 loss of kernels.
        ignore_class: id of pixels without a label; None if every id is a class.
        loss: in place of the cross-entropy; one of `keras_dup.losses` knows void.

    Returns: the model.
    """
    set_backbone_trainable(model, backbone_rate > 0)
    sgd = SGD(
        learning_rate if steps is None else poly(learning_rate, steps),
        momentum=0.9,
        l2=weight_decay,
        rates={variable.path: backbone_rate for variable in backbone_variables(model)},
    )
    miou = keras.metrics.MeanIoU(
        model.output_shape[-1], ignore_class=ignore_class, sparse_y_pred=False, name="miou"
    )
    model.compile(
        sgd,
        loss or losses.PixelCrossentropy(ignore_class=ignore_class),
        metrics=[miou],
        jit_compile=keras.backend.backend() == "jax",  # XLA takes minutes for some networks
    )
    # in `fit`, TensorFlow would trace the step a second time
    model.optimizer.build(model.trainable_variables)
    return model
