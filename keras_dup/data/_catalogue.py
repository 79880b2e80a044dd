"""Published data sets by name, prepared by tensorflow-datasets (extra `tfds`)."""

import copy
import dataclasses
import importlib
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_dup._backend import need_tensorflow
from keras_dup._nearest import hint
from keras_dup.data import _classes

if TYPE_CHECKING:
    from keras_dup.data._examples import Examples

__all__ = ["CATALOGUE", "Entry", "load", "prepared"]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A data set: its builder, and how its examples are to be read (as in `Examples`)."""

    builder: str  # one of tfds's by name, or a module of ours and its class
    class_names: tuple
    colours: tuple | None = None
    ids: dict | None = None
    image: str = "image"
    mask: str = "segmentation_mask"
    channel: int | None = None
    splits: dict = dataclasses.field(default_factory=dict)  # our name: tfds's name
    archives: dict = dataclasses.field(default_factory=dict)  # as ARCHIVES, of tfds's builders


_OURS = "keras_dup.data._builders"
_CITYSCAPES = "https://www.cityscapes-dataset.com/downloads/ (with a login)"
CATALOGUE = {
    "voc2012": Entry(f"{_OURS}.voc2012:Voc2012", _classes.VOC),
    "pascal_context": Entry(f"{_OURS}.pascal_context:PascalContext", _classes.CONTEXT),
    "coco_voc": Entry(f"{_OURS}.coco_voc:CocoVoc", _classes.VOC),
    "ade20k": Entry(f"{_OURS}.ade20k:Ade20k", _classes.ADE20K),
    "camvid": Entry(f"{_OURS}.camvid:Camvid", _classes.CAMVID, _classes.CAMVID_COLOURS),
    "cityscapes": Entry(
        "cityscapes/semantic_segmentation",
        _classes.CITYSCAPES,
        _classes.CITYSCAPES_COLOURS,
        _classes.CITYSCAPES_IDS,
        image="image_left",
        mask="segmentation_label",
        splits={"val": "validation"},
        archives={
            "leftImg8bit_trainvaltest.zip": _CITYSCAPES,
            "gtFine_trainvaltest.zip": _CITYSCAPES,
        },
    ),
    "oxford_iiit_pet": Entry("oxford_iiit_pet", _classes.PET, ids=_classes.PET_IDS),
    # The instances of ADE20K: red is one of 100 classes; all 150 are in ade20k.
    "scene_parse150": Entry(
        "scene_parse150",
        _classes.ADE20K_OBJECTS,
        ids=_classes.ADE20K_OBJECT_IDS,
        mask="annotation",
        channel=0,
        splits={"val": "test"},
    ),
}


def load(
    name: str,
    split: str,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> "Examples":
    """Returns a split of a published data set as `Examples`, after preparing it if need be.

    Args:
        name: one of `CATALOGUE`: voc2012, pascal_context, coco_voc, ade20k, camvid, cityscapes,
            oxford_iiit_pet, scene_parse150.
        split: "train", "val", ... of the data set, or in tfds's notation "train[:10%]".
        data_dir: where tfds keeps prepared data; ~/tensorflow_datasets, or $TFDS_DATA_DIR.
        manual_dir: where the archives lie that have to be fetched by hand;
            data_dir/downloads/manual by default.

    Raises:
        ValueError: an unknown name or split, or bad content in an archive, with the file.
        FileNotFoundError: an archive is missing, with its place and where it is got.
        ImportError: the extra is not installed.
    """
    if name not in CATALOGUE:
        known = f"{', '.join(CATALOGUE)}{hint(name, CATALOGUE)}"
        raise ValueError(f"data set {name!r}: expected one of {known}")
    from keras_dup.data._examples import Examples

    entry = CATALOGUE[name]
    builder = prepared(entry, data_dir, manual_dir)
    return Examples(
        Records(builder, re.sub(r"\w+", lambda word: entry.splits.get(word[0], word[0]), split)),
        len(entry.class_names),
        entry.class_names,
        entry.ids,
        entry.colours,
        image=entry.image,
        mask=entry.mask,
        channel=entry.channel,
        name=f"{name}:{split}",
    )


def prepared(
    entry: Entry,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> Any:
    """Returns the tfds builder of an entry of `CATALOGUE`, its data prepared."""
    tfds = _tfds()
    data_dir = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    manual_dir = Path(manual_dir or data_dir / "downloads" / "manual").expanduser()
    module, _, builder = entry.builder.rpartition(":")
    if module:
        builder = importlib.import_module(module).__dict__[builder].name
    try:
        builder = tfds.builder(builder, data_dir=data_dir, file_format="array_record")
    except ValueError as error:
        raise ValueError(
            f"{data_dir}: {builder} is there in a format that is not read by index; give another "
            f"data_dir to prepare it again ({error})"
        ) from error
    if not builder.is_prepared():
        _prepare(builder, data_dir, manual_dir, getattr(builder, "ARCHIVES", entry.archives))
    return builder


def _prepare(builder, data_dir, manual_dir, archives):
    from keras_dup.data._builders import contract

    contract.find(manual_dir, archives)
    data_dir.mkdir(parents=True, exist_ok=True)
    # tfds keeps what it unpacks, and takes it again for an archive that was replaced since.
    with tempfile.TemporaryDirectory(prefix="unpacked.", dir=data_dir) as unpacked:
        builder.download_and_prepare(
            download_dir=unpacked if archives else data_dir / "downloads",
            download_config=_tfds().download.DownloadConfig(manual_dir=manual_dir),
        )


def _tfds():
    need_tensorflow("a published data set")
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            f"published data sets need tensorflow-datasets: pip install 'keras-dup[tfds]' ({error})"
        ) from error
    return tensorflow_datasets


class Records(Sequence):
    """The examples of a prepared split by index, as tfds stored them: {key: bytes}.

    Safe in threads, in forked processes and to pickle.
    """

    def __init__(self, builder, split):
        source = builder.as_data_source(split, deserialize_method="raw_bytes")
        self._opened = os.getpid(), source.data_source

    def __len__(self):
        return len(self._opened[1])

    def __getitem__(self, i):
        """Returns example i, the values of its features that are one string of bytes."""
        import tensorflow as tf

        example = tf.train.Example.FromString(self._source()[i])
        features = example.features.feature
        return {
            key: features[key].bytes_list.value[0]
            for key in features
            if len(features[key].bytes_list.value) == 1
        }

    def __getstate__(self):
        return {"_opened": (None, self._opened[1])}

    def _source(self):
        process, source = self._opened
        if process != os.getpid():
            # A fork has the reader's locks, maybe held, but not the threads that hold them: it
            # must neither read from it nor close it.
            self._inherited = source
            source = copy.copy(source)
            self._opened = os.getpid(), source
        return source
