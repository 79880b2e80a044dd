"""CamVid, 11 classes, EfficientNet-Lite0 at output stride 16: DUpsampling against bilinear.

    python -m training.train training/recipes/camvid_efficientnet_lite0.py
    python -m training.train training/recipes/camvid_efficientnet_lite0.py decoder=bilinear \
        --output training/runs/camvid_bilinear

Data: 367 pictures of 480 x 360 to train on, 101 to validate on, void 11. 540 steps, 12 epochs, are
too few to compare decoders, and have no figures of today's code. At output stride 32 without the
low-level feature, 900 and 2700 steps: research/RESULTS.md, by `python -m research.experiments`,
tables camvid_stride and camvid_long.

Differs from the paper in: encoder, data, 540 steps in place of 30k, initial rate 0.07 in place of
0.007, weight decay 4e-5, batch 8.
"""

from keras_dup.training import Recipe

recipe = Recipe(
    name="camvid_efficientnet_lite0",
    num_classes=11,
    train_images="camvid/train/images",
    train_masks="camvid/train/masks",
    val_images="camvid/val/images",
    val_masks="camvid/val/masks",
    class_names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    ignore_class=11,
    backbone="efficientnet_lite0",
    weights="imagenet",
    output_stride=16,
    decoder="dupsampling",
    low_level_features=("b2u2c3",),
    crop_size=(240, 320),
    batch_size=8,
    steps=540,
    steps_per_epoch=90,
    learning_rate=0.07,
    weight_decay=4e-5,
)
