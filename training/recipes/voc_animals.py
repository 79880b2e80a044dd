"""The network of the package, `voc_animals`: a thin branch at stride 4, bilinear, in two rounds.

    python -m training.train training/recipes/voc_animals.py --output training/runs/voc_animals
    python -m training.train training/recipes/voc_animals.py steps=1400 steps_per_epoch=350 seed=1 \
        weights=training/runs/voc_animals/model.keras --output training/runs/voc_animals_2

Data, crops, batch and rates are those of voc_animals_efficientnet_lite0.py, which differs in its
decoder, the paper's. What it ends with: saved_models/README.md.
"""

import dataclasses
import pathlib

from keras_dup.training import load_recipe

recipe = dataclasses.replace(
    load_recipe(pathlib.Path(__file__).with_name("voc_animals_efficientnet_lite0.py")),
    name="voc_animals",
    decoder="bilinear",
    low_level_features=("b2u2c3",),
    fusion_stride=4,
    fusion_channels=64,
    low_level_channels=32,
    context_channels=32,
    coarse_scores=True,
    steps=4050,
    steps_per_epoch=1350,
)
