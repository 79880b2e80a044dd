"""CamVid, 11 classes, EfficientNet-Lite0 at output stride 16: DUpsampling against bilinear.

    python -m training.train training/recipes/camvid_efficientnet_lite0.py
    python -m training.train training/recipes/camvid_efficientnet_lite0.py decoder=bilinear \
        --output training/runs/camvid_bilinear

Data: 367 pictures of 480 x 360 to train on, 101 to validate on, void 11. One run each, seed 0, on
2 CPU cores (Intel Xeon with AVX-512, Keras 3.15.1, TensorFlow 2.21.0, commit 2cca923), the two
side by side with other work on the same cores, so the minutes are no measure of speed:

    decoder                       val mIoU  pixel accuracy  multiply-adds, 240 x 320  minutes
    dupsampling                    48.24 %         88.14 %           1,346,760,320         48
    dupsampling, temperature=1/16  47.59 %         87.11 %           1,346,760,320         29
    bilinear                       55.94 %         90.48 %           1,973,433,920         57

At 540 steps, 12 epochs, neither had converged (the paper trains for 30,000). The vanilla decoder,
which works at stride 4 here, is ahead and finds some poles, signs and bicyclists; DUpsampling
finds none of these yet. W of the first row was fitted with void filled in window by window, the
second (08843a1) with the rule of today.

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
    low_level_features=("b2u2c3",),
    crop_size=(240, 320),
    batch_size=8,
    steps=540,
    steps_per_epoch=90,
    learning_rate=0.07,
    weight_decay=4e-5,
)
