"""Segmentation networks: backbone, ASPP, low-level features, decoder and softmax in one model."""

import importlib.resources
import os
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_dup import (
    _card,
    _hub,
    _keras_private,
    _lists,
    _network,
    _pretrained,
    _saving,
    _trained,
    projection,
)
from keras_dup._labelled import LabelledModel, labelled, names_in_file
from keras_dup.presets import _MODELS, check_model
from keras_dup.projection import LabelAutoencoder, LabelProjection

__all__ = [
    "build",
    "class_names",
    "load",
    "save",
]

if keras.backend.backend() == "jax":
    from keras_dup._jax import depthwise, pooling

    _keras_private.wrap_operation("depthwise_conv", depthwise.depthwise_conv)
    _keras_private.wrap_operation("max_pool", pooling.max_pool)

_RANDOM_W = (
    "build: no projection is given, so W is random. It stays as it is in training, and the network "
    "stays poor. Fit one to label maps (`keras_dup.projection.fit`) or take one of the package "
    '(projection="voc2012_r16_c64"), and give it here or to '
    '`model.get_layer("dupsampling").set_projection(...)` before training. projection="random" '
    "asks for a random W without this warning."
)
_OTHER_W = (
    "of another ratio, class count or number of channels than this network's; give a projection "
    "fitted to your label maps (`keras_dup.projection.fit`)"
)


def build(
    backbone: str | keras.Model | None = None,
    num_classes: int | None = None,
    output_stride: int | None = None,
    low_level_features: tuple[str, ...] | None = None,
    channels: int | None = None,
    projection: LabelProjection | LabelAutoencoder | str | os.PathLike | None = None,
    decoder: str | None = None,
    weights: str | os.PathLike | keras.Model | None = None,
    preset: str | None = None,
    preprocessing: Callable | None = None,
    temperature: float = 1.0,
    *,
    ratio: int | None = None,
    fusion_stride: int | None = None,
    fusion_channels: int | None = None,
    low_level_channels: int | None = None,
    context_channels: int | None = None,
    downsample: str | None = None,
    coarse_scores: bool | None = None,
    initializer: str | None = None,
    interpolated_scores: bool | None = None,
    class_names: Sequence[str] | None = None,
    colours: Sequence[Sequence[int]] | None = None,
) -> keras.Model:
    """A segmentation network: image -> probabilities, any height and width.

    An argument that is None comes from the preset, else from the trained model in `weights`, else
    from the backbone, else it has the default named here.

    Three strides decide the shape of a decoder. The encoder ends at `output_stride`, low-level
    features meet its last feature at `fusion_stride`, and DUpsampling makes windows of `ratio` x
    `ratio` pixels. In the paper's decoder all three are equal, which is the default. Smaller ones
    make use of fine features at their own resolution, at more multiply-adds per channel.

    Args:
        backbone: the name of a backbone ("xception65" by default; the error for an unknown one
            lists them), or a functional `keras.Model` with one image input (`keras.applications`,
            keras-hub, your own), which becomes part of the network with its weights. It ends in a
            feature map, or in tokens that are the patches of a vision transformer.
        num_classes: K, at least 2; 21 by default.
        output_stride: 8, 16 (default) or 32: size of the image / size of the last feature. The
            project's own backbones reach it by atrous convolution. A `keras.Model` has one output
            stride, which is its default.
        low_level_features: names of features of the backbone, any number; () for none. Of a
            `keras.Model`: names of layers, of its outputs (`output_names`) or of levels of its
            `pyramid_outputs`; () by default, for "thin" the output or level at stride 4, with a
            warning where none is known. They are fused from coarse to fine.
        channels: C~. By default that of the projection, else of the preset or backbone (64 for a
            `keras.Model`).
        projection: a `LabelProjection`; a `LabelAutoencoder`, whose decoder then is the upsampling;
            the path of a saved one; or the name of one in the package ("voc2012_r16_c64"). "random"
            draws W at random, and so does None with "dupsampling", with a warning unless `weights`
            brings W: training does not change W, and a network with a random W stays poor. Give a
            fitted projection before training, here or by
            `model.get_layer("dupsampling").set_projection(projection)`.
        decoder: "dupsampling" (the paper, Fig. 2), "bilinear" (DeepLabv3+, Fig. 1) or "thin":
            "bilinear" with `fusion_stride` 4, 128 `fusion_channels`, 48 `low_level_channels`, 64
            `context_channels` and `coarse_scores`, on a feature at stride 4. The default is
            "dupsampling" where a projection or another argument of it is given, else "thin".
        weights: None; "imagenet", for the backbone (in the package or downloaded); a trained model
            (`keras.Model`, the path of a `.keras`, or "voc_animals" of the package), whose
            architecture is the default of the arguments above and whose weights are taken where
            they fit by name and shape; a line says which layers are new. The path of a
            `.weights.h5` of the same network; for "mobilenet_v2" the path of a `.h5` of
            `keras.applications.MobileNetV2(include_top=False)`; or the prefix of a DeepLab
            TensorFlow checkpoint (`model.ckpt`).
        preset: a name in `keras_dup.presets.PRESETS`: the networks of the paper's tables, and one
            with a vision transformer.
        preprocessing: with a `keras.Model`: a layer or function from the image in 0..255 to what
            the model expects. None passes the image as it is.
        temperature: T of the DUpsampling decoder's softmax before training. The paper's is 1. With
            1 / ratio a unit of C~ moves the scores of a window as much as a unit of a bilinearly
            upsampled score does, since W has orthonormal rows.
        ratio: r of the DUpsampling decoder, 2 to 32, at most `fusion_stride`, which is the default.
            The projection must have this ratio. Codes of a larger stride are interpolated to it.
        fusion_stride: 2 to 32, at most `output_stride`: where low-level features are fused. By
            default `output_stride` for "dupsampling"; for "bilinear" each feature is fused at its
            own stride. Finer features come down to it; the last feature goes up to it, bilinearly.
        fusion_channels: of the separable convolutions that fuse; 256 by default.
        low_level_channels: of each low-level feature before it is fused; 48 by default
            (DeepLabv3+).
        context_channels: of the last feature before it goes up to `fusion_stride`; all 256 by
            default.
        downsample: how features come down to `fusion_stride` (Eq. 8). "subsample" (the paper;
            default) takes every k-th position, k the ratio of the two sizes: on the paper's sizes
            this is bilinear downsampling. "convolution" uses all positions, by a k x k convolution
            of stride k. The weights of one do not fit the other.
        coarse_scores: True also makes class scores of ASPP's output, bilinearly upsampled to
            `fusion_stride`: "bilinear" adds them to its scores, "dupsampling" gives them to the
            last 1x1 convolution. A thin fusion then only has to correct them.
        initializer: how the DUpsampling decoder starts. "glorot_uniform" (Keras's; default): the
            last 1x1 convolution is drawn at random. "nearest": as nearest-neighbour upsampling of
            class scores. It needs a `LabelProjection`, and a temperature of 1 / ratio suits it.
        interpolated_scores: True adds a branch to the DUpsampling decoder: class scores, bilinearly
            interpolated in each window by a fixed 3x3 convolution, are added to the output of the
            last 1x1. The network then starts as bilinear upsampling of class scores. It needs a
            `LabelProjection`, and a temperature of 1 / ratio suits it; it excludes
            initializer="nearest".
        class_names: K names, which the model keeps: `class_names(model)`, its `.keras` file and its
            exports have them.
        colours: (K, 3), 0..255, to draw the classes with; `model.colours`. With `class_names` only;
            by default those of `keras_dup.data.palette`.

    Returns:
        `keras.Model`: (B, H, W, 3) in 0..255, preprocessing inside -> (B, H, W, K) probabilities,
        float32. The values of the image are not checked: what comes out for NaN or infinity means
        nothing. `keras_dup.inference.predict` refuses them.

    Raises:
        ValueError: an unknown name (the known ones are listed); strides in the wrong order; a
            `keras.Model` whose features do not fit (the error says which and why); a projection of
            another ratio, class count or number of channels than the model's; none where
            `initializer` or `interpolated_scores` needs one; an argument of DUpsampling alone
            beside another decoder (but projection="random", which is nothing there); weights that
            do not fit the backbone; a W in `weights` that does not fit, and no projection in its
            place.
    """
    fitted, weights = _fitted(projection), _trained_model(weights)
    known = _trained.architecture(weights) if isinstance(weights, keras.Model) else {}
    known |= {"num_classes": fitted.num_classes} if known and fitted is not None else {}
    network = _network.resolve(
        preset,
        preprocessing,
        known,
        projection=projection,
        temperature=None if temperature == 1 else temperature,
        backbone=backbone,
        num_classes=num_classes,
        output_stride=output_stride,
        low_level_features=low_level_features,
        channels=channels,
        decoder=decoder,
        ratio=ratio,
        fusion_stride=fusion_stride,
        fusion_channels=fusion_channels,
        low_level_channels=low_level_channels,
        context_channels=context_channels,
        downsample=downsample,
        coarse_scores=coarse_scores,
        initializer=initializer,
        interpolated_scores=interpolated_scores,
    )
    brings_w = known.get("decoder") == "dupsampling" and projection is None
    model = _network.assemble(network, preprocessing, fitted, channels, temperature, not brings_w)
    has_w = fitted is not None
    if weights is not None:
        has_w = _pretrained.load_weights(model, network.backbone, weights, has_w) or has_w
    if network.decoder == "dupsampling" and projection is None and not has_w:
        if brings_w:
            raise ValueError(f"build: the W in weights is {_OTHER_W}")
        warnings.warn(_RANDOM_W, stacklevel=2)
    return model if class_names is None else labelled(model, class_names, colours)


def _trained_model(
    weights: str | os.PathLike | keras.Model | None,
) -> str | os.PathLike | keras.Model | None:
    """The model that `weights` names, by a `.keras` file or as one of the package, or `weights`."""
    if not isinstance(weights, (str, os.PathLike)):
        return weights
    if str(weights).endswith(".keras") and not os.path.isfile(weights):
        raise FileNotFoundError(f"build: weights={str(weights)!r}: there is no such file")
    whole = weights in _MODELS or _hub.is_handle(weights) or os.path.isdir(weights)
    whole = whole or str(weights).endswith(".keras")
    return _read(_located(weights)) if whole else weights


def load(path_or_name: str | os.PathLike) -> keras.Model:
    """Loads a trained model from a file, a folder or a hub, or one of the package.

    Args:
        path_or_name: the path of a `.keras` file; a folder that `save` wrote, or with one `.keras`
            file in it; "hf://ORG/NAME" of Hugging Face (the extra huggingface) or
            "kaggle://ORG/MODEL/keras/VARIATION" (the extra kaggle), which are fetched once and kept
            in the cache of the hub's client; or "voc_animals" of the package.

    Returns: `keras.Model`, not compiled. `class_names(model)` are its classes.

    Raises:
        ValueError: none of these (the names are listed), or a file that is damaged or no model.
        ImportError: the extra of a hub is missing.
        OSError: a hub does not answer or does not have the model.
    """
    located = _located(path_or_name)
    return _with_names(_read(located), located)


def _located(path_or_name):
    """A name of the package, or a file or folder on this machine."""
    check_model(path_or_name)
    return path_or_name if path_or_name in _MODELS else _hub.locate(path_or_name)


def _read(path_or_name):
    if path_or_name in _MODELS:
        with _shipped(_MODELS[path_or_name]) as path:
            return keras.models.load_model(path, compile=False)
    try:
        return keras.models.load_model(path_or_name, compile=False)
    except Exception as error:  # zipfile, h5py, json and Keras raise a dozen kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path_or_name}: cannot be loaded ({reason}); a whole .keras file or saved folder of "
            "layers that Keras and this package know is expected: copy it or save it again"
        ) from error


def _with_names(model, path_or_name):
    """The model with the names that lie beside its file, if there are none in it."""
    if isinstance(model, LabelledModel) or not _keras_private.is_functional(model):
        return model
    names = _names_beside(path_or_name)
    if names is None or len(names) != model.output_shape[-1]:  # a classes.txt of something else
        return model
    return labelled(model, names)


def save(
    model: keras.Model,
    destination: str | os.PathLike,
    *,
    dataset: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    license: str | None = None,
    description: str | None = None,
) -> None:
    """Saves a model as a folder that `load`, Keras and hubs read, or sends it to a hub.

    The folder has Keras's config.json and model.weights.h5, from which
    `keras.saving.load_model(folder)` makes the same model once `keras_dup` is imported. Beside them
    lie W (projection.npz), the names and colours of the classes (classes.txt, colours.txt),
    metrics.json and a model card, README.md, whose front matter hubs read. The state of an
    optimizer is left out.

    Args:
        model: of `build` or `load`, compiled or not.
        destination: a new or empty folder; or "hf://ORG/NAME" (the extra huggingface) or
            "kaggle://ORG/MODEL/keras/VARIATION" (the extra kaggle), where you are logged in. A
            model that is not there yet is made, and anyone can see it: to keep it private, make it
            on the hub's page first. A README.md there that was written by hand stays.
        dataset: the name of the data that it was trained and measured on; an id of the hub where
            there is one.
        metrics: the report of `keras_dup.evaluation.evaluate`, or {name: number}.
        license: an id of the hub: "apache-2.0", "cc-by-4.0", "other".
        description: the first paragraph of the card, Markdown.

    Raises:
        FileExistsError: the folder has something in it.
        ValueError: a model of another kind, or with layers that Keras cannot make again; a handle
            or licence that is none; metrics without `dataset`.
        ImportError: the extra of a hub is missing.
        OSError: the hub refuses, or does not answer.
    """
    told = {**_card.check(dataset, license, metrics), "description": description}
    if not _keras_private.is_functional(model) or len(model.inputs + model.outputs) != 2:
        raise ValueError("save: a functional model of one image is expected, as `build` makes it")
    _saving.save(model, destination, told)


def class_names(model: keras.Model | str | os.PathLike) -> list[str] | None:
    """The names of the classes of a model; None where they are not known.

    They are part of the model and of its `.keras` file where `keras_dup.training` or
    `build(class_names=...)` made it. A file without them may have classes.txt beside it, one name
    per line.

    Args: model, or what `load` takes.
    """
    if isinstance(model, keras.Model):
        return list(getattr(model, "class_names", ())) or None
    if model in _MODELS:
        with _shipped(_MODELS[model]) as path:
            return names_in_file(path)
    path = _hub.locate(model)
    return names_in_file(path) or _names_beside(path)


def _names_beside(path):
    path = pathlib.Path(path)
    path = (path if path.is_dir() else path.parent) / "classes.txt"
    return _lists.read_lines(path) if path.is_file() else None


def _shipped(name):
    """A context with the path of a file of the package."""
    return importlib.resources.as_file(importlib.resources.files("keras_dup.saved_models") / name)


def _fitted(given):
    """What `projection` of `build` means: a projection, or None for a W at random."""
    if isinstance(given, (str, os.PathLike)):
        return None if given == "random" else projection.load(given)
    return given
