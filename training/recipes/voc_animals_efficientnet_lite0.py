"""VOC's 21 classes on the pictures of animals, EfficientNet-Lite0 at output stride 16.

python -m training.train training/recipes/voc_animals_efficientnet_lite0.py
"""

from importlib import resources

from training.recipe import Recipe

CLASSES = resources.files("keras_dup.saved_models") / "voc2012_classes.txt"

recipe = Recipe(
    name="voc_animals_efficientnet_lite0",
    num_classes=21,
    train_images="voc_animals/images",
    train_masks="voc_animals/masks",
    train_names="voc_animals/trainaug.txt",
    val_images="voc_animals/images",
    val_masks="voc_animals/masks",
    val_names="voc_animals/val.txt",
    class_names=tuple(CLASSES.read_text().splitlines()),
    backbone="efficientnet_lite0",
    weights="imagenet",
    output_stride=16,
    low_level_features=("b2u2c3", "b5u3c3"),
    crop_size=(257, 257),
    batch_size=8,
    steps=4000,
    steps_per_epoch=400,
    learning_rate=0.07,
    weight_decay=4e-5,
)
