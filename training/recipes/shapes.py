"""The demo: the built-in shapes, small pictures, minutes on a laptop's CPU.

python -m training.train training/recipes/shapes.py
python -m training.train training/recipes/shapes.py decoder=bilinear --output training/runs/b
"""

from training.recipe import Recipe

recipe = Recipe(
    name="shapes",
    num_classes=7,
    train_count=512,
    val_count=64,
    backbone="efficientnet_lite0",
    weights="imagenet",
    output_stride=16,
    low_level_features=("b2u2c3",),
    channels=32,
    crop_size=(128, 128),
    batch_size=16,
    steps=200,
    steps_per_epoch=50,
    learning_rate=0.07,
    weight_decay=4e-5,
)
