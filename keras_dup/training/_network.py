"""The network of a recipe, as it predicts."""

import dataclasses
import warnings
from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from keras_dup import _network, _pretrained, models
from keras_dup._trained import NEW_LAYERS, OF_ENCODER, architecture
from keras_dup.layers import AdaptiveTemperatureSoftmax
from keras_dup.projection import LabelAutoencoder, LabelProjection
from keras_dup.training._recipe import Recipe

# fields that only a network with W uses
_OF_W = {*_network._OF_W, "train_temperature", "class_balance", "train_projection"}


def build_network(
    recipe: Recipe, projection: LabelProjection | LabelAutoencoder | None = None
) -> keras.Model:
    """Builds the network that a recipe describes: `keras_dup.models.build`, or its own function.

    Args:
        recipe: the recipe; `recipe.located()` where its files are named from data_root.
        projection: the fitted W; None draws one at random.

    Returns: `keras.Model`, (B, H, W, 3) in 0..255 -> (B, H, W, K) probabilities.

    Warns: the recipe sets what only DUpsampling has, but its decoder is "thin", the default.
    """
    if recipe.network:
        model = recipe.function(recipe.network)(recipe, projection)
    else:
        weights = models._trained_model(recipe.weights)
        has_w = recipe.decoder == "dupsampling" or projection is not None
        if recipe.decoder == "thin" and not has_w:
            _warn_of_unused(recipe)
        of_w: dict[str, Any] = {
            "projection": "random" if projection is None else projection,
            "channels": recipe.channels,
            "ratio": recipe.ratio or None,
            "temperature": recipe.temperature,
            "initializer": recipe.initializer,
            "interpolated_scores": recipe.interpolated_scores,
        }
        model = models.build(
            backbone=recipe.backbone,
            num_classes=recipe.num_classes,
            output_stride=recipe.output_stride,
            low_level_features=recipe.low_level_features,
            decoder=recipe.decoder,
            downsample=recipe.downsample,
            fusion_stride=recipe.fusion_stride or None,
            fusion_channels=recipe.fusion_channels or None,
            low_level_channels=recipe.low_level_channels or None,
            context_channels=recipe.context_channels or None,
            coarse_scores=recipe.coarse_scores or None,
            **(of_w if has_w else {}),
        )
        if recipe.new_layers_variance:
            draw_new_layers(model, recipe.new_layers_variance, recipe.seed)
        if recipe.weights:  # after it, for what they fill is not new
            _pretrained.load_weights(model, recipe.backbone, weights, projection is not None)
    if isinstance(model.layers[-1], AdaptiveTemperatureSoftmax):
        model.layers[-1].trainable = recipe.train_temperature
        model.get_layer("dupsampling").trainable = recipe.train_projection
    return model


def _warn_of_unused(recipe):
    of_w = [field for field in dataclasses.fields(recipe) if field.name in _OF_W]
    unused = [field.name for field in of_w if getattr(recipe, field.name) != field.default]
    if unused:
        warnings.warn(
            f"recipe {recipe.name}: {', '.join(unused)} without effect, for the decoder is thin; "
            "decoder=dupsampling has W",
            stacklevel=3,
        )


def architecture_of_weights(recipe: Recipe, given: Collection[str]) -> dict[str, Any]:
    """The fields of a recipe that the trained model in its weights decides; {} for other weights.

    Args:
        recipe: the recipe.
        given: names of the fields that stay as they are.

    Raises:
        ValueError: another backbone is given.
    """
    model = models._trained_model(recipe.located().weights)
    if recipe.network or not isinstance(model, keras.Model):
        return {}
    found = architecture(model)
    if found["backbone"] is None:
        raise ValueError(
            f"weights={recipe.weights}: the backbone of that model is none of the package; build "
            "the network in a function of yours, and name it as network=MODULE:FUNCTION"
        )
    if "backbone" in given and recipe.backbone != found["backbone"]:
        raise ValueError(
            f"weights={recipe.weights} are of the backbone {found['backbone']}, not "
            f"{recipe.backbone}; leave backbone out"
        )
    if "decoder" in given and recipe.decoder != found["decoder"]:
        found = {name: found[name] for name in OF_ENCODER}
    elif found["decoder"] == "dupsampling" and not found["interpolated_scores"]:
        found["initializer"] = "nearest"
    fields = {field.name: field.default for field in dataclasses.fields(Recipe)}
    names = (set(found) & set(fields)) - {"num_classes"} - set(given)
    return {name: fields[name] if found[name] is None else found[name] for name in names}


def draw_new_layers(model, variance, seed=0):
    """Draws the kernels of ASPP and decoder from a Gaussian of mean 0 (Sec. 4).

    The paper's variance, 0.01, slows training down: the network of voc2012_upper_bound.py at
    output stride 32 with 128 channels, after 900 steps of 12 crops of 193 x 193, has a loss of
    0.050 and 85.9 % mIoU on every 20th label map of val. From Keras's default it has 0.023 and
    92.7 % (one seed). The variance is 46 times the default of a 3x3 kernel from 512 to 512. Batch
    norm hides the scale of its outputs, but a step of the same size then turns the kernel by less.
    A recipe of 0 keeps the default; those of the paper's experiments have 0.01.
    """
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name.startswith(NEW_LAYERS):
            for variable in layer.trainable_variables:
                if variable.name.endswith("kernel"):
                    variable.assign(rng.normal(0, variance**0.5, variable.shape))
