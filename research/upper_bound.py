"""What an upsampling can reach at best: networks fed with the truth (Sec. 4.1.1, mIOU*).

A light network sees the label map in place of the image and has to give it back through its last
feature, so that what is lost is lost by the upsampling. A recipe asks for it by

    network="research.upper_bound:network", datasets="research.upper_bound:datasets"
"""

import os
import pathlib

import keras
import numpy as np
from keras import ops

from keras_dup import data, layers, training

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
    does badly where the image ends within one (DUpsampling, trained on crops of 192 x 192, mIoU
    on val without and with it: 99.49 and 99.73 % at stride 16, 95.43 and 99.33 % at 32; one seed,
    the log and the report in research/results/upper_bound/).

    Args:
        recipe: a `Recipe`, of which this takes num_classes, output_stride, decoder, channels,
            temperature and new_layers_variance.
        projection: a `LabelProjection` or None, as for `keras_dup.models.build`.

    Returns: `keras.Model`: (B, H, W, 3) class ids -> (B, H, W, K) probabilities.
    """
    stride, num_classes = recipe.output_stride, recipe.num_classes
    kernels = {"kernel_initializer": _initializer(recipe)}  # Keras clones it for every layer
    image = keras.Input((None, None, 3), name="image")
    x = layers.EdgePadding(stride, name="padding")(image)
    x = OneHot(num_classes, name="one_hot")(x)
    centred, places = recipe.decoder == "dupsampling", range(1, stride.bit_length())
    for i, filters in zip(places, FILTERS, strict=False):
        shift = centred and i == places[-1]  # the last feature is at the centres of windows
        x = _convolution(x, f"label_encoder_{i}", filters, shift, **kernels)
    if recipe.decoder == "dupsampling":
        x = keras.layers.Conv2D(recipe.channels, 1, name="compressed", **kernels)(x)
        x = layers.DUpsampling(num_classes, stride, projection, name="dupsampling")(x)
        softmax = layers.AdaptiveTemperatureSoftmax(recipe.temperature, name="softmax")
    else:
        x = keras.layers.Conv2D(num_classes, 1, name="scores", **kernels)(x)
        x = layers.BilinearUpsampling(stride, name="bilinear")(x)
        softmax = keras.layers.Softmax(dtype="float32", name="softmax")
    x = softmax(layers.Crop(name="crop")([x, image]))
    return keras.Model(image, x, name=f"label_encoder_{recipe.decoder}")


def datasets(recipe):
    """The training and the validation data of a recipe, each label map in place of its image.

    `train_masks` and `val_masks` without images are folders of masks alone.
    """
    if recipe.train_masks and not recipe.train_images:
        root = recipe.data_root or os.environ.get("KERAS_DUP_DATA", ".")
        val = recipe.val_masks or recipe.train_masks, recipe.val_names
        sides = [(recipe.train_masks, recipe.train_names), val]
        splits = [_Masks(recipe, pathlib.Path(root), *side) for side in sides]
    else:
        splits = training.datasets(recipe)
    return tuple(map(LabelImages, splits))


class LabelImages:
    """A data set whose images are its label maps, the id in every channel.

    Args:
        dataset: another data set; its images are not read.
    """

    def __init__(self, dataset):
        self.dataset = dataset
        self.num_classes, self.class_names = dataset.num_classes, dataset.class_names
        self.label_map, self.label_maps = dataset.label_map, dataset.label_maps

    def __len__(self):
        return len(self.dataset)

    def image(self, i):
        """Returns label map i as uint8 (H, W, 3)."""
        return np.repeat(self.label_map(i)[..., None], 3, -1)

    @staticmethod
    def change_batch(images, label_maps):
        """Puts the label maps in the place of the images: augmentation blends those."""
        ids = ops.cast(label_maps, "float32")[..., None]
        return ops.repeat(ids, 3, axis=-1), label_maps


class _Masks:
    """A folder of masks alone as a data set without images."""

    def __init__(self, recipe, root, masks, names):
        names = root / names if names else None
        self.maps = data.LabelMaps(root / masks, recipe.num_classes, names, recipe.ignore_class)
        self.num_classes = recipe.num_classes
        self.class_names = recipe.class_names or tuple(map(str, range(recipe.num_classes)))
        self.label_map = self.maps.__getitem__

    def __len__(self):
        return len(self.maps)

    def label_maps(self):
        """Returns all label maps, for `keras_dup.projection.fit`."""
        return self.maps


def _convolution(x, name, filters, shift, **kwargs):
    """3x3 of stride 2 that pads by one on every side; shifted, it is at 1, 3, ... of x."""
    pad = (1 - shift, 1 + shift)
    x = keras.layers.ZeroPadding2D((pad, pad), name=f"{name}_pad")(x)
    x = keras.layers.Conv2D(filters, 3, 2, use_bias=False, name=f"{name}_conv", **kwargs)(x)
    x = keras.layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def _initializer(recipe):
    """Of all kernels: all of these layers are new."""
    if not recipe.new_layers_variance:
        return "glorot_uniform"
    return keras.initializers.RandomNormal(stddev=recipe.new_layers_variance**0.5)
