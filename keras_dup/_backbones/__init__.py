"""Encoders: functions from an image to its features by name, one file per family.

Each is `backbone(image, output_stride, centred=False)` on symbolic tensors. The image is
(B, H, W, 3) in 0..255; preprocessing is inside. The result is {name: feature} in the order of
computation, the last feature last.

A feature at stride s has ceil(H/s) x ceil(W/s) positions. They are centred on the pixels 0, s, 2s,
... at every H and W, because strided convolutions pad symmetrically, as in DeepLab: on sizes
k*s + 1 (513) bilinear upsampling with aligned corners then fits exactly. With `centred` the
features at the output stride s are centred on the pixels s/2, s + s/2, ... instead, the centres of
the windows that DUpsampling makes of them. DeepLab has no such features; `keras_dup.models.build`
uses them where the ratio of W and the fusion have the output stride. Those of a vision transformer,
in PATCHES, always are.
"""

from keras_dup._backbones.efficientnet_lite import (
    efficientnet_lite0,
    efficientnet_lite1,
    efficientnet_lite2,
)
from keras_dup._backbones.mobilenet import mobilenet_v2
from keras_dup._backbones.resnet import resnet50, resnet101
from keras_dup._backbones.vision_transformer import vit_base_patch16
from keras_dup._backbones.xception import xception65, xception71

__all__ = [
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "mobilenet_v2",
    "resnet50",
    "resnet101",
    "vit_base_patch16",
    "xception65",
    "xception71",
]

PATCHES = ("vit_base_patch16",)
