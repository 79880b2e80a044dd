"""The sections that are made of one file each."""

import json
import statistics

from research.experiments import tables
from research.page.markdown import measured_by, percent, table

BOUNDS_TEXT = """\
Val label maps brought down and up again, mIoU and IoU by class in %: by the label in the middle of
each window, by the shares of the classes in it, interpolated, and by W, fitted to the label maps of
train, as the paper has it and with `class_balance=0.25`. No bound in the strict sense: scores need
not be shares."""
RAMPS_TEXT = """\
How much W holds, in %, of scores of a class that rise linearly over a window, which is what
bilinear interpolation adds to constant ones (`LabelProjection.class_ramps`):"""
PEER_TEXT = """\
Images of animals of PASCAL VOC 2012 val; the peer, DeepLabv3 on MobileNetV2 in 8 bits, was trained
on more images, in which all classes occur."""
BLOCKS_TEXT = """\
Of the borders between labels, those that lie on the grid of 16 x 16 pixels, one for each feature
at stride 16, on the val images of the animals. The share of borders that know nothing of such a
grid is 1 / 16, 6.25 %."""
VIT_TEXT = """\
Its only feature is at stride 16, of its patches; 4 blocks of 128 channels, no pretrained weights,
AdamW, batches of 8, the same crops for both. "Near" is the mIoU of pixels closer than 3 pixels to a
change of label."""
ANIMALS = ("cat", "cow", "dog", "horse", "person", "sheep")


def label_bounds(found):
    """The section of `research.projections.label_bounds`."""
    lines = ["## What the stride leaves of the labels", "", BOUNDS_TEXT]
    lines += _by_class(found["rows"], "mIoU")
    lines += ["", RAMPS_TEXT, *_by_class(found["ramps"], "mean"), *measured_by(found)]
    return "\n".join(lines)


def _by_class(rows, mean):
    """A table for each data set: numbers by class, without those that are None."""
    groups = {}
    for row, numbers in rows.items():
        numbers = {name: x for name, x in numbers.items() if x is not None}
        values = statistics.mean(numbers.values()), *numbers.values()
        cells = [row, *(f"{100 * x:.1f}" for x in values)]
        groups.setdefault(tuple(numbers), []).append(cells)
    lines = []
    for names, several in groups.items():
        lines += ["", *table(["", mean, *names], several)]
    return lines


def peer(found):
    """The section of `research.peers.animals`."""
    lines = ["## The model of the package beside a trained peer", "", PEER_TEXT, ""]
    rows = []
    for name, row in found["rows"].items():
        numbers = row["miou"], row["pixel_accuracy"], *(row["iou"][k] for k in ANIMALS)
        rows.append([name, *(f"{100 * x:.2f} %" for x in numbers)])
    lines += table(["", "mIoU", "pixel accuracy", *ANIMALS], rows)
    return "\n".join([*lines, *measured_by(found)])


def blocks(found):
    """The section of `research.probes.blocks`."""
    rows = [
        [name, f"{row['borders']:,}", f"{row['on_grid']:,}", f"{100 * row['share']:.2f} %"]
        for name, row in found["rows"].items()
    ]
    lines = ["## Do the windows show?", "", BLOCKS_TEXT, ""]
    lines += table(["", "borders", "on the grid", "share"], rows)
    return "\n".join([*lines, *measured_by(found)])


def vision_transformer(found):
    """The section of `research.vision_transformer`."""
    runs = {}
    for row in found["rows"]:
        runs.setdefault((row["data"], row["end"], row["steps"]), []).append(row)
    rows = []
    for (name, end, steps), seeds in runs.items():
        numbers = [percent([one[key] for one in seeds]) for key in ("miou", "near", "boundary_iou")]
        rows.append([name, end, steps, *numbers, len(seeds)])
    lines = ["## A vision transformer: interpolation by 16 and DUpsampling", "", VIT_TEXT, ""]
    lines += table(["data", "decoder", "steps", "mIoU", "near", "boundary IoU", "seeds"], rows)
    return "\n".join([*lines, *measured_by(found)])


def sections():
    """The sections whose file is there."""
    files = {"label_bounds": label_bounds, "peer": peer, "blocks": blocks}
    files["vision_transformer"] = vision_transformer
    for name, write in files.items():
        path = tables.RESULTS / f"{name}.json"
        if path.exists():
            yield write(json.loads(path.read_text()))
