"""PASCAL VOC 2012's test set with Xception-65: Sec. 4.2 and Table 5, three rounds of training.

On COCO, then SBD, then VOC's trainval, each from the network of the one before. The file as it is,
is the first round.

    python -m training.train training/recipes/voc2012_test.py \
        --output training/runs/voc2012_test_coco
    python -m training.train training/recipes/voc2012_test.py \
        data_set=voc2012 train_split=trainaug learning_rate=0.001 steps=30000 \
        steps_per_epoch=1500 weights=training/runs/voc2012_test_coco/model.keras \
        projection=training/runs/voc2012_test_coco/projection.npz \
        --output training/runs/voc2012_test_sbd
    python -m training.train training/recipes/voc2012_test.py \
        data_set=voc2012 train_split=trainval learning_rate=0.0001 steps=30000 \
        steps_per_epoch=1500 weights=training/runs/voc2012_test_sbd/model.keras \
        projection=training/runs/voc2012_test_coco/projection.npz \
        --output training/runs/voc2012_test_trainval

The PAPER reaches 88.1 % on the test set, whose labels are VOC's server's alone, at six scales and
mirrored. What the third round prints for val is no measure: it trains on it. Not run here: the
pictures, the ImageNet weights (weights="imagenet" downloads them) and GPUs could not be had.

W is of the first round's labels, COCO's in VOC's classes, and stays: features are trained to the
coordinates of one W, and those of another one have another order and other signs. Not in the paper:
this; that "SBD" is trainaug, VOC's train and SBD without VOC's val, as in DeepLab; the crop.
Differs from the paper in what voc2012_resnet50.py names.
"""

from keras_dup.training import Recipe

recipe = Recipe(
    name="voc2012_test",
    num_classes=21,
    data_set="coco_voc",
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
    steps=500_000,
    steps_per_epoch=25_000,
    learning_rate=0.007,
    weight_decay=4e-5,
    decay_depthwise=False,
    batch_norm_momentum=0.9997,
)
