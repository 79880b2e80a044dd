"""The files that `predict` makes of an image or a video; each says itself what made it."""

import contextlib
import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_dup import _hub
from keras_dup._whole import write_picture, writing

__all__ = [
    "ENDINGS",
    "SOFTWARE",
    "VIDEO",
    "Look",
    "check_shares",
    "described",
    "is_result",
    "marked",
    "read_mark",
    "source",
    "write",
    "write_shares",
]

ENDINGS = {
    "label_map": ".png",
    "overlay": "_overlay.png",
    "confidence": "_confidence.png",
    "probabilities": "_probabilities.npz",
}
VIDEO = "_overlay.mp4"
SOFTWARE = "keras-dup predict"
_KEYS = "Software", "Settings", "Source"  # of the texts in a PNG


class Look:
    """How the classes of a model are shown: their names, and colours (K, 3) or None for VOC's."""

    def __init__(self, names: Sequence[str], colours: Any = None):
        self.names, self.colours = list(names), colours

    def overlay(self, image, label_map):
        """A Pillow image."""
        from keras_dup import pictures

        return pictures.overlay(image, label_map, self.names, colours=self.colours)

    def label_picture(self, label_map):
        """A Pillow image whose palette is that of the classes."""
        from keras_dup import pictures
        from keras_dup.data._masks import label_picture

        picture = label_picture(label_map)
        picture.putpalette(pictures.class_colours(self.colours).tobytes())
        return picture


def described(model: str, options: Mapping[str, object]) -> dict[str, object]:
    """What decides the results: the model, by its content, and options; to be kept in them."""
    if os.path.exists(model) or _hub.is_handle(model):
        whole = b"".join(path.read_bytes() for path in _hub.weights_of(model))
        content = hashlib.sha256(whole).hexdigest()[:16]
    else:
        from keras_dup import __version__

        content = f"{model} of keras-dup {__version__}"
    return {"model": content, **options}


def source(file: Path) -> str:
    """What changes when a file is replaced."""
    status = os.stat(file)
    return f"{status.st_size} bytes, {status.st_mtime_ns}"


def read_mark(path: str | os.PathLike) -> tuple[dict, str] | None:
    """The settings and the source in a result; None of a file that `predict` did not write."""
    found: Mapping[str, str] = {}
    with contextlib.suppress(Exception):  # the reader of images says what is wrong with it
        found = _READERS[Path(path).suffix.lower()](path)
    if found.get(_KEYS[0]) != SOFTWARE:
        return None
    settings = {}
    with contextlib.suppress(ValueError):
        settings = json.loads(found.get(_KEYS[1], "{}"))
    return settings, found.get(_KEYS[2], "")


def is_result(path: str | os.PathLike) -> bool:
    """Whether `predict` wrote this file."""
    return read_mark(path) is not None


def write(
    paths: Mapping[str, Path], arrays: Mapping[str, Any], image: Any, look: Look, mark: Mapping
) -> None:
    """Writes the results of an image.

    Args:
        paths: {kind in `ENDINGS`: file}.
        arrays: {kind: what the network gives}, of all but the overlay.
        mark: texts for each file, of `marked`.
    """
    import numpy as np
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    for key, value in mark.items():
        text.add_text(key, value)
    pictures = {
        "label_map": lambda: look.label_picture(arrays["label_map"]),
        "overlay": lambda: look.overlay(image, arrays["label_map"]),
        "confidence": lambda: Image.fromarray(arrays["confidence"]),
    }
    for kind, path in paths.items():
        if kind in pictures:
            write_picture(pictures[kind](), path, pnginfo=text)
            continue
        names = np.array(look.names)
        with writing(path) as temporary:
            found = arrays["probabilities"]
            np.savez_compressed(temporary, probabilities=found, class_names=names, **mark)


def marked(settings: Mapping[str, object], file: Path) -> dict[str, str]:
    """The texts that a result of a file holds."""
    return dict(zip(_KEYS, (SOFTWARE, json.dumps(settings), source(file)), strict=True))


def write_shares(path: Path, label_maps: Mapping[Path, Path], names: Sequence[str]) -> None:
    """Writes a table: for each image the share of its pixels that each class has.

    Args: label_maps {image: its label map}.

    Raises ValueError, before anything is written, where another table is at `path`.
    """
    import numpy as np
    from PIL import Image

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", *names])
    check_shares(path, names)
    for file, label_map in label_maps.items():
        with Image.open(label_map) as picture:
            counts = np.bincount(np.asarray(picture).ravel(), minlength=len(names))
        table.writerow([file, *(f"{share:.6f}" for share in counts / counts.sum())])
    with writing(path) as temporary:
        temporary.write_bytes(text.getvalue().encode("utf-8", "backslashreplace"))


def check_shares(path: Path, names: Sequence[str]) -> None:
    """Raises ValueError where a file that is no table of these shares is at `path`."""
    if not path.exists():
        return
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        if next(csv.reader(file), []) != ["image", *names]:
            raise ValueError(f"{path} is there and is no table of predict; give another -o")


def _read_png(path):
    from PIL import Image

    with open(path, "rb") as stream, Image.open(stream) as image:
        return image.info


def _read_npz(path):
    import numpy as np

    with np.load(path) as arrays:
        return {key: str(arrays[key]) for key in _KEYS}


def _read_video(path):
    from keras_dup._cli import video

    return json.loads(video.comment(path))


_READERS = {".png": _read_png, ".npz": _read_npz, ".mp4": _read_video}
