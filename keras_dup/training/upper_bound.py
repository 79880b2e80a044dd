"""What an upsampling can reach at best: networks fed with the truth (Sec. 4.1.1, mIOU*).

A light network sees the label map in place of the image and has to give it back through its last
feature, so that what is lost is lost by the upsampling. A recipe asks for it by
backbone="label_encoder".
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_dup import decoders
from keras_dup.backbones.convolution import convolution
from keras_dup.layers import AdaptiveTemperatureSoftmax, Crop, DUpsampling, EdgePadding

NAME = "label_encoder"
FILTERS = (64, 128, 256, 512, 512)  # the paper names five convolutions and no width


@keras.saving.register_keras_serializable(package="keras_dup")
class OneHot(keras.layers.Layer):
    """The class ids that an image holds in its channels, one-hot; void is all zeros.

    Input: (B, H, W, 3), the same id in all channels.  Output: (B, H, W, K), float.
    """

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def call(self, image):
        ids = ops.cast(image[..., :1], "int32")
        return ops.cast(ids == ops.arange(self.num_classes, dtype="int32"), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_classes)

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


def network(recipe, projection=None):
    """3x3 convolutions of stride 2 up to the output stride, then the upsampling and nothing else.

    Batch norm and ReLU after each. At output stride 32 there are the paper's five, at 16 four. The
    label map is continued to whole windows first: a network that was trained on whole windows alone
    does badly where the picture ends within one (DUpsampling, trained on crops of 192 x 192, mIoU
    on val without and with it: 99.49 and 99.73 % at stride 16, 95.43 and 99.33 % at 32; one seed,
    the log and the report in research/results/upper_bound/).

    Args:
        recipe: a `Recipe`, of which this takes num_classes, output_stride, decoder, channels and
            temperature.
        projection: a `LabelProjection` or None, as for `keras_dup.models.build`.

    Returns: `keras.Model`: (B, H, W, 3) class ids -> (B, H, W, K) probabilities.
    """
    stride, num_classes = recipe.output_stride, recipe.num_classes
    image = keras.Input((None, None, 3), name="image")
    x = EdgePadding(stride, name="padding")(image)
    x = OneHot(num_classes, name="one_hot")(x)
    centred, names = recipe.decoder == "dupsampling", range(1, stride.bit_length())
    for i, filters in zip(names, FILTERS, strict=False):
        shift = centred and i == names[-1]
        arguments = {"filters": filters, "epsilon": 1e-5, "activation": "relu", "shift": shift}
        x = convolution(x, f"{NAME}_{i}", 3, 2, **arguments)
    if recipe.decoder == "dupsampling":
        upsampling = DUpsampling(num_classes, stride, projection, name="dupsampling")
        x = decoders.dupsampling_decoder(x, (), stride, upsampling, recipe.channels)
        softmax = AdaptiveTemperatureSoftmax(recipe.temperature, name="softmax")
    else:
        x = decoders.bilinear_decoder(x, (), stride, num_classes)
        softmax = keras.layers.Softmax(dtype="float32", name="softmax")
    x = softmax(Crop(name="crop")([x, image]))
    return keras.Model(image, x, name=f"{NAME}_{recipe.decoder}")


class LabelPictures:
    """A data set whose images are its label maps, the id in every channel.

    Args:
        label_maps: i -> (H, W) uint8, a function or a sequence's `__getitem__`.
        count: how many.
        num_classes: K.
        class_names: K strings; the ids by default.
    """

    def __init__(self, label_maps, count, num_classes, class_names=None):
        self.label_map, self.count, self.num_classes = label_maps, count, num_classes
        self.class_names = tuple(class_names or map(str, range(num_classes)))

    def __len__(self):
        return self.count

    def image(self, i):
        """Returns label map i as uint8 (H, W, 3)."""
        return np.repeat(self.label_map(i)[..., None], 3, -1)

    def label_maps(self):
        """Yields all label maps in order, for `keras_dup.projection.fit`."""
        return (self.label_map(i) for i in range(len(self)))


def label_input(image, label_map):
    """In a batch, puts the label maps in the place of the images: augmentation blends those."""
    ids = tf.cast(label_map, tf.float32)[..., None]
    return tf.repeat(ids, 3, axis=-1), label_map
