"""A small vision transformer, new weights: scores interpolated by 16, and DUpsampling.

    python -m research.vision_transformer [--data shapes camvid] [--seeds 0 1 2] [--steps 1000]

The comparison of training/notebooks/vision_transformer.ipynb, on the built-in shapes and on CamVid:
the encoder's only feature is that of its patches, so there is no finer one to fuse. Both networks
see the same crops in the same order. Runs that research/results/vision_transformer.json has are
kept; `--steps` other than theirs replaces them.
"""

import argparse
import functools
import json
import shlex
import sys

import keras
import keras_hub

from keras_dup import data, evaluation, inference, models, projection, training
from research.experiments import tables
from research.files import write_json

RECIPES = {"shapes": "shapes.py", "camvid": "camvid_efficientnet_lite0.py"}  # which data
RATIO = 16
ENDS = {
    "bilinear": {},
    "dupsampling": {"interpolated_scores": True, "temperature": 1 / RATIO},
}


def vit(size):
    """4 blocks of 128 channels, for images of one size."""
    return keras_hub.models.ViTBackbone(
        image_shape=(*size, 3),
        patch_size=RATIO,
        num_layers=4,
        num_heads=4,
        hidden_dim=128,
        mlp_dim=256,
        name="vit",
    )


def run(name, end, seed, steps):
    """Trains one network and measures it on val: a row of the results."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    recipe = training.load_recipe(tables.ROOT / "training/recipes" / RECIPES[name])
    train, val = training.datasets(recipe)
    network = {"num_classes": recipe.num_classes, "decoder": end, **ENDS[end]}
    if end == "dupsampling":
        channels = recipe.channels
        network["projection"] = projection.fit(
            train.label_maps(), recipe.num_classes, RATIO, channels, verbose=False
        )
    rescaling = keras.layers.Rescaling(1 / 127.5, -1)
    model = models.build(vit(recipe.crop_size), preprocessing=rescaling, **network)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # the training is short
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=data.VOID)
    model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), loss)
    batches = data.train_batches(train, 8, recipe.crop_size, seed=seed)
    print(f"{name}, {end}, seed {seed}", flush=True)
    model.fit(batches, steps_per_epoch=steps // 10, epochs=10, shuffle=False, verbose=2)
    report = evaluation.evaluate(
        functools.partial(inference.predict, model), val, (3,), boundary=True
    )
    return {
        "data": name,
        "end": end,
        "seed": seed,
        "steps": steps,
        "miou": report["miou"],
        "near": report["trimap_miou"][3],
        "boundary_iou": report["boundary_iou"]["mean"],
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "research.vision_transformer", *words])
    path = tables.RESULTS / "vision_transformer.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [row for row in rows if row["steps"] == given.steps]
    have = {(row["data"], row["end"], row["seed"]) for row in rows}
    for name in given.data:
        for seed in given.seeds:
            for end in ENDS:
                if (name, end, seed) not in have:
                    rows.append(run(name, end, seed, given.steps))
                    found = {"command": command, "rows": rows, "run": training.provenance()}
                    write_json(found, path)


if __name__ == "__main__":
    main()
