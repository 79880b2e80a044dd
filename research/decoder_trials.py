"""Decoders that were tried against the vanilla one, as networks of a recipe.

    python -m training.train training/recipes/camvid_efficientnet_lite0.py steps=2700 \\
        network=research.decoder_trials:thin64 low_level_features=b2u2c3

Every name in `TRIALS` is such a function. All see the same encoder and ASPP at output stride 16
and one low-level feature at stride 4.
"""

import dataclasses
import functools

import keras
import numpy as np
from keras import layers, ops

from keras_dup import models, projection
from keras_dup.layers import (
    AdaptiveTemperatureSoftmax,
    BilinearUpsampling,
    Crop,
    DUpsampling,
    EdgePadding,
)
from keras_dup.training import datasets

__all__ = [
    "TRIALS",
    "Tensors",
    "convolution",
    "fit_projections",
    "network",
    "separable_convolution",
]

# not a public name; it repeats the edge where a slice would end a position too early
Subsampling = keras.saving.get_registered_object("keras_dup>Subsampling")
FEATURE = "b2u2c3"
CODES = 24  # of a W of ratio 4


@keras.saving.register_keras_serializable(package="keras_dup_trials")
class DepthToSpace(layers.Layer):
    """(B, h, w, r*r*C) -> (B, h*r, w*r, C)."""

    def __init__(self, ratio, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def call(self, x):
        return ops.depth_to_space(x, self.ratio)

    def compute_output_shape(self, shape):
        sides = [side and side * self.ratio for side in shape[1:3]]
        return (shape[0], *sides, shape[3] // self.ratio**2)

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}


@keras.saving.register_keras_serializable(package="keras_dup_trials")
class SpaceToDepth(DepthToSpace):
    """(B, H, W, C) -> (B, H/r, W/r, r*r*C)."""

    def call(self, x):
        return ops.space_to_depth(x, self.ratio)

    def compute_output_shape(self, shape):
        sides = [side and side // self.ratio for side in shape[1:3]]
        return (shape[0], *sides, shape[3] * self.ratio**2)


@keras.saving.register_keras_serializable(package="keras_dup_trials")
class PerWindow(DepthToSpace):
    """Maps guides by a matrix of each window: [(B, h, w, G*C), (B, H, W, G)] -> (B, H, W, C)."""

    def call(self, inputs):
        weights, guides = inputs
        shape = ops.shape(guides)
        weights = ops.repeat(ops.repeat(weights, self.ratio, 1), self.ratio, 2)
        weights = weights[:, : shape[1], : shape[2]]
        weights = ops.reshape(weights, (*shape, weights.shape[-1] // guides.shape[-1]))
        return ops.sum(weights * guides[..., None], 3)

    def compute_output_shape(self, shapes):
        return (*shapes[1][:3], shapes[0][3] // shapes[1][3])


def fit_projections(label_maps, num_classes):
    """The W of the trials: {ratio: 64 codes at 16, 32 at 8, `CODES` at 4}, and two "constant" ones.

    Those, ("constant", ratio), hold the windows of one class exactly.
    """
    fit = functools.partial(projection.fit, list(label_maps), num_classes=num_classes)
    channels = {4: CODES, 8: 32, 16: 64}
    return {ratio: fit(ratio=ratio, channels=count) for ratio, count in channels.items()} | {
        ("constant", 16): fit(ratio=16, channels=64, constant_windows=True),
        ("constant", 4): fit(ratio=4, channels=num_classes + 13, constant_windows=True),
    }


def __getattr__(name):
    if name not in TRIALS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return functools.partial(_of_recipe, name)


def _of_recipe(name, recipe, _):
    maps = datasets(recipe)[0].label_maps()
    return network(name, recipe, fit_projections(maps, recipe.num_classes))[0]


def network(name, recipe, projections):
    """The network of a trial, and the function that draws its start anew, or None.

    Args:
        name: in `TRIALS`.
        recipe: backbone, classes and weights are taken of it.
        projections: what `fit_projections` gave for its label maps.

    Returns: image (B, H, W, 3) -> probabilities (B, H, W, K); a function of the network.
    """
    head, centred = TRIALS[name]
    base = models.build(
        recipe.backbone,
        recipe.num_classes,
        16,
        (FEATURE,),
        decoder="dupsampling" if centred else "bilinear",
        projection="random" if centred else None,  # its decoder is not used
        weights=recipe.weights or None,
    )
    step = "subsampling" if centred else "projection_conv"
    low = base.get_layer(f"fuse_{FEATURE}_{step}").input
    x = base.get_layer("aspp_projection_relu").output
    found = head(Tensors(x, low, recipe.num_classes, projections))
    temperature = found.temperature
    if temperature is None:
        softmax = layers.Softmax(dtype="float32", name="softmax")
    else:
        softmax = AdaptiveTemperatureSoftmax(temperature, name="softmax")
    scores = softmax(Crop(name="crop")([found.scores, base.input]))
    model = keras.Model(base.input, scores, name=name)
    if found.start:
        found.start(model)
    return model, found.start


@dataclasses.dataclass
class Tensors:
    """What a decoder is made of."""

    x: object  # of ASPP, stride 16
    low: object  # stride 4
    classes: int
    projections: dict


@dataclasses.dataclass
class _Head:
    scores: object
    temperature: float | None = None  # None: plain softmax
    start: object = None  # a function of the model, which draws its start


def convolution(x, filters, name):
    """1x1 convolution, batch norm, ReLU."""
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def separable_convolution(x, filters, name, rate=1):
    """Depthwise 3x3 and 1x1, each with batch norm and ReLU, as the package has it."""
    keywords = {"padding": "same", "use_bias": False, "dilation_rate": rate}
    x = layers.DepthwiseConv2D(3, name=f"{name}_depthwise", **keywords)(x)
    x = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(name=f"{name}_depthwise_relu")(x)
    return convolution(x, filters, f"{name}_pointwise")


def _fused(x, feature, width=256, detail=48, extra=(), name="fuse"):
    """DeepLabv3+'s block: 1x1, concatenation, two separable convolutions."""
    parts = [x, convolution(feature, detail, f"{name}_detail"), *extra]
    x = layers.Concatenate(name=f"{name}_concat")([part for part in parts if part is not None])
    x = separable_convolution(x, width, f"{name}_1")
    return separable_convolution(x, width, f"{name}_2")


def _fused_coarse(t):
    """The paper's: the low-level feature comes down to the last one, on the centres of windows."""
    return _fused(t.x, Subsampling(4, 2, name="fuse_16_subsampling")(t.low), name="fuse_16")


def _nearest(fitted, temperature):
    """A start as nearest-neighbour upsampling of class scores that are drawn."""

    def start(model):
        compressed, (r, classes) = model.get_layer("compressed"), (fitted.ratio, fitted.num_classes)
        windows = fitted.p.reshape(-1, r * r, classes).sum(1).T  # (K, C~)
        shape = compressed.kernel.shape[2], classes
        scores = keras.ops.convert_to_numpy(keras.initializers.GlorotUniform()(shape))
        compressed.kernel.assign(temperature * (scores @ windows)[None, None])
        compressed.bias.assign(-fitted.p @ fitted.mean)

    return start


def _vanilla(t):
    x = _fused(_upsampled(t.x, 4, t.low, "context"), t.low)
    scores = layers.Conv2D(t.classes, 1, name="scores")(x)
    return _Head(BilinearUpsampling(4, name="bilinear")(scores))


def _bilinear(t):
    scores = layers.Conv2D(t.classes, 1, name="scores")(t.x)
    return _Head(BilinearUpsampling(16, name="bilinear")(scores))


def _today(t, nearest=False, constants=False):
    fitted = t.projections[("constant", 16) if constants else 16]
    codes = layers.Conv2D(64, 1, name="compressed")(_fused_coarse(t))
    scores = DUpsampling(t.classes, 16, fitted, name="dupsampling")(codes)
    return _Head(scores, 1 / 16, _nearest(fitted, 1 / 16)) if nearest else _Head(scores, 1.0)


def _upsampled(x, ratio, like, name):
    x = BilinearUpsampling(ratio, name=f"fuse_{name}_upsampling")(x)
    return Crop(name=f"fuse_{name}_crop")([x, like])


def _branch(t, width, context, extra=()):
    """Context of stride 16, the low-level feature and others -> (B, H/4, W/4, width)."""
    x = None
    if context:
        x = _upsampled(convolution(t.x, context, "fuse_context"), 4, t.low, "context")
    return _fused(x, t.low, width, 32, extra)


def _coarse_scores(t):
    return _upsampled(layers.Conv2D(t.classes, 1, name="scores_coarse")(t.x), 4, t.low, "scores")


def _thin(t, width=64, context=32, coarse=True):
    """D2 without W: scores at stride 4, bilinear from there."""
    x = layers.Conv2D(t.classes, 1, name="scores")(_branch(t, width, context))
    if coarse:
        x = layers.Add(name="scores_sum")([x, _coarse_scores(t)])
    return _Head(BilinearUpsampling(4, name="bilinear")(x))


def _thin_codes(t, width=64, context=32, constants=False):
    """D2: codes of windows of 4 x 4 at stride 4, W."""
    fitted = t.projections[("constant", 4) if constants else 4]
    x = layers.Concatenate(name="fuse_codes")([_branch(t, width, context), _coarse_scores(t)])
    x = layers.Conv2D(fitted.channels, 1, name="compressed")(x)
    x = DUpsampling(t.classes, 4, fitted, name="dupsampling")(x)
    return _Head(x, 1 / 4, _nearest(fitted, 1 / 4))


def _thin_residual(t, width=64, context=32):
    """D2 without W, and W's windows of codes that are zero at first, added."""
    fitted = t.projections[4]
    fitted = dataclasses.replace(fitted, mean=np.zeros_like(fitted.mean))
    branch = _branch(t, width, context)
    scores = layers.Conv2D(t.classes, 1, name="scores")(branch)
    scores = layers.Add(name="scores_sum")([scores, _coarse_scores(t)])
    scores = BilinearUpsampling(4, name="bilinear")(scores)
    codes = layers.Conv2D(CODES, 1, kernel_initializer="zeros", name="compressed")(branch)
    codes = layers.Rescaling(4.0, name="compressed_scaled")(codes)  # 1 / T of windows of 4 x 4
    edges = DUpsampling(t.classes, 4, fitted, name="dupsampling")(codes)
    return _Head(layers.Add(name="bilinear_and_edges")([scores, edges]))


def _two(t, fused=False, context=0, guided=False):
    """D1: today's decoder, its codes re-coded into windows of 4 x 4, and a residual on these."""
    coarse, fine = t.projections[16], t.projections[4]
    codes = layers.Conv2D(64, 1, name="compressed")(_fused_coarse(t) if fused else t.x)
    recoding = layers.Conv2D(16 * CODES, 1, trainable=False, name="compressed_again")
    codes = DepthToSpace(4, name="compressed_to_space")(recoding(codes))
    codes = Crop(name="fuse_codes_crop")([codes, t.low])
    if guided:
        residual = _per_window(t)
    else:
        x = _branch(t, 64, context, extra=(codes,))
        residual = layers.Conv2D(CODES, 1, kernel_initializer="zeros", name="compressed_residual")(
            x
        )
    # T is 1/16 where a window of 4 x 4 alone would have 1/4
    residual = layers.Rescaling(0.25, name="compressed_scaled")(residual)
    codes = layers.Add(name="compressed_sum")([codes, residual])
    scores = DUpsampling(t.classes, 4, fine, name="dupsampling")(codes)

    def start(model):
        _nearest(coarse, 1 / 16)(model)
        kernel, bias = projection.recode(coarse, fine)
        recoding.kernel.assign(kernel[None, None])
        recoding.bias.assign(bias)

    return _Head(scores, 1 / 16, start)


def _per_window(t, guides=8):
    """D3's residual: guides at stride 4, mapped by a matrix of each window of stride 16."""
    x = convolution(t.low, 32, "fuse_detail")
    x = separable_convolution(x, 32, "fuse_1")
    x = separable_convolution(x, guides, "fuse_2")
    small = keras.initializers.RandomNormal(stddev=0.01)
    maps = layers.Conv2D(guides * CODES, 1, kernel_initializer=small, name="compressed_maps")(t.x)
    return PerWindow(4, name="fuse_per_window")([maps, x])


def _stride8(t, upsampling="W"):
    """D4: one fusion at stride 8, its low-level feature with all its values."""
    fitted = t.projections[8]
    low = SpaceToDepth(2, name="fuse_to_depth")(EdgePadding(2, name="fuse_padding")(t.low))
    x = _fused(_upsampled(convolution(t.x, 128, "fuse_context"), 2, low, "context"), low, 128)
    if upsampling == "bilinear":
        scores = layers.Conv2D(t.classes, 1, name="scores")(x)
        return _Head(BilinearUpsampling(8, name="bilinear")(scores))
    codes = layers.Conv2D(fitted.channels, 1, name="compressed")(x)
    scores = DUpsampling(t.classes, 8, fitted, name="dupsampling")(codes)
    return _Head(scores, 1 / 8, _nearest(fitted, 1 / 8))


_part = functools.partial
# name: (head, does its encoder centre the last feature on windows)
TRIALS = {
    "vanilla": (_vanilla, False),
    "bilinear": (_bilinear, False),
    "today": (_today, True),
    "today_nearest": (_part(_today, nearest=True), True),
    "today_constants": (_part(_today, nearest=True, constants=True), True),
    "two": (_two, True),
    "two_fused": (_part(_two, fused=True), True),
    "two_context": (_part(_two, context=32), True),
    "per_window": (_part(_two, fused=True, guided=True), True),
    "thin64": (_thin, False),
    "thin64_codes": (_thin_codes, False),
    "thin64_constants": (_part(_thin_codes, constants=True), False),
    "thin64_residual": (_thin_residual, False),
    "thin96": (_part(_thin, width=96, context=96), False),
    "thin96_codes": (_part(_thin_codes, width=96, context=96), False),
    "thin96_residual": (_part(_thin_residual, width=96, context=96), False),
    "thin128": (_part(_thin, width=128, context=128, coarse=False), False),
    "stride8": (_stride8, False),
    "stride8_bilinear": (_part(_stride8, upsampling="bilinear"), False),
}
