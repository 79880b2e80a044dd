"""The demo's recipe: the built-in shapes, small images, minutes on a laptop's CPU.

    python -m training.train training/recipes/shapes.py

`make demo` runs it with three decoders. Differs from the paper in everything that time asks for:
small images, 220 steps, moving averages of batch norm that follow, and a low-level feature, of 24
channels, that comes down by convolution.
"""

from keras_dup.training import Recipe

recipe = Recipe(
    name="shapes",
    num_classes=7,
    train_count=400,
    val_count=60,
    backbone="efficientnet_lite0",
    weights="imagenet",
    output_stride=16,
    decoder="dupsampling",
    low_level_features=("b2u2c3",),
    channels=32,
    downsample="convolution",
    low_level_channels=256,
    crop_size=(96, 96),
    batch_size=8,
    steps=220,
    steps_per_epoch=55,
    learning_rate=0.07,
    weight_decay=4e-5,
    batch_norm_momentum=0.9,
)
