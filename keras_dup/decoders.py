"""What follows the backbone: ASPP, the fusion of low-level features, and the two heads.

Functions on symbolic tensors; every layer is named by its position, since checkpoints hang on the
names. Sizes and layers are read from the paper's FLOPs (Tables 2-4), see `keras_dup.flops`.
"""

import dataclasses

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


@dataclasses.dataclass(frozen=True)
class Fusion:
    """Where low-level features meet the last feature, and in how many channels.

    Args:
        stride: 4, 8, 16, ...: features finer than it come down to it, and the last feature goes up
            to it. None: every feature is fused at its own stride.
        filters: of the two separable convolutions after each feature.
        low_level_channels: of each feature before it is fused.
        context_channels: of x before it goes up; None leaves it as it is.
        downsample: how features come down, see `keras_dup.models.build`.
        centred: x sits at the centres of windows, in place of their first pixels; features that
            come down are then sampled there too.
    """

    stride: int | None = None
    filters: int = 256
    low_level_channels: int = LOW_LEVEL_CHANNELS
    context_channels: int | None = None
    downsample: str = "subsample"
    centred: bool = False


def fuse_features(x, low_level_features, stride, fusion):
    """Merges low-level features into x, one after the other (Eq. 8).

    Args:
        x: (B, h, w, C) at `stride`.
        low_level_features: list of (name, feature, stride of the feature), falling strides.
        fusion: a `Fusion`.

    Returns: (B, h', w', fusion.filters) and its stride; x where there are no features.
    """
    for name, feature, feature_stride in low_level_features:
        meeting = min(stride, max(feature_stride, fusion.stride or feature_stride))
        ratio, size = meeting // feature_stride, 1
        if ratio > 1 and fusion.downsample == "convolution":
            feature, size = EdgePadding(ratio, name=f"fuse_{name}_padding")(feature), ratio
        elif ratio > 1:
            start = ratio // 2 if fusion.centred else 0
            feature = Subsampling(ratio, start, name=f"fuse_{name}_subsampling")(feature)
        detail = convolution(
            feature, fusion.low_level_channels, size=size, name=f"fuse_{name}_projection"
        )
        if meeting < stride:
            like = feature if size == 1 else detail
            x = _raised(x, stride // meeting, like, name, fusion.context_channels)
            stride = meeting
        x = layers.Concatenate(name=f"fuse_{name}_concat")([x, detail])
        x = separable_convolution(x, fusion.filters, name=f"fuse_{name}_1")
        x = separable_convolution(x, fusion.filters, name=f"fuse_{name}_2")
    return x, stride


def _raised(x, ratio, like, name, channels=None):
    """x at the size of `like`, by bilinear interpolation, in `channels`."""
    if channels:
        x = convolution(x, channels, name=f"fuse_{name}_context")
    x = BilinearUpsampling(ratio, name=f"fuse_{name}_upsampling")(x)
    return Crop(name=f"fuse_{name}_crop")([x, like])


def dupsampling_decoder(
    x,
    low_level_features,
    stride,
    upsampling,
    channels,
    fusion=None,
    interpolated_scores=False,
    coarse_scores=False,
):
    """Low-level features are fused, a 1x1 convolution gives codes, and W makes windows of them.

    The paper's decoder (Fig. 2) is the case in which the ratio of W and the stride of the fusion
    are the stride of x.

    Args:
        x: the output of `aspp`, (B, h, w, 256), at `stride`.
        low_level_features: list of (name, feature, stride of the feature), fused in this order.
        upsampling: the `DUpsampling` layer. Where the fused features are at a larger stride than
            its ratio, their codes are interpolated to it.
        channels: C~, the output of the last 1x1 convolution.
        fusion: a `Fusion`; None fuses at `stride`.
        interpolated_scores: True adds class scores, interpolated in each window, to the output of
            the last convolution; for the weights see `start_as_bilinear`.
        coarse_scores: True also gives the last convolution the class scores of x.

    Returns: (B, h*stride, w*stride, num_classes) or up to a window less, logits.
    """
    fusion = fusion or Fusion(stride)
    fused, fused_stride = fuse_features(x, low_level_features, stride, fusion)
    if coarse_scores:
        scores = _coarse_scores(x, upsampling.num_classes, stride // fused_stride, fused)
        fused = layers.Concatenate(name="scores_concat")([fused, scores])
    codes = _codes(fused, channels, upsampling.num_classes, interpolated_scores)
    if fused_stride > upsampling.ratio:
        ratio = fused_stride // upsampling.ratio
        codes = BilinearUpsampling(ratio, name="compressed_upsampling")(codes)
    return upsampling(codes)


def _codes(x, channels, num_classes, interpolated_scores):
    """The C~ channels that DUpsampling takes."""
    if not interpolated_scores:
        return layers.Conv2D(channels, 1, name="compressed")(x)
    edges = layers.Conv2D(channels, 1, kernel_initializer="zeros", name="compressed_edges")(x)
    scores = layers.Conv2D(num_classes, 1, use_bias=False, name="scores")(x)
    scores = BorderPadding(name="interpolation_padding")(scores)
    interpolation = layers.Conv2D(
        channels, 3, use_bias=False, trainable=False, name="interpolation"
    )
    return layers.Add(name="compressed")([edges, interpolation(scores)])


def _coarse_scores(x, num_classes, ratio, like):
    """Class scores of x, by bilinear interpolation at the size of `like`."""
    scores = layers.Conv2D(num_classes, 1, name="scores_coarse")(x)
    if ratio == 1:
        return scores
    scores = BilinearUpsampling(ratio, name="scores_upsampling")(scores)
    return Crop(name="scores_crop")([scores, like])


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


def bilinear_decoder(x, low_level_features, stride, num_classes, fusion=None, coarse_scores=False):
    """Low-level features are fused, a 1x1 convolution gives class scores, and these go up.

    DeepLabv3+'s decoder (Fig. 1) is the case in which every feature is fused at its own stride.

    Args:
        x, low_level_features, stride: as in `dupsampling_decoder`; falling strides.
        num_classes: K.
        fusion: a `Fusion`; None is DeepLabv3+'s.
        coarse_scores: True adds the class scores of x, interpolated, to those of the fused
            features: what the fusion adds is then a correction.

    Returns: (B, H', W', num_classes), logits, H' and W' at least the image's.
    """
    fused, fused_stride = fuse_features(x, low_level_features, stride, fusion or Fusion())
    scores = layers.Conv2D(num_classes, 1, name="scores")(fused)
    if coarse_scores:
        coarse = _coarse_scores(x, num_classes, stride // fused_stride, fused)
        scores = layers.Add(name="scores_sum")([scores, coarse])
    return BilinearUpsampling(fused_stride, name="bilinear")(scores)


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
