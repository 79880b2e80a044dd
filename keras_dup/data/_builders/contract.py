"""What every builder here keeps to: where archives lie, what an example is, what is an error."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from keras_dup._label_maps import VOID, check_ids
from keras_dup._lists import read_lines
from keras_dup.data._images import decode_image
from keras_dup.data._masks import encode_ids

__all__ = [
    "SegmentationBuilder",
    "example",
    "existing",
    "files",
    "find",
    "manual_dir",
    "read_names",
    "unpacked",
]


class SegmentationBuilder(
    tfds.core.GeneratorBasedBuilder,
    skip_registration=True,  # type: ignore[call-arg]  # of tfds, which has no types
):
    """A tfds builder of {"image": (H, W, 3), "segmentation_mask": (H, W, 1)}, uint8, void 255.

    Images are kept as the files they are, label maps as PNGs, in order of their names. A
    subclass gives CLASS_NAMES, ARCHIVES {file in the manual directory: where it is got},
    HOMEPAGE, and `splits(folders)` -> {split: pairs}, where `folders` are the unpacked ARCHIVES
    and pairs an iterable of (name, image file, function that returns the label map).
    """

    VERSION = tfds.core.Version("1.0.0")
    CLASS_NAMES: tuple[str, ...] = ()
    ARCHIVES: ClassVar[dict[str, str]] = {}
    HOMEPAGE = ""

    @property
    def MANUAL_DOWNLOAD_INSTRUCTIONS(self):
        return "Put into the manual directory: " + "; ".join(
            f"{file} from {source}" for file, source in self.ARCHIVES.items()
        )

    def _info(self):
        mask = tfds.features.LabeledImage(
            labels=list(self.CLASS_NAMES), shape=(None, None, 1), encoding_format="png"
        )
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(), "segmentation_mask": mask}
            ),
            homepage=self.HOMEPAGE,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        folders = [
            unpacked(path, dl_manager) for path in find(manual_dir(dl_manager), self.ARCHIVES)
        ]
        return {split: self._generate_examples(p) for split, p in self.splits(*folders).items()}

    def _generate_examples(self, pairs):
        for name, image_file, label_map in pairs:
            yield name, example(image_file, label_map(), len(self.CLASS_NAMES), name)


def manual_dir(dl_manager: tfds.download.DownloadManager) -> Path:
    """The manual directory of tfds; FileNotFoundError if it is not there or empty."""
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError as error:
        raise FileNotFoundError(str(error)) from None


def find(folder: Path, archives: Mapping[str, str]) -> list[Path]:
    """Returns the paths of files in a folder; FileNotFoundError names the first missing one.

    archives: {file name: where it is got}.
    """
    for file, source in archives.items():
        if not (folder / file).exists():
            raise FileNotFoundError(f"{folder / file}: no such file; get it from {source}")
    return [folder / file for file in archives]


def unpacked(path: Path, dl_manager: tfds.download.DownloadManager) -> Path:
    """Returns the folder with the archive's files; a folder is one already."""
    if path.is_dir():
        return path
    try:
        return Path(dl_manager.extract(path))
    except Exception as error:  # tarfile, zipfile, gzip and tfds have one each
        raise ValueError(f"{path}: cannot be unpacked ({error}); get it again") from error


def example(
    image_file: Path, label_map: np.ndarray, num_classes: int, name: str
) -> dict[str, bytes]:
    """Returns the example of an image file and a label map (H, W), both checked.

    Raises FileNotFoundError for a missing image, ValueError for an unusable image or label map.
    """
    content = existing(image_file).read_bytes()
    size = decode_image(content, image_file).shape[:2]
    if label_map.shape != size:
        raise ValueError(f"{image_file}: {size}, but the label map of {name} is {label_map.shape}")
    check_ids(label_map, num_classes, VOID, f"{image_file}: label map of {name}")
    return {"image": content, "segmentation_mask": encode_ids(label_map)}


def existing(path: Path) -> Path:
    """Returns the path; FileNotFoundError if the archive that was unpacked did not have it."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: not in the archive; is that the original one, whole?")
    return path


def read_names(path: Path) -> list[str]:
    """Returns the names in a list of VOC's or SBD's, one per line, in order of name."""
    return sorted(line.split()[0] for line in read_lines(existing(path)))


def files(folder: Path, ending: str) -> list[Path]:
    """Returns the files of a folder with an ending, in order of name; an error if there is none."""
    # macOS writes "._a.jpg" beside "a.jpg"
    found = sorted(
        path
        for path in existing(folder).iterdir()
        if path.suffix == ending and not path.name.startswith(".")
    )
    if not found:
        raise FileNotFoundError(f"{folder}: no {ending} in it; is the archive the original one?")
    return found
