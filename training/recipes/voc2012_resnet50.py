"""PASCAL VOC 2012 with ResNet-50: the ablations of Tables 1, 2 and 3 and of Sec. 4.1.4.

The file as it is, is the best row; each other row is an override. Figures are the PAPER's mIOU on
val. None of these was run here: the pictures, the ImageNet weights (weights="imagenet" downloads
them) and GPUs could not be had.

Table 1, the upsampling alone (its mIOU* is voc2012_upper_bound.py):

    # 70.77 %, bilinear at output stride 32
    python -m training.train training/recipes/voc2012_resnet50.py \
        output_stride=32 low_level_features= decoder=bilinear \
        --output training/runs/voc2012_resnet50_stride32_bilinear
    # 72.09 %, DUpsampling at output stride 32
    python -m training.train training/recipes/voc2012_resnet50.py \
        output_stride=32 low_level_features= --output training/runs/voc2012_resnet50_stride32
    # 72.15 %, bilinear at output stride 16
    python -m training.train training/recipes/voc2012_resnet50.py \
        low_level_features= decoder=bilinear \
        --output training/runs/voc2012_resnet50_stride16_bilinear
    # 73.15 %, DUpsampling at output stride 16, and N/A of Table 2
    python -m training.train training/recipes/voc2012_resnet50.py \
        low_level_features= --output training/runs/voc2012_resnet50_stride16

Table 2, which low-level features:

    # 72.70 %
    python -m training.train training/recipes/voc2012_resnet50.py \
        low_level_features=conv1_3 --output training/runs/voc2012_resnet50_conv1_3
    # 74.03 %, and "proposed" of Table 3
    python -m training.train training/recipes/voc2012_resnet50.py \
        low_level_features=b1u2c3 --output training/runs/voc2012_resnet50_b1u2c3
    # 73.43 %
    python -m training.train training/recipes/voc2012_resnet50.py \
        low_level_features=b3u6c3 --output training/runs/voc2012_resnet50_b3u6c3
    # 73.82 %
    python -m training.train training/recipes/voc2012_resnet50.py \
        low_level_features=b1u2c3,b3u6c3 --output training/runs/voc2012_resnet50_b1u2c3_b3u6c3
    # 74.20 %, and "proposed" of Table 3
    python -m training.train training/recipes/voc2012_resnet50.py \
        --output training/runs/voc2012_resnet50

Table 3, the vanilla decoder:

    # 73.26 %
    python -m training.train training/recipes/voc2012_resnet50.py \
        low_level_features=b1u2c3 decoder=bilinear \
        --output training/runs/voc2012_resnet50_b1u2c3_bilinear
    # no figure: the paper ran out of memory
    python -m training.train training/recipes/voc2012_resnet50.py \
        decoder=bilinear --output training/runs/voc2012_resnet50_bilinear

Sec. 4.1.4, vanilla softmax, T = 1 throughout, against the 73.15 % above:

    # 69.81 %
    python -m training.train training/recipes/voc2012_resnet50.py \
        low_level_features= train_temperature=false \
        --output training/runs/voc2012_resnet50_stride16_vanilla_softmax

Not in the paper: the crop, here DeepLabv3+'s 513 (Chen et al. 2018, Sec. 4), to which the FLOPS of
Tables 2 and 3 agree; and the momentum of batch norm and the decay of depthwise kernels, here
DeepLab's (0.95 in ResNet, 0.9997 elsewhere; none).

Differs from the paper in:
- T = exp(t), t is trained;
- the weight decay is an L2 loss of kernels, see keras_dup/training/_optimizer.py;
- Keras's momentum keeps rate * gradient in its sum, DeepLab's optimizer multiplies the sum by the
  rate: while the rate falls, a step here is a little longer;
- the random scale is drawn continuously from 0.5 to 2, DeepLab draws it in steps of 0.25; neither
  filters an image before it makes it smaller;
- the last feature is at the centres of the windows, not at their corners as in DeepLab.
"""

from keras_dup.training import Recipe

recipe = Recipe(
    name="voc2012_resnet50",
    num_classes=21,
    data_set="voc2012",
    backbone="resnet50",
    weights="imagenet",
    output_stride=16,
    decoder="dupsampling",
    low_level_features=("conv1_3", "b3u6c3"),
    channels=64,
    new_layers_variance=0.01,
    crop_size=(513, 513),
    batch_size=48,
    batch_norm_group=12,
    steps=30_000,
    steps_per_epoch=1500,
    learning_rate=0.007,
    weight_decay=1e-4,
    decay_depthwise=False,
    batch_norm_momentum=0.9997,
    backbone_batch_norm_momentum=0.95,
)
