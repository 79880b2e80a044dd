"""The smallest recipe that goes through every stage of a run."""

from keras_dup import training

TINY = training.Recipe(
    name="tiny",
    num_classes=7,
    train_count=8,
    val_count=2,
    low_level_features=(),
    decoder="dupsampling",
    channels=8,
    crop_size=(32, 32),
    batch_size=4,
    steps=4,
    steps_per_epoch=2,
    learning_rate=0.01,
    devices=("cpu:0",),
)
