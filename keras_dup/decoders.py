"""What follows the backbone: ASPP, the fusion of low-level features, and the two heads.

Functions on symbolic tensors; every layer is named by its position, since checkpoints hang on the
names. Sizes and layers are read from the paper's FLOPs (Tables 2-4), see `keras_dup.flops`.
"""

import keras
import numpy as np
from keras import layers

from keras_dup.layers import (
    BilinearUpsampling,
    BorderPadding,
    BroadcastLike,
    Crop,
    EdgePadding,
    Subsampling,
)

LOW_LEVEL_CHANNELS = 48  # that a feature of the encoder is brought to, DeepLabv3+'s


def aspp(x, output_stride):
    """DeepLabv3+'s atrous spatial pyramid pooling (Chen et al. 2018): (B, h, w, any) -> 256.

    The image pooling, a 1x1 and three separable 3x3 at rates 6, 12, 18 (of stride 16; twice that
    at 8, half at 32), 256 channels each, concatenated in this order and projected to 256: branches,
    order and batch norm (epsilon 1e-5) as `_extract_features` of DeepLab's model.py has them, the
    rates of 16 and 8 as its model zoo; 32 does not occur there. DeepLab pools over the crop of the
    training, here it is the mean of the whole feature. Without DeepLab's dropout: a random layer
    inside a Keras model upsets the batch norm of its exports.
    """
    pooled = layers.GlobalAveragePooling2D(keepdims=True, name="aspp_mean")(x)
    pooled = convolution(pooled, 256, name="aspp_pooling")
    branches = [BroadcastLike(name="aspp_broadcast")([pooled, x])]
    branches.append(convolution(x, 256, name="aspp0"))
    for i in (1, 2, 3):
        rate = 6 * i * 16 // output_stride
        branches.append(separable_convolution(x, 256, rate=rate, name=f"aspp{i}"))
    x = layers.Concatenate(name="aspp_concat")(branches)
    return convolution(x, 256, name="aspp_projection")


def fuse(x, feature, name, filters, size=1):
    """Merges one low-level feature into x (Eq. 8): -> (B, h, w, 256).

    1x1 to `filters`, concatenation, two separable 3x3 to 256. Several features take one such block
    each. With a `size` over 1 the feature has as many times the rows and columns of x, and the
    first convolution is a size x size at this stride.
    """
    feature = convolution(feature, filters, size=size, name=f"fuse_{name}_projection")
    x = layers.Concatenate(name=f"fuse_{name}_concat")([x, feature])
    x = separable_convolution(x, 256, name=f"fuse_{name}_1")
    return separable_convolution(x, 256, name=f"fuse_{name}_2")


def dupsampling_decoder(
    x,
    low_level_features,
    stride,
    upsampling,
    channels,
    centred=False,
    downsample="subsample",
    low_level_channels=LOW_LEVEL_CHANNELS,
    interpolated_scores=False,
):
    """The paper's decoder (Fig. 2): low-level features come down to x, then DUpsampling.

    Args:
        x: the output of `aspp`, (B, h, w, 256), at `stride`.
        low_level_features: list of (name, feature, stride of the feature), fused in this order.
        upsampling: the `DUpsampling` layer, of ratio `stride`.
        channels: C~, what the last 1x1 convolution gives to `upsampling`.
        centred: x is at the centres of windows (`keras_dup.backbones`), and so come the others.
        downsample, low_level_channels: see `keras_dup.models.build`.
        interpolated_scores: True adds class scores, interpolated in each window, to the output of
            the last convolution; for the weights see `start_as_bilinear`.

    Returns: (B, h*stride, w*stride, num_classes), logits.
    """
    for name, feature, feature_stride in low_level_features:
        ratio, size = stride // feature_stride, 1
        if ratio > 1 and downsample == "convolution":
            feature, size = EdgePadding(ratio, name=f"fuse_{name}_padding")(feature), ratio
        elif ratio > 1:
            start = ratio // 2 if centred else 0
            feature = Subsampling(ratio, start, name=f"fuse_{name}_subsampling")(feature)
        x = fuse(x, feature, name, low_level_channels, size)
    if not interpolated_scores:
        return upsampling(layers.Conv2D(channels, 1, name="compressed")(x))
    edges = layers.Conv2D(channels, 1, kernel_initializer="zeros", name="compressed_edges")(x)
    scores = layers.Conv2D(upsampling.num_classes, 1, use_bias=False, name="scores")(x)
    scores = BorderPadding(name="interpolation_padding")(scores)
    interpolation = layers.Conv2D(
        channels, 3, use_bias=False, trainable=False, name="interpolation"
    )
    return upsampling(layers.Add(name="compressed")([edges, interpolation(scores)]))


def start_as_nearest(model, projection, temperature):
    """Sets the 1x1 convolution before DUpsampling: it starts as nearest-neighbour upsampling.

    What Aitken et al. 2017 (ICNR) do for a sub-pixel convolution, with P and W: class scores s are
    drawn from the features, and x = T P v - P mean with v a window of s throughout. As far as W
    rebuilds such windows, (W x + mean) / T is s in every pixel; training adds the edges. A kernel
    drawn at random gives every pixel of a window a score of its own, and the mean, over a small T,
    favours the frequent classes.

    Args:
        model: what `build` made, without interpolated scores.
        projection: a `LabelProjection`.
        temperature: T at the start.
    """
    compressed = model.get_layer("compressed")
    windows = _compressed_windows(projection, np.ones((1, projection.ratio)))[0, 0]
    shape = compressed.kernel.shape[2], projection.num_classes
    scores = keras.ops.convert_to_numpy(keras.initializers.GlorotUniform()(shape))
    compressed.kernel.assign(temperature * (scores @ windows)[None, None])
    compressed.bias.assign(-projection.p @ projection.mean)


def start_as_bilinear(model, projection, temperature):
    """Sets the interpolation before DUpsampling: it starts as bilinear upsampling of class scores.

    A fixed 3x3 convolution gives x = T P v, v the window that bilinear interpolation makes of a
    position's scores and the eight next to it; as far as W rebuilds such windows, (W x) / T is
    v. A 1x1 convolution, zero at first but for -P mean, adds to x what training finds of edges. One
    feature alone cannot tell what its neighbours score, as interpolation can.

    Args:
        model: what `build` made, with interpolated scores.
        projection, temperature: as in `start_as_nearest`.
    """
    places = (np.arange(projection.ratio) + 0.5) / projection.ratio - 0.5  # in windows
    shares = np.maximum(0, 1 - np.abs(places - np.array([[-1], [0], [1]])))
    windows = _compressed_windows(projection, shares)
    model.get_layer("interpolation").kernel.assign(temperature * windows)
    model.get_layer("compressed_edges").bias.assign(-projection.p @ projection.mean)


def _compressed_windows(projection, shares):
    """P of windows of one class: (n, r) shares by row or column -> (n, n, K, C~)."""
    p = projection.p.reshape(-1, projection.ratio, projection.ratio, projection.num_classes)
    return np.einsum("cijk,yi,xj->yxkc", p, shares, shares, optimize=True)


def bilinear_decoder(x, low_level_features, stride, num_classes):
    """DeepLabv3+'s decoder (Fig. 1): x goes up to the low-level feature, then bilinear.

    Args: as in `dupsampling_decoder`; the features have falling strides.

    Returns: (B, H', W', num_classes), logits, H' and W' at least the image's.
    """
    for name, feature, feature_stride in low_level_features:
        if feature_stride < stride:
            ratio = stride // feature_stride
            x = BilinearUpsampling(ratio, name=f"fuse_{name}_upsampling")(x)
            x = Crop(name=f"fuse_{name}_crop")([x, feature])
            stride = feature_stride
        x = fuse(x, feature, name, LOW_LEVEL_CHANNELS)
    scores = layers.Conv2D(num_classes, 1, name="scores")(x)
    return BilinearUpsampling(stride, name="bilinear")(scores)


def convolution(x, filters, *, size=1, name):
    """Convolution of size x size at this stride, batch norm, ReLU."""
    x = layers.Conv2D(filters, size, strides=size, use_bias=False, name=f"{name}_conv")(x)
    return _normalized(x, name)


def separable_convolution(x, filters, *, rate=1, name):
    """Depthwise 3x3 and pointwise 1x1, each with batch norm and ReLU, as DeepLab does it."""
    x = layers.DepthwiseConv2D(
        3, padding="same", dilation_rate=rate, use_bias=False, name=f"{name}_depthwise"
    )(x)
    return convolution(_normalized(x, f"{name}_depthwise"), filters, name=f"{name}_pointwise")


def _normalized(x, name):
    x = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
