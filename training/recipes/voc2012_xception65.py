"""PASCAL VOC 2012 with Xception-65: Table 3.

The file as it is, is the best row; each other row is an override. Figures are the PAPER's mIOU on
val. None of these was run here: the pictures, the ImageNet weights (weights="imagenet" downloads
them) and GPUs could not be had.

    # 78.70 %, vanilla
    python -m training.train training/recipes/voc2012_xception65.py \
        low_level_features=efb2u1c2 decoder=bilinear \
        --output training/runs/voc2012_xception65_efb2u1c2_bilinear
    # 79.09 %, proposed
    python -m training.train training/recipes/voc2012_xception65.py \
        low_level_features=efb2u1c2 --output training/runs/voc2012_xception65_efb2u1c2
    # 78.74 %, vanilla
    python -m training.train training/recipes/voc2012_xception65.py \
        decoder=bilinear --output training/runs/voc2012_xception65_bilinear
    # 79.67 %, proposed
    python -m training.train training/recipes/voc2012_xception65.py \
        --output training/runs/voc2012_xception65

Not in the paper: the crop, as in voc2012_resnet50.py. Differs from the paper in what is named
there.
"""

from keras_dup.training import Recipe

recipe = Recipe(
    name="voc2012_xception65",
    num_classes=21,
    data_set="voc2012",
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
