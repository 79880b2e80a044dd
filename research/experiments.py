"""The experiments of the paper's Sec. 4 in tables, each row a recipe with overrides.

    python -m research.experiments                        # lists the tables and their rows
    python -m research.experiments camvid_stride          # one after the other, seed 0
    python -m research.experiments camvid_stride stride32 bilinear32 --seeds 0 1 2

Every run that ends becomes research/results/TABLE/ROW_SEED.json: recipe, commit, versions,
machine, log and validation. What has its file is left out, what was stopped goes on. Then
`python -m research.results` writes research/RESULTS.md from these files.
"""

import argparse
import dataclasses
import json
import pathlib
import shlex
import subprocess
import sys

from keras_dup import training
from keras_dup.training import read_log
from keras_dup.whole import write_json
from training.train import RAW, RUNS

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results"
UNUSED = ("image_miou", "confusion")  # of a report, long


@dataclasses.dataclass(frozen=True)
class Row:
    """One network: what it is called, its overrides of the table's recipe, the PAPER's mIoU.

    Where another table trains the same, `runs` is that (table, row): it is trained once.
    """

    label: str
    overrides: str = ""
    paper: float | None = None
    runs: tuple | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Networks to compare, everything else equal.

    Where a few classes decide mIoU, `subset` names the others, whose mean IoU is shown beside it
    under `subset_name`.
    """

    title: str
    text: str
    recipe: str
    overrides: str
    rows: dict  # name -> Row
    subset: tuple = ()
    subset_name: str = "of the frequent"


def strides(paper):
    """Table 1's rows: bilinear and DUpsampling at output strides 32 and 16."""
    rows = {}
    for stride, (bilinear, dupsampling) in paper.items():
        label, override = f"output stride {stride}", f"output_stride={stride}"
        rows[f"bilinear{stride}"] = Row(
            f"bilinear, {label}", f"{override} decoder=bilinear", bilinear
        )
        rows[f"stride{stride}"] = Row(f"DUpsampling, {label}", override, dupsampling)
    return rows


BALANCED = {
    "balanced32": Row(
        "DUpsampling, stride 32, classes balanced", "output_stride=32 class_balance=0.25"
    )
}
NEAREST32 = "initializer=nearest temperature=0.03125"
NEAREST32_FIXED = Row(
    "DUpsampling, stride 32, nearest-neighbour at first, T = 1/32",
    f"output_stride=32 {NEAREST32} train_temperature=false",
)
INTERPOLATED32_FIXED = Row(
    "DUpsampling, stride 32, bilinear at first, T = 1/32",
    f"{NEAREST32_FIXED.overrides} initializer=bilinear",
)
INTERPOLATED32_BALANCED = Row(
    "DUpsampling, classes balanced, bilinear at first, T = 1/32",
    f"{INTERPOLATED32_FIXED.overrides} class_balance=0.25",
)
INTERPOLATED32_BALANCED_HALF = Row(
    f"{INTERPOLATED32_BALANCED.label}, rate 0.035",
    f"{INTERPOLATED32_BALANCED.overrides} learning_rate=0.035",
)
DECODERS = {
    "b2u2c3": Row("b2u2c3", "", 74.03),
    "channels256": Row("b2u2c3 to 256 channels", "low_level_channels=256"),
    "convolution": Row(
        "b2u2c3 to 256 channels by convolution", "downsample=convolution low_level_channels=256"
    ),
    "vanilla": Row("b2u2c3, vanilla decoder", "decoder=bilinear", 73.26),
}
# what voc_animals_efficientnet_lite0.py has otherwise: the paper's start
ANIMALS = "low_level_features= initializer=glorot_uniform temperature=1 train_temperature=true"
# in 41 of the 302 pictures of val or more, the other nine in 1 to 11: research.bootstrap
FREQUENT = "background", "cat", "cow", "dog", "horse", "person", "sheep"
CAMVID_OTHERS = (
    *("sky", "building", "pole", "road", "pavement"),
    *("tree", "sign", "fence", "car", "pedestrian"),
)
TABLE_1 = {32: (70.77, 72.09), 16: (72.15, 73.15)}  # on PASCAL VOC with ResNet-50
PHOTOGRAPHS = "steps=900 steps_per_epoch=180"
LABEL_MAPS = (
    "data_set= train_masks=voc2012/SegmentationClass train_names=voc2012/train.txt "
    "val_names=voc2012/val.txt crop_size=192,192 scale_range=1,1 batch_size=12 batch_norm_group=0 "
    "new_layers_variance=0 channels=128 steps=3000 steps_per_epoch=1000 "
    "dtype_policy=mixed_bfloat16"
)
TABLES = {
    "upper_bound": Table(
        "Table 1, mIOU*: networks that are fed the label maps of PASCAL VOC 2012",
        "The paper trains 100,000 steps of 48 crops of 513 x 513, scaled by 0.5 to 2; here it is "
        "3000 of 12 crops of 192 x 192, 950 times fewer pixels, not scaled: val is not, and "
        "windows of labels at half the size are harder ones. Whole windows are all that such crops "
        "have, so label maps are continued to whole windows when they are validated. That was "
        "built in while these networks were trained: the curves are without it but for bilinear at "
        "32, and lower for that, the table is with it throughout.",
        "voc2012_upper_bound",
        LABEL_MAPS,
        strides({32: (94.80, 99.90), 16: (98.40, 99.95)}),
    ),
    "camvid_stride": Table(
        "Table 1, photographs: CamVid, EfficientNet-Lite0, no low-level features",
        "Rate 0.07 where none is named; the nearest-neighbour start at it is in the table of "
        "heads. The rates of the animals are too small for so few steps here, with both decoders. "
        "From the bilinear start with W of balanced classes DUpsampling is behind bilinear by a "
        "point or less with both seeds at 0.07 and level at 0.035, with one; where they are not "
        "balanced, at the one rate tried, it finds fewer bicyclists. Val's pictures are of one "
        "film, which makes the bounds of their draws too narrow: two seeds of one network are "
        "further apart. On the pictures of train it is not ahead either, with one seed. "
        "On features as they are W alone is behind interpolation, and beside it "
        "lowers the loss on train and brings nothing on val; the features of a network trained "
        "with W are no different. "
        "The more pictures W is learned from, the less it adds to the loss on val; see what W "
        "adds by the number of pictures, below. "
        "900 steps are too few at any rate: see the next table. The paper's figures are of PASCAL "
        "VOC with ResNet-50.",
        "camvid_efficientnet_lite0",
        f"low_level_features= {PHOTOGRAPHS}",
        strides(TABLE_1)
        | {
            "stride32_rate0.2": Row(
                "DUpsampling, output stride 32, rate 0.2",
                "output_stride=32 learning_rate=0.2",
                TABLE_1[32][1],
            ),
            "bilinear32_rate0.02": Row(
                "bilinear, output stride 32, rate 0.02, of the encoder 0.004",
                "output_stride=32 decoder=bilinear learning_rate=0.02 backbone_rate=0.2",
            ),
            "nearest32_fixed_rate0.02": Row(
                f"{NEAREST32_FIXED.label}, rate 0.02, of the encoder 0.004",
                f"{NEAREST32_FIXED.overrides} learning_rate=0.02 backbone_rate=0.2",
            ),
            "bilinear32_rate0.035": Row(
                "bilinear, output stride 32, rate 0.035",
                "output_stride=32 decoder=bilinear learning_rate=0.035",
            ),
            "interpolated32_fixed_rate0.035": Row(
                f"{INTERPOLATED32_FIXED.label}, rate 0.035",
                f"{INTERPOLATED32_FIXED.overrides} learning_rate=0.035",
            ),
            "interpolated32_balanced": INTERPOLATED32_BALANCED,
            "interpolated32_balanced_rate0.035": INTERPOLATED32_BALANCED_HALF,
            "nearest32_fixed_encoder0.014": Row(
                f"{NEAREST32_FIXED.label}, rate of the encoder 0.014",
                f"{NEAREST32_FIXED.overrides} backbone_rate=0.2",
            ),
        },
    ),
    "camvid_long": Table(
        "Table 1, photographs: CamVid, three times as long",
        "At stride 32 DUpsampling ends behind bilinear by less than a point, and it is "
        "bicyclists alone: lower with all five seeds, where the mean of the ten other classes "
        "is the same. Seeds 2 to 4 of bilinear and of DUpsampling ran on a GPU, on JAX. At 16 "
        "bilinear is ahead, with one seed, and DUpsampling at 32 is not as good as it, as it is "
        "in the paper. Of bicyclists train has few and val several times as many, and many of "
        "them fill little of a window. Where the frequencies of train are divided out "
        "DUpsampling is ahead with both seeds that were looked at, from tau 0.5 on, though "
        "there all are lower than at 0.25; and with classes weighted in the training loss it "
        "catches up for the most part, see the table below. W of balanced classes, "
        "`projection.fit(class_balance=0.25)`, holds more of the bicyclists that fill little of "
        "a window, and the networks find more of them with both seeds, but mIoU stays within "
        "the spread. The bilinear start ends behind the paper's at 0.07, less so at half the "
        "rate and with W of balanced classes, with one seed; which of the two it is has not "
        "been taken apart at this length. Of the scores of bicyclists the paper's W "
        "interpolates a third, see what the stride leaves of the labels, below.",
        "camvid_efficientnet_lite0",
        "low_level_features= steps=2700 steps_per_epoch=270",
        strides(TABLE_1)
        | BALANCED
        | {
            "interpolated32_fixed": INTERPOLATED32_FIXED,
            "interpolated32_balanced": INTERPOLATED32_BALANCED,
            "interpolated32_balanced_rate0.035": INTERPOLATED32_BALANCED_HALF,
        },
        CAMVID_OTHERS,
        "without bicyclists",
    ),
    "animals_stride": Table(
        "Table 1, photographs: animals of PASCAL VOC, the encoder at a smaller rate",
        "Rate 0.02 and for the encoder 0.2 of it, or, where 0.07 is named, 0.06 of it: 0.004 "
        "for the encoder in both. Of the frequent classes bilinear and DUpsampling from the "
        "bilinear start are level, at 0.07 from the paper's, with one seed. The rest of mIoU hangs "
        "on cars, potted plants and monitors, of which val has 11 pictures: drawn anew from "
        "val's pictures, differences of two networks are spread over five points and more. The "
        "first rows go from bilinear to DUpsampling in steps, at one rate: the fitted W, with "
        "class scores that are interpolated in its windows, as bilinear upsampling does, beside "
        "the last convolution, T = 1/32 throughout; a W of windows of one class, which repeats "
        "class scores over their windows; the fitted W in its place, started so that it repeats "
        "them too; the paper's start, a last convolution drawn at random and a T that learns, "
        "from 1. The last of these steps costs the most: from there cars and potted plants are "
        "not learned in so many steps, at either rate, and at 0.02 the frequent classes less "
        "well. What the others cost is interpolation: a window is made of one feature alone, "
        "which cannot tell what the next one scores, and what is trained on the features of a "
        "network as they are tells the same; there W beside interpolation lowers the loss on "
        "train and brings next to nothing on val: it costs where it is learned from fewer "
        "pictures, and with all of them begins to help, see what W adds by the number of "
        "pictures, below. Crops of 256, whole windows, in place of 257, "
        "where every fifth feature lies beyond the crop, do not lower the loss. W of balanced "
        "classes, which interpolates cars and potted plants as well, does not help the bilinear "
        "start, with one seed. At stride 16 bilinear is ahead, by a point and a half, most of it "
        "monitors, by less of the frequent, with both seeds. At 32 both are level with "
        "bilinear at 16, as in the paper DUpsampling is. "
        "What the features of the encoder know is nearly the same in all "
        "that were probed. The paper's figures are of all of PASCAL VOC with ResNet-50.",
        "voc_animals_efficientnet_lite0",
        f"{ANIMALS} steps=1350 steps_per_epoch=270",
        {"bilinear32": strides(TABLE_1)["bilinear32"]}
        | {
            "interpolated32_fixed": INTERPOLATED32_FIXED,
            "interpolated32_balanced": INTERPOLATED32_BALANCED,
            "one_class32": Row(
                "nearest-neighbour, stride 32: W of windows of one class, T = 1/32",
                f"output_stride=32 {NEAREST32} train_temperature=false projection=nearest "
                "channels=21",
            ),
            "nearest32_fixed": NEAREST32_FIXED,
            "nearest32_balanced": Row(
                "DUpsampling, classes balanced, nearest-neighbour at first, T = 1/32",
                f"{NEAREST32_FIXED.overrides} class_balance=0.25",
            ),
            "nearest32": Row(
                "DUpsampling, stride 32, nearest-neighbour at first, T learned from 1/32",
                f"output_stride=32 {NEAREST32}",
            ),
        }
        | strides(TABLE_1)
        | {
            "interpolated16_fixed": Row(
                "DUpsampling, stride 16, bilinear at first, T = 1/16",
                "output_stride=16 initializer=bilinear temperature=0.0625 train_temperature=false",
            ),
            "nearest32_fixed_crop256": Row(
                f"{NEAREST32_FIXED.label}, crops of 256",
                f"{NEAREST32_FIXED.overrides} crop_size=256,256",
            ),
        }
        | {
            f"{name}32_rate0.07": Row(
                f"{label}, stride 32, rate 0.07",
                f"output_stride=32 learning_rate=0.07 backbone_rate=0.06 {override}",
            )
            for name, label, override in (
                ("bilinear", "bilinear", "decoder=bilinear"),
                ("stride", "DUpsampling", ""),
                ("balanced", "DUpsampling, classes balanced", "class_balance=0.25"),
            )
        },
        FREQUENT,
    ),
    "animals_stride_long": Table(
        "Table 1, photographs: animals of PASCAL VOC, the encoder at a smaller rate, three times "
        "as long",
        "Of the frequent classes bilinear and DUpsampling from the bilinear start are level on "
        "val; mIoU is lower with each of three seeds, by cars, chairs, potted plants and "
        "monitors, which 3 to 11 pictures of val have and which go up and down by tens of "
        "points from seed to seed: the draws of val's pictures leave the sign open, and two "
        "seeds of bilinear differ by as much as the decoders. The pictures of train, 38 to 105 "
        "of each of these classes, tell more: on them DUpsampling is ahead of bilinear in the "
        "frequent classes, behind it at cars and monitors, level at chairs and potted plants; "
        "bicycles, in six pictures, make up the rest. So two of the four are learned worse, the "
        "other two are val's. W of 64 channels interpolates nothing of the scores of cars and "
        "monitors (see what the stride leaves of the labels, below), though nothing of potted "
        "plants' either; with W of balanced classes, which holds all three, cars are level on "
        "train and monitors behind by less than the draws leave open, with one seed, but on "
        "half of the pictures, see below, both are behind with it too, with two. What brings "
        "them up is more passes, see the next table. The frequencies of train are not the "
        "cause: divided out they leave bilinear ahead or level, and all lower. By the distance "
        "to an edge of the labels the two are level on train under 8 pixels and DUpsampling is "
        "ahead from there on; on val it is ahead under 8 and behind from 16. From the nearest- "
        "neighbour start it gains by the longer training what bilinear does and stays behind "
        "it. mIoU goes up and down by a point or two from one validation to the next. The "
        "paper's figures are of all of PASCAL VOC with ResNet-50.",
        "voc_animals_efficientnet_lite0",
        f"{ANIMALS} steps=4050 steps_per_epoch=405",
        {
            "bilinear32": strides(TABLE_1)["bilinear32"],
            "nearest32_fixed": NEAREST32_FIXED,
            "interpolated32_fixed": INTERPOLATED32_FIXED,
            "interpolated32_balanced": INTERPOLATED32_BALANCED,
            "stride32": strides(TABLE_1)["stride32"],
        },
        FREQUENT,
    ),
    "animals_stride_longer": Table(
        "Table 1, photographs: animals of PASCAL VOC, the encoder at a smaller rate, eight times "
        "as long",
        "28 passes over the pictures of train, as many as an eighth of them gets in the table "
        "below. On val DUpsampling is ahead in the mean of three seeds, in mIoU, of the frequent "
        "classes and in pixel accuracy, by less than the seeds differ and the draws leave open. "
        "On train it is ahead in the frequent classes, beyond the draws; cars, 7.5 points behind "
        "after 10 passes, are level, of what monitors were behind by a third is left; bottles, "
        "dining tables and sofas, which both decoders learned meanwhile, are behind instead, "
        "and mIoU by half of what it was. So rare classes are learned, later. The best mIoU on "
        "val of bilinear is that of the table before. Trained on a GPU, on JAX, but for the last "
        "step, and validated once, so there are no curves. The paper's figures are of all of "
        "PASCAL VOC with ResNet-50.",
        "voc_animals_efficientnet_lite0",
        f"{ANIMALS} steps=10800 steps_per_epoch=10800 checkpoint_steps=1350",
        {
            "bilinear32": strides(TABLE_1)["bilinear32"],
            "interpolated32_fixed": INTERPOLATED32_FIXED,
        },
        FREQUENT,
    ),
    "animals_half": Table(
        "Table 1, photographs: animals of PASCAL VOC, half of the pictures",
        "Every other picture of train, 1566, W from their label maps alone, in as many passes "
        "over them as the long trainings take. With those that are left out, which the networks "
        "have not seen, there are six times as many pictures as val has to measure on: there "
        "the two are level in mIoU and in pixel accuracy, and DUpsampling is ahead in the "
        "frequent classes by less than the draws leave open. On the pictures they were trained "
        "on it is ahead in these beyond that, by twice as much, and behind at cars, chairs and "
        "monitors. With W of balanced classes, which interpolates all of them, chairs are level, "
        "mIoU with them, and cars and monitors behind as before: it is not W that these lack. "
        "W of balanced classes was trained on a GPU, on JAX, but for the last step, and validated "
        "once, so it has no curves.",
        "voc_animals_efficientnet_lite0",
        f"{ANIMALS} train_share=0.5 steps=2025 steps_per_epoch=405",
        {
            "bilinear32": strides(TABLE_1)["bilinear32"],
            "interpolated32_fixed": INTERPOLATED32_FIXED,
            "interpolated32_balanced": Row(
                INTERPOLATED32_BALANCED.label,
                f"{INTERPOLATED32_BALANCED.overrides} steps_per_epoch=2025",
            ),
        },
        FREQUENT,
    ),
    "animals_fewer": Table(
        "Table 1, photographs: animals of PASCAL VOC, an eighth of the pictures",
        "Every eighth picture of train, 392 of 3131, W from their label maps alone. On val "
        "DUpsampling from the bilinear start is ahead of bilinear with both seeds, in mIoU, of "
        "the frequent classes and in pixel accuracy. On ten times as many pictures, val and "
        "those that were left out of train, the two are level in mIoU and in the frequent "
        "classes, and it is ahead in pixel accuracy alone: the rest was val's. On the pictures "
        "they were trained on it is ahead in the frequent classes by more than a point, most "
        "from 4 to 16 pixels from an edge of the labels: what it learns there does not carry "
        "over from so few; see what W adds by the number of pictures, below.",
        "voc_animals_efficientnet_lite0",
        f"{ANIMALS} steps=1350 steps_per_epoch=270",
        {
            "bilinear32": Row(
                "bilinear, 392 pictures", "output_stride=32 decoder=bilinear train_share=0.125"
            ),
            "interpolated32_fixed": Row(
                "DUpsampling, bilinear at first, T = 1/32, 392 pictures",
                f"{INTERPOLATED32_FIXED.overrides} train_share=0.125",
            ),
            "bilinear32_all": Row(
                "bilinear, 3131 pictures",
                "output_stride=32 decoder=bilinear",
                runs=("animals_stride", "bilinear32"),
            ),
            "interpolated32_fixed_all": Row(
                "DUpsampling, bilinear at first, T = 1/32, 3131 pictures",
                INTERPOLATED32_FIXED.overrides,
                runs=("animals_stride", "interpolated32_fixed"),
            ),
        },
        FREQUENT,
    ),
    "animals_long": Table(
        "Table 1, photographs: animals of PASCAL VOC, rate 0.07 throughout, twice as long",
        "Seven classes occur often, the others hardly. DUpsampling is ahead here, and it is the "
        "rate that puts it there: at 0.07 the bilinear network loses a part of what the encoder "
        "knew from ImageNet, DUpsampling does not; see the table before. The paper's figures are "
        "of all of PASCAL VOC with ResNet-50.",
        "voc_animals_efficientnet_lite0",
        f"{ANIMALS} learning_rate=0.07 backbone_rate=1 steps=2700 steps_per_epoch=540",
        strides({32: TABLE_1[32]}) | BALANCED,
        FREQUENT,
    ),
    "animals_mobilenet": Table(
        "Table 1, photographs: animals of PASCAL VOC, MobileNetV2, no low-level features",
        "The ImageNet weights come from a model of 8 bits. With one seed bilinear has the "
        "higher mIoU, DUpsampling from the bilinear start the higher pixel accuracy, neither by "
        "a point.",
        "voc_animals_efficientnet_lite0",
        "backbone=mobilenet_v2 weights=weights/mobilenet_v2/mobilenet_v2_1.0_notop_dequant_int8."
        f"weights.h5 {ANIMALS} steps=1350 steps_per_epoch=270",
        strides(TABLE_1)
        | {"nearest32_fixed": NEAREST32_FIXED, "interpolated32_fixed": INTERPOLATED32_FIXED},
        FREQUENT,
    ),
    "shapes": Table(
        "The demo's networks on its drawn shapes",
        "Seeds draw the pictures, too. In so few steps the vanilla decoder is ahead with two of "
        "three seeds, and differs most from seed to seed; DUpsampling's two starts, at different "
        "rates, are a point or two apart. Ten times the steps are in the next table.",
        "shapes",
        "",
        {
            "bilinear": Row("vanilla decoder", "decoder=bilinear"),
            "dupsampling": Row("DUpsampling"),
            "interpolated_fixed": Row(
                "DUpsampling, bilinear at first, T = 1/16, rate 0.07",
                "initializer=bilinear temperature=0.0625 train_temperature=false "
                "learning_rate=0.07",
            ),
        },
    ),
    "shapes_long": Table(
        "The demo's networks on its drawn shapes, ten times as long",
        "b2u2c3 has 24 channels here, and the paper's downsample takes one of 16 of its "
        "positions, to 48: with it DUpsampling stays behind the vanilla decoder. Brought down "
        "whole, by a convolution of 4 x 4 and stride 4 to 256, it is level with it, at far "
        "fewer multiply-adds: ahead from 2 pixels from an edge on, behind under 2. Rings "
        "and stripes, a few pixels wide, are what it still loses at. Whether the positions or "
        "the channels help has not been taken apart.",
        "shapes",
        "steps=2200 steps_per_epoch=220",
        {
            "bilinear": Row("vanilla decoder", "decoder=bilinear"),
            "dupsampling": Row("DUpsampling", "downsample=bilinear low_level_channels=48"),
            "channels256": Row("DUpsampling, 256 channels", "downsample=bilinear"),
            "convolution": Row("DUpsampling, 256 channels by convolution"),
        },
    ),
    "camvid_head": Table(
        "Sec. 4.1.4, Fig. 5 and the linear layer: CamVid, output stride 32, no low-level features",
        "The head of DUpsampling changed, all else equal: T kept at 1 (the paper's vanilla "
        "softmax), started as nearest-neighbour upsampling, more or fewer channels, W trained on, "
        "a random W of the same size.",
        "camvid_efficientnet_lite0",
        f"low_level_features= output_stride=32 {PHOTOGRAPHS}",
        {
            "learned": Row("T learned, 64 channels", "", 73.15, ("camvid_stride", "stride32")),
            "softmax": Row("T = 1", "train_temperature=false", 69.81),
            "sharp": Row("T learned, 1/8 at first", "temperature=0.125"),
            "nearest": Row("T learned, 1/32 and nearest-neighbour at first", NEAREST32),
            "nearest_fixed": Row(
                "T = 1/32, nearest-neighbour at first", f"{NEAREST32} train_temperature=false"
            ),
            "channels128": Row("128 channels", "channels=128"),
            "channels256": Row("256 channels", "channels=256"),
            "trained": Row("W trained", "train_projection=true"),
            "random": Row("random W", "projection=random"),
            "random_trained": Row(
                "random W, trained (sub-pixel)", "projection=random train_projection=true"
            ),
            "regression": Row("regression to labels first (Eq. 4)", "pretraining_steps=180"),
        },
    ),
    "camvid_weighted": Table(
        "Rare classes, weighted in the loss: CamVid, output stride 32, no low-level features",
        "A class counts by its share of train's pixels, as the section of CamVid's long "
        "trainings prints it, to the power of -0.5, 1 at the median: bicyclists 3.95 times as "
        "much as pavement, roads 0.38 times. The same networks without weights are in the table "
        "of CamVid of 900 steps: there DUpsampling is 20 points behind at bicyclists, here by 5, "
        "with both seeds; in mIoU by less than a point, at a lower pixel accuracy.",
        "camvid_efficientnet_lite0",
        f"low_level_features= output_stride=32 {PHOTOGRAPHS} "
        "class_weights=0.52,0.44,2.14,0.38,1,0.68,1.96,2,0.87,2.64,3.95",
        {
            "bilinear": Row("bilinear", "decoder=bilinear"),
            "dupsampling": Row("DUpsampling"),
            "balanced": Row("DUpsampling, classes balanced in W too", "class_balance=0.25"),
        },
    ),
    "camvid_features": Table(
        "Tables 2 and 3: CamVid, EfficientNet-Lite0, output stride 16, low-level features",
        "Strides of the features: conv1 2, b2u2c3 4, b3u2c3 8, b5u3c3 16. The paper's figures "
        "are of PASCAL VOC with ResNet-50 and its conv1_3 (2), b1u2c3 (4), b3u6c3 (16). The "
        "decoders that score at stride 4 are far ahead here, which the paper does not have. 900 "
        "steps are too few for ours: the vanilla decoder is ahead up to 8 pixels from an edge "
        "on the pictures of train and up to 16 on val, and in three times the steps, see the "
        "next table, most of the gap goes. Brought down by a convolution of 4 x 4 and stride 4 "
        "b2u2c3 gives a lower training loss at the end, but no higher mIoU. Of one feature the "
        "deepest helps and the shallower ones cost, the more the shallower, but by less than "
        "seeds differ at stride 32; two end lower than one or none by more, by bicyclists most. "
        "After 180 steps the training loss is higher with every feature that is added, at the "
        "end with all but b5u3c3: they take more steps, and in three times as many, next table, "
        "b2u2c3 is ahead of none. Multiply-adds of the layers of keras-hub and keras-cv are not "
        "counted.",
        "camvid_efficientnet_lite0",
        PHOTOGRAPHS,
        {
            "none": Row("none", "low_level_features=", 73.15, ("camvid_stride", "stride16")),
            "conv1": Row("conv1", "low_level_features=conv1", 72.70),
            "b2u2c3": DECODERS["b2u2c3"],
            "b3u2c3": Row("b3u2c3", "low_level_features=b3u2c3"),
            "b5u3c3": Row("b5u3c3", "low_level_features=b5u3c3", 73.43),
            "two": Row("b2u2c3 + b5u3c3", "low_level_features=b2u2c3,b5u3c3", 73.82),
            "conv1_two": Row("conv1 + b5u3c3", "low_level_features=conv1,b5u3c3", 74.20),
            "convolution": DECODERS["convolution"],
            "conv1_convolution": Row(
                "conv1 to 256 channels by convolution",
                "low_level_features=conv1 downsample=convolution low_level_channels=256",
            ),
            "vanilla": DECODERS["vanilla"],
            "keras_hub": Row(
                "b2u2c3, keras-hub's DeepLabV3+",
                "decoder=bilinear network=research.peer_decoders:keras_hub",
            ),
            "keras_cv": Row(
                "b2u2c3, keras-cv's DeepLabV3+, output stride 32",
                "decoder=bilinear network=research.peer_decoders:keras_cv output_stride=32",
            ),
        },
    ),
    "camvid_features_long": Table(
        "Tables 2 and 3: CamVid, output stride 16, three times as long",
        "Some of the gap after 900 steps is left: pixel accuracy under 4 pixels from an "
        "edge, on the pictures of train as well. From 8 pixels on the decoders are level. "
        "Brought down by a convolution of 4 x 4 and stride 4, b2u2c3 gives better edges, on train "
        "and on val, and on val more errors from 8 pixels on: mIoU stays. Whether the "
        "rest goes with yet more steps is not shown; the paper trains 30,000. Its figures are "
        "of PASCAL VOC with ResNet-50.",
        "camvid_efficientnet_lite0",
        "steps=2700 steps_per_epoch=270",
        {"none": Row("none", "low_level_features=", 73.15, ("camvid_long", "stride16"))} | DECODERS,
    ),
    "animals_features": Table(
        "Tables 2 and 3: animals of PASCAL VOC, EfficientNet-Lite0, output stride 16",
        "The paper's figures are of all of PASCAL VOC with ResNet-50.",
        "voc_animals_efficientnet_lite0",
        f"{ANIMALS} low_level_features=b2u2c3 output_stride=16 {PHOTOGRAPHS}",
        DECODERS,
        FREQUENT,
    ),
}


def run(table, row, seed):
    """Trains one row in a process of its own; its result file, or None where it was stopped."""
    table, row = origin(table, row)
    path = RESULTS / table / f"{row}_{seed}.json"
    if path.exists():
        return path
    words, output = command(table, row, seed), RUNS / table / f"{row}_{seed}"
    words_here = [sys.executable, *words[1:], "--output", str(output)]
    subprocess.run(words_here, check=True, cwd=HERE.parent)
    if not (output / "report.json").exists():
        return None
    report = json.loads((output / "report.json").read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "command": shlex.join(words),
        "recipe": json.loads((output / "recipe.json").read_text()),
        "runs": json.loads((output / "runs.json").read_text()),
        "report": {key: value for key, value in report.items() if key not in UNUSED},
        "log": read_log(output / "log.csv", report["steps"]),
    }
    write_json(result, path)
    return path


def origin(table, row):
    """The table and the row under which the runs of a row are kept."""
    return TABLES[table].rows[row].runs or (table, row)


def finished_run(table, row, seed):
    """The folder of a run that ended, with its model and report; exits where there is none."""
    folder, name = origin(table, row)
    run = RUNS / folder / f"{name}_{seed}"
    if not (run / "report.json").exists():
        words = f"python -m research.experiments {table} {row} --seeds {seed}"
        raise SystemExit(f"{run} holds no run that ended; {words}")
    return run


def recipe_of(table, row, seed=0):
    """The recipe of a row, with its overrides; drawn pictures hang on the seed."""
    _, _, _, path, *overrides = command(table, row, seed)
    return training.load_recipe(HERE.parent / path, overrides)


def parse(doc, module, arguments, *positional):
    """The arguments of a script that measures networks of a table, and its command in words."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    for name in positional:
        parser.add_argument(name)
    parser.add_argument("--rows", nargs="+", default=["bilinear32", "stride32"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parsed = parser.parse_args(arguments)
    words = ["python", "-m", f"training.{module}", parsed.table]
    words += [getattr(parsed, name) for name in positional]
    words += ["--rows", *parsed.rows, "--seeds", *map(str, parsed.seeds)]
    return parsed, shlex.join(words)


def command(table, row, seed):
    """The words of the command that trains a row."""
    table, row = TABLES[table], TABLES[table].rows[row]
    overrides = [*table.overrides.split(), *row.overrides.split(), f"seed={seed}"]
    return ["python", "-m", "training.train", f"training/recipes/{table.recipe}.py", *overrides]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("table", nargs="?", choices=TABLES)
    parser.add_argument("rows", nargs="*", help="of the table; all by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args(arguments)
    if arguments.table is None:
        for name, table in TABLES.items():
            print(f"{name}: {table.title}\n    {' '.join(table.rows)}")
        return
    known = TABLES[arguments.table].rows
    unknown = [row for row in arguments.rows if row not in known]
    if unknown:
        parser.error(f"{arguments.table} has no row {', '.join(unknown)}; {', '.join(known)}")
    for seed in arguments.seeds:
        for row in arguments.rows or known:
            print(f"\n{shlex.join(command(arguments.table, row, seed))}", flush=True)
            path = run(arguments.table, row, seed)
            if path is None:
                return  # interrupted
            print(path)


if __name__ == "__main__":
    main()
