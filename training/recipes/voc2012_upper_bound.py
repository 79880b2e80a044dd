"""PASCAL VOC 2012's label maps through each upsampling and back: mIOU* of Table 1 (Sec. 4.1.1).

Fed with the label maps of train, measured on those of val. Figures are the PAPER's; the widths of
its light network are not in it, see research/upper_bound.py.

    # 94.80 %, bilinear at output stride 32
    python -m training.train training/recipes/voc2012_upper_bound.py \
        output_stride=32 decoder=bilinear --output training/runs/upper_bound_stride32_bilinear
    # 99.90 %, DUpsampling at output stride 32
    python -m training.train training/recipes/voc2012_upper_bound.py \
        output_stride=32 --output training/runs/upper_bound_stride32
    # 98.40 %, bilinear at output stride 16
    python -m training.train training/recipes/voc2012_upper_bound.py \
        decoder=bilinear --output training/runs/upper_bound_stride16_bilinear
    # 99.95 %, DUpsampling at output stride 16
    python -m training.train training/recipes/voc2012_upper_bound.py \
        --output training/runs/upper_bound_stride16

Not run at this length; a shorter one is the first table of research/RESULTS.md:

    python -m research.experiments upper_bound
"""

from keras_dup.training import Recipe

recipe = Recipe(
    name="voc2012_upper_bound",
    num_classes=21,
    data_set="voc2012",
    datasets="research.upper_bound:datasets",
    network="research.upper_bound:network",
    output_stride=16,
    decoder="dupsampling",
    channels=64,
    new_layers_variance=0.01,
    crop_size=(513, 513),
    batch_size=48,
    batch_norm_group=12,
    steps=100_000,
    steps_per_epoch=5000,
    learning_rate=0.07,
    weight_decay=1e-4,
)
