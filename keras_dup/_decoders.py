"""ASPP, the fusion of low-level features, and the two decoders.

Functions on symbolic tensors. Every layer is named by its position and keeps its name, since
checkpoints depend on the names. Sizes and layers follow from the paper's FLOPs (Tables 2-4), see
`keras_dup.flops`.
"""

import dataclasses
from typing import Any

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

__all__ = [
    "Fusion",
    "aspp",
    "bilinear_decoder",
    "convolution",
    "dupsampling_decoder",
    "fuse_features",
    "separable_convolution",
    "start_as_bilinear",
    "start_as_nearest",
]

Feature = tuple[str, Any, int]  # name, tensor, stride
LOW_LEVEL_CHANNELS = 48  # of a feature before it is fused (DeepLabv3+)


def aspp(x: Any, output_stride: int) -> Any:
    """DeepLabv3+'s atrous spatial pyramid pooling (Chen et al. 2018): (B, h, w, any) -> 256.

    Five branches of 256 channels are concatenated in this order and projected to 256: image
    pooling, a 1x1, and three separable 3x3 at rates 6, 12, 18 (at stride 16; twice that at 8, half
    at 32). Branches, order and batch norm (epsilon 1e-5) follow `_extract_features` of DeepLab's
    model.py, the rates for strides 16 and 8 its model zoo, which has no stride 32. Two differences:
    DeepLab pools over the training crop, this over the whole feature; and there is no dropout,
    since a random layer inside a Keras model changes the batch norm of its exports.
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
            come down are then sampled there too, and what goes up is interpolated from there.
    """

    stride: int | None = None
    filters: int = 256
    low_level_channels: int = LOW_LEVEL_CHANNELS
    context_channels: int | None = None
    downsample: str = "subsample"
    centred: bool = False


def fuse_features(
    x: Any, low_level_features: list[Feature], stride: int, fusion: Fusion
) -> tuple[Any, int]:
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
            like = detail if ratio > 1 else feature  # the order of layers in old files
            x = _raised(x, stride // meeting, like, name, fusion)
            stride = meeting
        x = layers.Concatenate(name=f"fuse_{name}_concat")([x, detail])
        x = separable_convolution(x, fusion.filters, name=f"fuse_{name}_1")
        x = separable_convolution(x, fusion.filters, name=f"fuse_{name}_2")
    return x, stride


def _raised(x, ratio, like, name, fusion):
    """x at the size of `like`, by bilinear interpolation, in the channels of the context."""
    if fusion.context_channels:
        x = convolution(x, fusion.context_channels, name=f"fuse_{name}_context")
    x = BilinearUpsampling(ratio, fusion.centred, name=f"fuse_{name}_upsampling")(x)
    return Crop(name=f"fuse_{name}_crop")([x, like])


def dupsampling_decoder(
    x: Any,
    low_level_features: list[Feature],
    stride: int,
    upsampling: keras.layers.Layer,
    channels: int,
    fusion: Fusion | None = None,
    interpolated_scores: bool = False,
    coarse_scores: bool = False,
) -> Any:
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
        ratio = stride // fused_stride
        scores = _coarse_scores(x, upsampling.num_classes, ratio, fused, fusion.centred)
        fused = layers.Concatenate(name="scores_concat")([fused, scores])
    codes = _codes(fused, channels, upsampling.num_classes, interpolated_scores)
    if fused_stride > upsampling.ratio:
        ratio = fused_stride // upsampling.ratio
        codes = BilinearUpsampling(ratio, fusion.centred, name="compressed_upsampling")(codes)
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


def _coarse_scores(x, num_classes, ratio, like, centred):
    """Class scores of x, by bilinear interpolation at the size of `like`."""
    scores = layers.Conv2D(num_classes, 1, name="scores_coarse")(x)
    if ratio == 1:
        return scores
    scores = BilinearUpsampling(ratio, centred, name="scores_upsampling")(scores)
    return Crop(name="scores_crop")([scores, like])


def start_as_nearest(model: keras.Model, projection: Any, temperature: float) -> None:
    """Sets the 1x1 convolution before DUpsampling: it starts as nearest-neighbour upsampling.

    The counterpart of ICNR (Aitken et al. 2017) for W. A random linear map gives class scores s of
    each feature, and the convolution computes x = T P v - P mean, where v is a window with the
    scores s in every pixel. Then

        (W x + mean) / T  =  W P v + (I - W P) mean / T

    which is s in every pixel if W spans the windows of one class and the mean: a projection fitted
    with `constant_windows=True` does. Else (I - W P) mean / T is left over. With a kernel
    drawn at random every pixel of a window has a score of its own, and the mean, divided by a small
    T, favours the frequent classes.

    Args:
        model: a model of `build` without interpolated scores.
        projection: a `LabelProjection`.
        temperature: T at the start.
    """
    compressed = model.get_layer("compressed")
    windows = _compressed_windows(projection, np.ones((1, projection.ratio)))[0, 0]
    shape = compressed.kernel.shape[2], projection.num_classes
    scores = keras.ops.convert_to_numpy(keras.initializers.GlorotUniform()(shape))
    compressed.kernel.assign(temperature * (scores @ windows)[None, None])
    compressed.bias.assign(-projection.p @ projection.mean)


def start_as_bilinear(model: keras.Model, projection: Any, temperature: float) -> None:
    """Sets the interpolation before DUpsampling: it starts as bilinear upsampling of class scores.

    A fixed 3x3 convolution computes x = T P v, where v is the window that bilinear interpolation
    makes of the scores at a position and at its eight neighbours, with scores at the centres of
    windows. W x / T is W P v, which is v as far as W spans such windows; it never spans all of
    them. For class scores drawn from a normal distribution and `voc2012_r16_c64` the largest class
    is that of bilinear upsampling on 73 % of the pixels (71 % with the constant windows in W), and
    a score is off by 0.15 standard deviations in the mean. A 1x1 convolution, which starts as zero
    with the bias -P mean, adds the edges in training.

    Args:
        model: a model of `build` with interpolated scores.
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


def bilinear_decoder(
    x: Any,
    low_level_features: list[Feature],
    stride: int,
    num_classes: int,
    fusion: Fusion | None = None,
    coarse_scores: bool = False,
) -> Any:
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
    fusion = fusion or Fusion()
    fused, fused_stride = fuse_features(x, low_level_features, stride, fusion)
    scores = layers.Conv2D(num_classes, 1, name="scores")(fused)
    if coarse_scores:
        ratio = stride // fused_stride
        coarse = _coarse_scores(x, num_classes, ratio, fused, fusion.centred)
        scores = layers.Add(name="scores_sum")([scores, coarse])
    return BilinearUpsampling(fused_stride, fusion.centred, name="bilinear")(scores)


def convolution(x: Any, filters: int, *, size: int = 1, name: str) -> Any:
    """Convolution of size x size at this stride, batch norm, ReLU."""
    x = layers.Conv2D(filters, size, strides=size, use_bias=False, name=f"{name}_conv")(x)
    return _normalized(x, name)


def separable_convolution(x: Any, filters: int, *, rate: int = 1, name: str) -> Any:
    """Depthwise 3x3 and pointwise 1x1, each with batch norm and ReLU, as DeepLab does it."""
    x = layers.DepthwiseConv2D(
        3, padding="same", dilation_rate=rate, use_bias=False, name=f"{name}_depthwise"
    )(x)
    return convolution(_normalized(x, f"{name}_depthwise"), filters, name=f"{name}_pointwise")


def _normalized(x, name):
    x = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
