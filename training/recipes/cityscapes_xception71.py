"""Cityscapes with Xception-71: Table 4.

Figures are the PAPER's mIOU on val. Neither was run here: the pictures, the ImageNet weights
(weights="imagenet" downloads them) and GPUs could not be had.

    # 79.36 %, vanilla
    python -m training.train training/recipes/cityscapes_xception71.py \
        low_level_features=efb2u1c2 decoder=bilinear \
        --output training/runs/cityscapes_xception71_bilinear
    # 79.06 %, proposed
    python -m training.train training/recipes/cityscapes_xception71.py \
        --output training/runs/cityscapes_xception71

Not in the paper: C~, 256, which its FLOPS give; the crop, here DeepLab's 769 x 769
(tensorflow/models, research/deeplab/g3doc/cityscapes.md, which has the 90k iterations too); batch
and weight decay, here those of all its Xception networks; whether the 20,000 weakly annotated
pictures are used, here not. Differs from the paper in what voc2012_resnet50.py names.
"""

from keras_dup.training import Recipe

recipe = Recipe(
    name="cityscapes_xception71",
    num_classes=19,
    data_set="cityscapes",
    backbone="xception71",
    weights="imagenet",
    output_stride=16,
    decoder="dupsampling",
    low_level_features=("mfb1u16c3",),
    channels=256,
    new_layers_variance=0.01,
    crop_size=(769, 769),
    batch_size=32,
    batch_norm_group=16,
    steps=90_000,
    steps_per_epoch=4500,
    learning_rate=0.01,
    weight_decay=4e-5,
    decay_depthwise=False,
    batch_norm_momentum=0.9997,
)
