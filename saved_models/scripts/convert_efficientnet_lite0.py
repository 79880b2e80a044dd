"""Converts ImageNet weights of EfficientNet-Lite0 to saved_models/, for `weights="imagenet"`.

    python -m saved_models.scripts.convert_efficientnet_lite0 efficientnet_lite0_imagenet.npz \
        [--images a.jpg b.jpg ...]

The input has PyTorch's variable names (`_blocks.3._bn1.running_mean`) and TensorFlow's layout
(kernels HWIO). The output maps the paths of our variables (`b2u2c2_bn/moving_mean`) to arrays. A
variable left over on either side is an error. With --images it prints the first five classes of
each picture, to see that the network sees.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

from keras_dup._backbones.efficientnet_lite import LITE0, efficientnet_lite0_classifier
from keras_dup._whole import writing

OUTPUT = pathlib.Path(__file__).parents[1] / "efficientnet_lite0_imagenet.npz"
BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def names():
    """{our layer: their layer}, convolutions with their batch norm."""
    pairs = {"conv1": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    units = [(b, u, row[2]) for b, row in enumerate(LITE0, 1) for u in range(1, row[4] + 1)]
    for i, (block, unit, expansion) in enumerate(units):
        ours, theirs = f"b{block}u{unit}", f"_blocks.{i}"
        if expansion > 1:
            pairs[f"{ours}c1"] = f"{theirs}._expand_conv", f"{theirs}._bn0"
        pairs[f"{ours}c2"] = f"{theirs}._depthwise_conv", f"{theirs}._bn1"
        pairs[f"{ours}c3"] = f"{theirs}._project_conv", f"{theirs}._bn2"
    return pairs


def convert(archive):
    """{PyTorch name: array} -> {path of our variable: array}."""
    converted = {"classifier/kernel": "_fc.weight", "classifier/bias": "_fc.bias"}
    for ours, (convolution, batch_norm) in names().items():
        converted[f"{ours}_conv/kernel"] = f"{convolution}.weight"
        for theirs, name in BATCH_NORM.items():
            converted[f"{ours}_bn/{name}"] = f"{batch_norm}.{theirs}"
    left = set(archive) - set(converted.values())
    left = {name for name in left if not name.endswith("num_batches_tracked")}
    if left:
        raise ValueError(f"variables of the archive without a place in ours: {sorted(left)}")
    return {path: archive[name] for path, name in converted.items()}


def assign(model, arrays):
    """Gives the model every array; both sides have to have the same variables and shapes."""
    left = {variable.path for variable in model.variables} ^ set(arrays)
    if left:
        raise ValueError(f"variables on one side only: {sorted(left)}")
    for variable in model.variables:
        variable.assign(arrays[variable.path])


def classify(model, path):
    """The five likeliest ImageNet classes (index, probability) of the central square."""
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC)
    scores = np.asarray(model(np.asarray(image, "float32")[None]))[0]
    return [(int(k), float(scores[k])) for k in np.argsort(-scores)[:5]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive")
    parser.add_argument("--images", nargs="*", default=())
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    arguments = parser.parse_args()
    with np.load(arguments.archive) as archive:
        arrays = convert(archive)
    model = efficientnet_lite0_classifier()
    assign(model, arrays)
    with writing(arguments.output) as temporary:
        np.savez(temporary, **arrays)
    print(f"{arguments.output}: {len(arrays)} variables, {model.count_params():,} parameters")
    for path in arguments.images:
        classes = ", ".join(f"{k} {p:.2f}" for k, p in classify(model, path))
        print(f"{path}: {classes}")


if __name__ == "__main__":
    main()
