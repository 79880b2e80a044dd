"""VOC's 21 classes on the pictures of animals, EfficientNet-Lite0 at output stride 16: two rounds.

    python -m training.train training/recipes/voc_animals_efficientnet_lite0.py \
        --output training/runs/voc_animals
    python -m training.train training/recipes/voc_animals_efficientnet_lite0.py \
        weights=training/runs/voc_animals/model.keras learning_rate=0.04 steps=1600 seed=1 \
        --output training/runs/voc_animals_2

Data: 3131 pictures of "trainaug" whose long side is 352, 302 of val; background, cat, cow, dog,
horse, person and sheep, the other classes are rare. One core (AMD EPYC, Keras 3.15.1, TensorFlow
2.21.0), one seed, other work on the second core:

    round  steps  initial rate  val mIoU  pixel accuracy  minutes
        1   4000          0.07   27.82 %         89.06 %       93
        2   1600          0.04   30.36 %         89.67 %       38

Differs from the paper in: encoder, data, crops of 257, batch 8, initial rate, weight decay 4e-5,
steps. Trained at commit 10164fa.
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
