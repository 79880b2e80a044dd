"""VOC's 21 classes on the pictures of animals, DUpsampling on EfficientNet-Lite0, output stride 16.

    python -m training.train training/recipes/voc_animals_efficientnet_lite0.py \
        --output training/runs/voc_animals_dupsampling

The experiments on the animals start from it. The network of the package has another decoder:
voc_animals.py.

Data: 3131 pictures of "trainaug" whose long side is 352, 302 of val; background, cat, cow, dog,
horse, person and sheep, the other classes are rare.

Differs from the paper in: encoder, data, crops of 257, batch 8, initial rate, that of the encoder a
fifth of it, weight decay 4e-5, steps, DUpsampling at first nearest-neighbour upsampling, and T,
which stays at 1/16.
"""

from importlib import resources

from keras_dup.training import Recipe

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
    allow_absent_classes=True,  # aeroplanes and four more are in no photograph of animals
    backbone="efficientnet_lite0",
    weights="imagenet",
    output_stride=16,
    decoder="dupsampling",
    low_level_features=("b2u2c3", "b5u3c3"),
    initializer="nearest",
    temperature=1 / 16,
    train_temperature=False,
    crop_size=(257, 257),
    batch_size=8,
    steps=2400,
    steps_per_epoch=400,
    learning_rate=0.02,
    backbone_rate=0.2,
    weight_decay=4e-5,
)
