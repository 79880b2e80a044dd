"""PASCAL Context, 59 classes and the background, with Xception-65 and -71: Table 6.

Figures are the PAPER's mIOU on val. Neither was run here: the pictures, the ImageNet weights
(weights="imagenet" downloads them) and GPUs could not be had.

    # 51.4 %
    python -m training.train training/recipes/pascal_context_xception65.py \
        --output training/runs/pascal_context_xception65
    # 52.5 %
    python -m training.train training/recipes/pascal_context_xception65.py \
        backbone=xception71 channels=256 --output training/runs/pascal_context_xception71

The paper says which backbones, and that COCO is not used. Not in the paper: iterations and rate,
here those of VOC; the crop, here 513 as there; C~ with Xception-71, here that of Cityscapes; at how
many scales it predicts, while the validation of a run takes one: `keras-dup evaluate` has the
others. Differs from the paper in what voc2012_resnet50.py names.
"""

from keras_dup.training import Recipe

recipe = Recipe(
    name="pascal_context_xception65",
    num_classes=60,
    data_set="pascal_context",
    backbone="xception65",
    weights="imagenet",
    output_stride=16,
    decoder="dupsampling",
    low_level_features=("mfb1u16c3",),
    channels=128,
    new_layers_variance=0.01,
    crop_size=(513, 513),
    batch_size=32,
    batch_norm_group=16,
    steps=30_000,
    steps_per_epoch=1500,
    learning_rate=0.007,
    weight_decay=4e-5,
    decay_depthwise=False,
    batch_norm_momentum=0.9997,
)
