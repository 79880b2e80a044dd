"""The networks of the paper's tables, and one more; the defaults of `build` for each backbone.

Plain data, without Keras. `build(preset="voc2012_xception65")` builds a row; other arguments
override it.
"""

import os

from keras_dup import _hub
from keras_dup._nearest import hint

__all__ = ["PRESETS"]

# low-level features: the best of the paper's tables, or features at the same places; thin: those of
# the thin decoder, at stride 4; channels: C~
_BACKBONES = {
    name: {"low_level_features": best, "thin": thin, "channels": channels}
    for name, best, thin, channels in (
        ("xception65", ("mfb1u16c3",), ("efb2u1c2",), 128),
        ("xception71", ("mfb1u16c3",), ("efb2u1c2",), 256),
        ("resnet50", ("conv1_3", "b3u6c3"), ("b1u2c3",), 64),
        ("resnet101", ("conv1_3", "b3u23c3"), ("b1u2c3",), 64),
        ("mobilenet_v2", ("b2u2c3", "b5u3c3"), ("b2u2c3",), 64),
        ("efficientnet_lite0", ("b2u2c3", "b5u3c3"), ("b2u2c3",), 64),
        ("efficientnet_lite1", ("b2u3c3", "b5u4c3"), ("b2u3c3",), 64),
        ("efficientnet_lite2", ("b2u3c3", "b5u4c3"), ("b2u3c3",), 64),
        ("vit_base_patch16", (), (), 64),
    )
}

# what decoder="thin" stands for: DeepLabv3+'s decoder, in fewer channels and beside coarse scores
THIN = {
    "fusion_stride": 4,
    "fusion_channels": 128,
    "low_level_channels": 48,
    "context_channels": 64,
    "coarse_scores": True,
}

# what arguments of `build` may be
DECODERS = ("thin", "dupsampling", "bilinear")
DOWNSAMPLES = ("subsample", "convolution")
INITIALIZERS = ("glorot_uniform", "nearest")
OUTPUT_STRIDES = (8, 16, 32)
RATIOS = (2, 4, 8, 16, 32)  # of W, and strides at which features can meet

# trained networks that the package has
_MODELS = {"voc_animals": "voc_animals_efficientnet_lite0.keras"}


def check_model(path_or_name: str | os.PathLike) -> None:
    """Raises ValueError for what `keras_dup.models.load` does not take, as far as names tell.

    ImportError for a model on a hub whose client is not installed. Nothing is read or fetched.
    """
    if path_or_name in _MODELS:
        return
    if _hub.is_handle(path_or_name):
        _hub.check(str(path_or_name))
    elif os.path.isdir(path_or_name):
        _hub.model_in(path_or_name)
    elif not os.path.isfile(path_or_name):
        known = f"({', '.join(_MODELS)}){hint(path_or_name, _MODELS)}"
        raise ValueError(f"{path_or_name}: no such file, and no model of the package {known}")


_VOC = {"dataset": "PASCAL VOC 2012", "num_classes": 21, "input_size": (513, 513)}
_CITYSCAPES = {"dataset": "Cityscapes", "num_classes": 19, "input_size": (1025, 2049)}
# 59 classes and the background; the paper gives no input size
_CONTEXT = {"dataset": "PASCAL Context", "num_classes": 60, "input_size": (513, 513)}

_COLUMNS = ("backbone", "output_stride", "low_level_features", "channels", "decoder")
_BILINEAR = (None, "bilinear")  # has no C~

# name, data set, network (_COLUMNS), row of the paper, mIOU there in %, decoder's FLOPS there in
# billions (a multiply-add counts 2); None where the paper prints no such number
_ROWS = (
    # Table 1: the upsampling alone
    ("voc2012_resnet50_stride32_bilinear", _VOC,
     ("resnet50", 32, (), *_BILINEAR), "Table 1, bilinear, 32", 70.77, None),
    ("voc2012_resnet50_stride32", _VOC,
     ("resnet50", 32, (), 64, "dupsampling"), "Table 1, DUpsampling, 32", 72.09, None),
    ("voc2012_resnet50_stride16_bilinear", _VOC,
     ("resnet50", 16, (), *_BILINEAR), "Table 1, bilinear, 16", 72.15, None),
    ("voc2012_resnet50_stride16", _VOC,
     ("resnet50", 16, (), 64, "dupsampling"), "Tables 1 and 2, N/A", 73.15, "0.80"),
    # Table 2: which low-level features
    ("voc2012_resnet50_conv1_3", _VOC,
     ("resnet50", 16, ("conv1_3",), 64, "dupsampling"), "Table 2, conv1_3", 72.70, "1.13"),
    ("voc2012_resnet50_b1u2c3", _VOC,
     ("resnet50", 16, ("b1u2c3",), 64, "dupsampling"), "Tables 2 and 3, b1u2c3", 74.03, "1.15"),
    ("voc2012_resnet50_b3u6c3", _VOC,
     ("resnet50", 16, ("b3u6c3",), 64, "dupsampling"), "Table 2, b3u6c3", 73.43, "1.23"),
    ("voc2012_resnet50_b1u2c3_b3u6c3", _VOC,
     ("resnet50", 16, ("b1u2c3", "b3u6c3"), 64, "dupsampling"), "Table 2, b1u2c3 + b3u6c3",
     73.82, "1.58"),
    ("voc2012_resnet50", _VOC,
     ("resnet50", 16, ("conv1_3", "b3u6c3"), 64, "dupsampling"),
     "Tables 2 and 3, conv1_3 + b3u6c3", 74.20, "1.56"),
    # Table 3: against the vanilla decoder
    ("voc2012_resnet50_b1u2c3_bilinear", _VOC,
     ("resnet50", 16, ("b1u2c3",), *_BILINEAR), "Table 3, vanilla b1u2c3", 73.26, "5.53"),
    # the one figure that this reading of the decoder does not give: it gives 21.56
    ("voc2012_resnet50_bilinear", _VOC,
     ("resnet50", 16, ("conv1_3", "b3u6c3"), *_BILINEAR),
     "Table 3, vanilla conv1_3 + b3u6c3", None, "22.34"),
    ("voc2012_xception65_efb2u1c2_bilinear", _VOC,
     ("xception65", 16, ("efb2u1c2",), *_BILINEAR), "Table 3, vanilla efb2u1c2", 78.70, "5.53"),
    ("voc2012_xception65_efb2u1c2", _VOC,
     ("xception65", 16, ("efb2u1c2",), 128, "dupsampling"), "Table 3, proposed efb2u1c2",
     79.09, "1.93"),
    ("voc2012_xception65_bilinear", _VOC,
     ("xception65", 16, ("mfb1u16c3",), *_BILINEAR), "Table 3, vanilla mfb1u16c3", 78.74, "0.41"),
    ("voc2012_xception65", _VOC,
     ("xception65", 16, ("mfb1u16c3",), 128, "dupsampling"), "Table 3, proposed mfb1u16c3",
     79.67, "1.98"),
    # Table 4
    ("cityscapes_xception71_bilinear", _CITYSCAPES,
     ("xception71", 16, ("efb2u1c2",), *_BILINEAR), "Table 4, vanilla efb2u1c2", 79.36, "43.65"),
    ("cityscapes_xception71", _CITYSCAPES,
     ("xception71", 16, ("mfb1u16c3",), 256, "dupsampling"), "Table 4, proposed mfb1u16c3",
     79.06, "25.14"),
    # Table 6; C~ with Xception-71 is not stated there, this is that of Cityscapes
    ("pascal_context_xception65", _CONTEXT,
     ("xception65", 16, ("mfb1u16c3",), 128, "dupsampling"), "Table 6, Xception-65", 51.4, None),
    ("pascal_context_xception71", _CONTEXT,
     ("xception71", 16, ("mfb1u16c3",), 256, "dupsampling"), "Table 6, Xception-71", 52.5, None),
    # a vision transformer has no feature finer than its patches
    ("voc2012_vit_base_patch16", _VOC,
     ("vit_base_patch16", 16, (), 64, "dupsampling"), "not in the paper", None, None),
)  # fmt: skip

PRESETS = {
    name: {**data, **dict(zip(_COLUMNS, network, strict=True)),
           "source": source, "miou": miou, "decoder_billions": billions}
    for name, data, network, source, miou, billions in _ROWS
}  # fmt: skip

# Sec. 4.2: multiply-adds in billions of inference at six scales, each mirrored too
_SCALES = {"input_size": (513, 513), "scales": (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)}
MULTI_SCALE = {
    "proposed, Xception-65, output stride 16": {
        "network": {"preset": "voc2012_xception65"}, **_SCALES, "billions": "897.94",
    },
    "DeepLabv3+, Xception-65, output stride 8": {
        "network": {"preset": "voc2012_xception65_efb2u1c2_bilinear", "output_stride": 8},
        **_SCALES, "billions": "3055.35",
    },
}  # fmt: skip
