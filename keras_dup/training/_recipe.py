"""A recipe: every value that decides a training run, flat, in one place."""

import dataclasses
import os
import pathlib
import pkgutil
from collections.abc import Callable
from typing import Any

from keras_dup import presets
from keras_dup._augmentations import check_augmentation
from keras_dup._nearest import hint
from keras_dup._void import VOID

# {name of a field: (bound, whether it may be that, upper bound or None, whether it may be that)}
_RANGES = {
    **dict.fromkeys(("num_classes", "batch_size", "steps", "steps_per_epoch"), (0, False, None, 0)),
    **dict.fromkeys(("learning_rate", "temperature"), (0, False, None, 0)),
    **dict.fromkeys(("momentum", "ema", "label_smoothing", "val_share"), (0, True, 1, False)),
    **dict.fromkeys(("batch_norm_momentum", "backbone_batch_norm_momentum"), (0, True, 1, False)),
    **dict.fromkeys(("train_share", "hard_pixels"), (0, False, 1, True)),
    **dict.fromkeys(("auxiliary_weight", "teacher_weight"), (0, True, 1, True)),
    **dict.fromkeys(("low_level_channels", "fusion_channels", "backbone_rate"), (0, True, None, 0)),
    "class_balance": (0, True, 0.5, True),
    "focal_gamma": (0, False, None, False),
}
# {name of a field: what it may be}; also the choices of the command line
WORDS: dict[str, tuple] = {
    "backbone": tuple(presets._BACKBONES),
    "output_stride": presets.OUTPUT_STRIDES,
    "decoder": presets.DECODERS,
    "downsample": presets.DOWNSAMPLES,
    "ratio": (0, *presets.RATIOS),
    "fusion_stride": (0, *presets.RATIOS),
    "initializer": presets.INITIALIZERS,
    "dtype_policy": ("float32", "mixed_bfloat16", "mixed_float16"),
}
LOSSES = ("crossentropy", "focal", "dice", "jaccard", "tversky", "lovasz")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One training run.

    The training and the validation data are one of

    - `data_set`: a published data set of `keras_dup.data.load` and two of its splits;
    - `train_images` and `train_masks`: folders, paired by file name; the validation images come
      from folders of their own, from a list of names, or are every so many of the training images;
    - `train_count` and `val_count` of the built-in drawn shapes, at `crop_size`;
    - `datasets`: what a function of yours returns.

    Paths are relative to `data_root`, else to $KERAS_DUP_DATA, else to the current folder.

    Raises ValueError for a value out of its range, and for values that contradict each other.
    """

    name: str
    """Of the run; also its default folder."""
    num_classes: int
    """K; class ids are 0 to K - 1."""
    data_set: str = ""
    """A name of `keras_dup.data.load`, prepared in data_root."""
    train_split: str = "train"
    """Of data_set."""
    val_split: str = "val"
    """Of data_set."""
    data_root: str = ""
    """The folder that paths are relative to; "" for $KERAS_DUP_DATA."""
    train_images: str = ""
    """Folder of the training images."""
    train_masks: str = ""
    """Folder of their masks: one class id per pixel."""
    train_names: str = ""
    """Text file with the names to train on, one per line; "" for all that do not validate."""
    train_share: float = 1.0
    """Share of the training images to use, at equal distances, in (0, 1]."""
    val_images: str = ""
    """Folder of the validation images; "" for train_images."""
    val_masks: str = ""
    """Folder of their masks; "" for train_masks."""
    val_names: str = ""
    """Text file with the names to validate on."""
    val_share: float = 0.1
    """Share of the training images that validates, where no val_images or val_names are given."""
    skip_bad: bool = False
    """Leave unusable files out, in place of an error that lists them."""
    allow_absent_classes: bool = False
    """Train although some class occurs in no training mask, in place of an error."""
    class_names: tuple[str, ...] = ()
    """K names; the ids by default."""
    ignore_class: int | None = VOID
    """The id of void in the mask files; None (key=none) for no void."""
    ids: tuple[str, ...] = ()
    """What the ids in the mask files mean, in place of ignore_class: ID:CLASS pairs, "255:1", with
    255 for void, or a known name, as in `keras_dup.data.Folder`."""
    colours: tuple[str, ...] = ()
    """What the colours in the mask files mean: lines "name r g b", a file of such lines, or a known
    name, as in `keras_dup.data.Folder`."""
    mask_suffix: str | None = None
    """What the names of masks have behind those of their images; None finds it by itself."""
    recursive: bool = False
    """Whether subfolders of the folders are read too."""
    train_count: int = 0
    """Number of drawn images to train on."""
    val_count: int = 0
    """Number of drawn images to validate on."""
    datasets: str = ""
    """MODULE:FUNCTION, of (recipe): returns the training and the validation data set."""

    network: str = ""
    """MODULE:FUNCTION, of (recipe, projection): returns a model as `models.build` does, in place
    of the one that the following fields describe."""
    backbone: str = "resnet50"
    """The name of a backbone."""
    weights: str = ""
    """As in `models.build`: "imagenet", or a file (relative to data_root, or to here)."""
    output_stride: int = 16
    """Image size / size of the last feature: 8, 16 or 32."""
    low_level_features: tuple[str, ...] | None = None
    """Names of features of the backbone; None for the decoder's default, () for none."""
    decoder: str = "thin"
    """"thin", "dupsampling" or "bilinear", see `models.build`. Fields of W need "dupsampling"."""
    channels: int = 64
    """C~ of the DUpsampling decoder."""
    downsample: str = "subsample"
    """How low-level features come to the size of the last (Eq. 8): or "convolution"."""
    ratio: int = 0
    """r, the side of W's windows in pixels; 0 for fusion_stride."""
    fusion_stride: int = 0
    """Stride at which low-level features are fused; 0 for the decoder's default."""
    fusion_channels: int = 0
    """Channels of the decoder's separable convolutions; 0 for its default."""
    low_level_channels: int = 0
    """Channels that a low-level feature is brought to before it is fused; 0 for the default."""
    context_channels: int = 0
    """Channels of ASPP's output before it goes up to fusion_stride; 0 for the default."""
    coarse_scores: bool = False
    """Add class scores of ASPP's output to those of the decoder; "thin" does."""
    initializer: str = "glorot_uniform"
    """How the DUpsampling decoder starts: or "nearest"."""
    interpolated_scores: bool = False
    """Add bilinearly upsampled class scores to the features of the DUpsampling decoder."""
    temperature: float = 1.0
    """T of the DUpsampling decoder before training."""
    train_temperature: bool = True
    """Whether T is trained; temperature 1 and False are the paper's "vanilla softmax" (4.1.4)."""
    projection: str = ""
    """"" fits W to the training label maps; a name or file of `models.build`; "random"; or
    "nearest" (nearest-neighbour upsampling as a W, with num_classes channels)."""
    class_balance: float = 0.0
    """Of the fit of W, 0 to 0.5: how much more the pixels of rare classes count."""
    train_projection: bool = False
    """Whether W and the mean are trained too; the paper keeps them."""
    new_layers_variance: float = 0.0
    """Of the Gaussian that ASPP's and the decoder's kernels are drawn from (Sec. 4: 0.01); 0 for
    Keras's default."""

    crop_size: tuple[int, int] = (513, 513)
    """Height and width of training crops, in pixels. Best are multiples of the output stride plus
    one: validation has windows that the image's edge cuts, and 512 would never show one."""
    scale_range: tuple[float, float] = (0.5, 2.0)
    """Bounds of the random scale of training images, any in between (DeepLab: steps of 0.25)."""
    augmentation: tuple[str, ...] = ()
    """More effects on training images: "color_jitter", "grayscale", "gaussian_blur", "rotation",
    "erasing"; see `keras_dup.data.train_batches`."""
    batch_size: int = 16
    """Over all devices and workers together."""
    train_batch_norm: bool = True
    """Whether the backbone's batch norms are trained; False leaves them as they are."""
    batch_norm_group: int = 0
    """Number of images that batch norm takes its statistics from; 0 for the whole batch."""
    batch_norm_momentum: float = 0.99
    """Of the moving averages (DeepLab: 0.9997). A short run needs less."""
    backbone_batch_norm_momentum: float = 0.0
    """The same of the backbone alone (DeepLab: 0.95 for ResNet); 0 for batch_norm_momentum."""
    pretraining_steps: int = 0
    """Steps of regression to the compressed labels (Eq. 4) before the others."""
    pretraining_learning_rate: float = 0.01
    """Learning rate of these steps."""
    steps: int = 30_000
    """Batches to train on."""
    steps_per_epoch: int = 500
    """An epoch ends in a validation and a checkpoint."""
    checkpoint_steps: int = 0
    """Write another checkpoint every so many steps; 0 for none."""
    learning_rate: float = 0.007
    """Of the first step; learning_rate * (1 - step / steps) ** power after it ("poly")."""
    backbone_rate: float = 1.0
    """Learning rate of the backbone, as a share of learning_rate; 0 is freeze_backbone."""
    freeze_backbone: bool = False
    """Whether the backbone stays as it is, its batch norms included."""
    power: float = 0.9
    """Exponent of the schedule of the learning rate."""
    momentum: float = 0.9
    """Of SGD, in [0, 1). Keras keeps rate * gradient in the momentum's sum, DeepLab's optimizer
    multiplies the sum by the rate: where the rate falls, Keras's steps are a little longer."""
    weight_decay: float = 1e-4
    """Of kernels, as an L2 loss of weight_decay / 2 * the sum of squares."""
    decay_depthwise: bool = True
    """Whether depthwise kernels are decayed too; DeepLab decays none."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 for any."""
    ema: float = 0.0
    """Momentum of the moving average of the weights that is validated and saved; 0 for none."""
    loss: str = "crossentropy"
    """Or "focal", "dice", "jaccard", "tversky", "lovasz", or a sum: "crossentropy+dice". Lovasz
    needs the memory of full-size scores."""
    loss_weights: tuple[float, ...] = ()
    """Of the terms of the loss; () for 1 each."""
    focal_gamma: float = 2.0
    """Of the focal loss: the cross-entropy of a pixel is multiplied by (1 - p) ** gamma."""
    tversky: tuple[float, float] = (0.3, 0.7)
    """Of the Tversky loss: how much a false positive and a false negative count."""
    class_weights: tuple[float, ...] = ()
    """K weights of the classes in the loss; () for 1."""
    hard_pixels: float = 1.0
    """Share of an image's pixels that counts, those with the largest loss, in (0, 1]."""
    label_smoothing: float = 0.0
    """e in [0, 1): the target is 1 - e for the class, and e / K for every class in addition."""
    auxiliary_weight: float = 0.0
    """Weight of the loss of an auxiliary head, 0 to 1: class scores from ASPP's output, bilinearly
    upsampled. The trained model does not have this head. 0 for none."""
    teacher: str = ""
    """A trained model of the same classes that the network learns to answer like (distillation):
    a path, or what else `keras_dup.models.load` takes."""
    teacher_weight: float = 0.5
    """Weight of the distillation loss, 0 to 1; the cross-entropy has the rest."""
    dtype_policy: str = "float32"
    """Or "mixed_bfloat16", "mixed_float16"."""
    jit_compile: bool = False
    """Compile the step with XLA: on one device. The JAX backend always does."""
    seed: int = 0
    """Of initial weights, order of images, augmentation and drawn shapes."""
    devices: tuple[str, ...] = ()
    """Like "gpu:0", "cpu:1"; () for all GPUs, or the CPU."""

    @property
    def window_ratio(self) -> int:
        """The ratio of W."""
        return self.ratio or self.fusion_stride or self.output_stride

    def path(self, name: str) -> pathlib.Path:
        """Where a file or folder that a field names lies, whether or not it is there."""
        return pathlib.Path(self.data_root or os.environ.get("KERAS_DUP_DATA", "."), name)

    def file_or_name(self, text: str) -> str:
        """A field that names a file in data_root: its path. Any other: as it is."""
        path = self.path(text)
        found = path.is_file() or pathlib.Path(f"{path}.index").is_file()
        return str(path) if found else text

    def located(self) -> "Recipe":
        """The recipe with the paths of its files, as `train` hands it to `build_network`."""
        names = "weights", "projection", "teacher"
        found: dict[str, Any] = {name: self.file_or_name(getattr(self, name)) for name in names}
        return dataclasses.replace(self, **found)

    def function(self, text: str) -> Callable[..., Any]:
        """The function of a field that is MODULE:FUNCTION."""
        try:
            return pkgutil.resolve_name(text)
        except (ImportError, AttributeError, ValueError) as error:
            raise self._error(f"{text!r} is not MODULE:FUNCTION: {error}") from error

    def __post_init__(self):
        for name, bounds in _RANGES.items():
            self._check_range(name, *bounds)
        for name, known in WORDS.items():
            value = getattr(self, name)
            if value not in known:
                raise self._error(f"{name}={value!r}; one of {known}{hint(value, known)}")
        if len(self.crop_size) != 2:
            raise self._error(f"crop_size={self.crop_size}; height and width")
        for name in ("class_weights", "class_names"):
            count = len(getattr(self, name))
            if count not in (0, self.num_classes):
                raise self._error(f"{count} {name}, but num_classes={self.num_classes}")
        try:
            check_augmentation(self.augmentation)
        except ValueError as error:
            raise self._error(error) from None
        self._check_loss()
        self._check_contradictions()

    def _check_loss(self):
        names = self.loss.split("+")
        for name in names:
            if name not in LOSSES:
                known = f"{', '.join(LOSSES)}, or a sum like crossentropy+dice"
                raise self._error(f"loss={self.loss!r}; one of {known}{hint(name, LOSSES)}")
        if self.loss_weights and len(self.loss_weights) != len(names):
            raise self._error(f"{len(self.loss_weights)} loss_weights, but loss={self.loss!r}")
        for name in ("loss_weights", "tversky"):
            if not all(value > 0 for value in getattr(self, name)):
                raise self._error(f"{name}={getattr(self, name)}; more than 0")
        if len(self.tversky) != 2:
            raise self._error(f"tversky={self.tversky}; two numbers")
        of_pixels = {"hard_pixels": {"crossentropy", "focal"}, "label_smoothing": {"crossentropy"}}
        for name, terms in of_pixels.items():
            if getattr(self, name) != getattr(type(self), name) and not terms & set(names):
                raise self._error(
                    f"{name}={getattr(self, name)} is for {' or '.join(sorted(terms))}, and "
                    f"loss={self.loss!r}"
                )

    def _check_range(self, name, least, least_too, most, most_too):
        value = getattr(self, name)
        above = value >= least if least_too else value > least
        below = most is None or (value <= most if most_too else value < most)
        if above and below:
            return
        expected = f"{least} or more" if least_too else f"more than {least}"
        if most is not None:
            upper = f"{most}" if most_too else f"under {most}"
            expected = f"{least} to {upper}" if least_too else f"over {least} to {upper}"
        raise self._error(f"{name}={value}; {expected}")

    def _check_contradictions(self):
        if self.train_share < 1 and not self.train_images:
            raise self._error(
                f"train_share={self.train_share} is of train_images; of a data_set name a part in "
                "train_split, like train[:10%], of built-in shapes give fewer as train_count"
            )
        if self.new_layers_variance and (self.initializer == "nearest" or self.interpolated_scores):
            raise self._error(
                f"new_layers_variance={self.new_layers_variance} draws the weights that "
                "initializer or interpolated_scores sets; set it to 0"
            )
        if self.network and (self.backbone_rate != 1 or self.freeze_backbone):
            raise self._error(
                f"backbone_rate={self.backbone_rate}, freeze_backbone={self.freeze_backbone}: for "
                f"what `build` gives; with network={self.network!r} leave them out"
            )
        if self.decoder != "dupsampling" and self.projection:
            raise self._error(f"projection={self.projection} is for decoder=dupsampling")
        if self.network and self.decoder == "thin":
            raise self._error(
                f"network={self.network!r} is not thin; decoder=dupsampling fits a W for it, "
                "decoder=bilinear none"
            )
        without_w = self.decoder != "dupsampling" or self.projection == "random"
        if self.pretraining_steps and without_w:
            raise self._error(
                f"pretraining_steps={self.pretraining_steps} compares with labels that W "
                "compressed, and there is no fitted W; set it to 0"
            )

    def _error(self, text):
        return ValueError(f"recipe {self.name}: {text}")
