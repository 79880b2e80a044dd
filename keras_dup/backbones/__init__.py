"""Encoders: image -> features by name, one file a family.

Each is a function `backbone(image, output_stride, centred=False)` on symbolic tensors: (B, H, W, 3)
in 0..255 in, a dict {name: feature} out, in the order of computation, the last feature last.
Preprocessing is inside. A feature at stride s has ceil(H/s) x ceil(W/s) positions and is centred on
the pixels 0, s, 2s, ... at every H and W, because strided convolutions pad symmetrically, as
DeepLab's do. With `centred` those at the output stride s are centred on s/2, s + s/2, ... instead:
the centres of the windows that DUpsampling makes of them.
"""

from keras_dup.backbones.efficientnet_lite import (
    efficientnet_lite0,
    efficientnet_lite1,
    efficientnet_lite2,
)
from keras_dup.backbones.mobilenet import mobilenet_v2
from keras_dup.backbones.resnet import resnet50, resnet101
from keras_dup.backbones.xception import xception65, xception71

__all__ = [
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "mobilenet_v2",
    "resnet50",
    "resnet101",
    "xception65",
    "xception71",
]
