"""Plans of the trials and the data that they are trained on, for a device without Keras.

    KERAS_DUP_DATA=... python -m research.decoder_plans FOLDER [--trials NAME ...] [--seeds 0 1 2]

FOLDER gets, for each of `DATA`, NAME.json (plans, settings, multiply-adds), NAME.npz (values that
no seed draws) and NAME_{train,val}.zip (images and masks as they are).
"""

import argparse
import dataclasses
import json
import pathlib
import zipfile

import keras
import numpy as np

from keras_dup import flops
from keras_dup.training import datasets, load_recipe
from research import decoder_trials, on_device, on_device_train

__all__ = ["DATA"]

RECIPES = pathlib.Path(__file__).parents[1] / "training" / "recipes"
DATA = {  # recipe, what is overridden, and the size of the largest image
    "camvid": ("camvid_efficientnet_lite0", (), (360, 480)),
    "animals": ("voc_animals_efficientnet_lite0", ("low_level_features=b2u2c3",), (352, 352)),
}


def write_data(folder, name, recipe):
    """The training and validation files as they are."""
    for split, files in zip(("train", "val"), datasets(recipe), strict=True):
        with zipfile.ZipFile(folder / f"{name}_{split}.zip", "w") as archive:
            for image in files.image_files:
                archive.write(image, f"images/{image.name}")
            for i in range(len(files)):
                mask = files.mask_files[i]
                archive.write(mask, f"masks/{mask.name}")


def write_plans(folder, name, recipe, trials, seeds, size):
    """Plans of the trials and what they start with."""
    maps = list(datasets(recipe)[0].label_maps())
    projections = decoder_trials.fit_projections(maps, recipe.num_classes)
    plans, arrays, trunk_arrays = {}, {}, {}
    for trial in trials:
        keras.utils.set_random_seed(seeds[0])
        model, start = decoder_trials.network(trial, recipe, projections)
        drawn = ("aspp", "fuse_", "scores") + (() if start else ("compressed",))
        layers, values = on_device.plan(model, drawn=drawn)
        trunk, head = on_device.split(layers)
        inner = {layer["name"] for layer in trunk}
        for path, value in values.items():
            if path.split("/")[0] in inner:
                trunk_arrays[path] = value
            else:
                arrays[f"{trial}|{path}"] = value
        for seed in seeds[1:] if start else ():
            keras.utils.set_random_seed(seed)
            start(model)
            for layer in model.layers:
                for variable in layer.variables:
                    path = f"{layer.name}/{variable.name}"
                    value = keras.ops.convert_to_numpy(variable)
                    if path in values and not np.array_equal(value, values[path]):
                        arrays[f"{trial}|{path}|{seed}"] = value
        plans[trial] = {
            "layers": layers if trial == trials[0] else head,
            "centred": decoder_trials.TRIALS[trial][1],
            "multiply_adds": flops.count(model, (513, 513)),
        }
        print(name, trial, plans[trial]["multiply_adds"], flush=True)
        keras.backend.clear_session()
    settings = dataclasses.asdict(on_device_train.Settings.of(recipe))
    facts = {"classes": recipe.num_classes, "size": size, "settings": settings, "plans": plans}
    (folder / f"{name}.json").write_text(json.dumps(facts))
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    np.savez_compressed(folder / "trunk.npz", **trunk_arrays)  # the same for all


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--trials", nargs="+", default=list(decoder_trials.TRIALS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--no-files", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.data:
        recipe, overrides, size = DATA[name]
        recipe = load_recipe(RECIPES / f"{recipe}.py", overrides)
        write_plans(arguments.folder, name, recipe, arguments.trials, arguments.seeds, size)
        if not arguments.no_files:
            write_data(arguments.folder, name, recipe)


if __name__ == "__main__":
    main()
