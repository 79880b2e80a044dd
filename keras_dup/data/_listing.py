"""Which files of a folder are images and masks, and how they pair: by name, never by order."""

import contextlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from keras_dup._lists import read_lines

__all__ = [
    "IMAGE_ENDINGS",
    "MASK_ENDINGS",
    "files_by_name",
    "image_files",
    "mask_files",
    "names_to_train_on",
    "pair",
    "read_names",
]

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
MASK_ENDINGS = (".png", ".bmp", ".gif", ".tif", ".tiff")


def pair(
    images: str | os.PathLike,
    masks: str | os.PathLike,
    names: str | os.PathLike | Sequence[str] | None = None,
) -> list[tuple[Path, Path]]:
    """Returns (image, mask) of two folders in order of name; arguments as in `Folder`."""
    if os.path.isdir(images) and os.path.realpath(images) == os.path.realpath(masks):
        raise ValueError(
            f"{images}: images and masks are in one folder; put the masks into another one, each "
            "with the name of its image"
        )
    image_files = files_by_name(images, IMAGE_ENDINGS)
    mask_files = files_by_name(masks, MASK_ENDINGS)
    chosen = image_files.keys() | mask_files.keys() if names is None else read_names(names)
    _check_pairs(chosen, image_files, images, "image")
    _check_pairs(chosen, mask_files, masks, "mask")
    if not chosen:
        raise ValueError(f"{names}: no names in the list, one per line is expected")
    return [(image_files[name], mask_files[name]) for name in sorted(chosen)]


def mask_files(
    masks: str | os.PathLike, names: str | os.PathLike | Sequence[str] | None = None
) -> list[Path]:
    """Returns the masks of a folder in order of name; arguments as in `Folder`."""
    files = files_by_name(masks, MASK_ENDINGS)
    chosen = sorted(files if names is None else read_names(names))
    _check_pairs(chosen, files, masks, "mask")
    return [files[name] for name in chosen]


def image_files(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Returns the images among files and folders: files as given, those of a folder by name.

    Raises FileNotFoundError for what does not exist, ValueError for a folder without an image and
    for what is neither file nor folder.
    """
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            files += _files(path, IMAGE_ENDINGS)
        elif path.is_file():
            files.append(path)
        elif path.exists():
            raise ValueError(f"{path}: neither a file nor a folder")
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return files


def read_names(names: str | os.PathLike | Iterable[str]) -> list[str]:
    """Returns the names in a text file or a list, as `files_by_name` gives them."""
    lines = read_lines(names) if isinstance(names, (str, os.PathLike)) else names
    found = [_composed(name.strip()) for name in lines if name.strip()]
    twice = [name for name, times in Counter(found).items() if times > 1]
    if twice:
        source = names if isinstance(names, (str, os.PathLike)) else "names"
        raise ValueError(f"{source}: {_some(twice)} listed more than once")
    return found


def names_to_train_on(
    every: Iterable[str], names: Sequence[str] | None, val_names: Sequence[str]
) -> list[str]:
    """Returns the names to train on: `names`, or without them all that are not in `val_names`.

    Raises ValueError for a name in both lists, and if nothing is left.
    """
    both = sorted(set(names or ()) & set(val_names))
    if both:
        raise ValueError(f"{_some(both)} in both lists: what is trained on cannot be measured on")
    left = sorted(set(every) - set(val_names)) if names is None else list(names)
    if not left:
        raise ValueError("the list to measure on holds every name; nothing is left to train on")
    return left


def files_by_name(folder: str | os.PathLike, endings: tuple[str, ...]) -> dict[str, Path]:
    """Returns {name without ending, in Unicode's composed form: file} of a folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    for path in _files(folder, endings):
        name = _composed(path.stem)
        if name in files:
            raise ValueError(
                f"{folder}: {files[name].name} and {path.name} have one name; pairing goes by "
                "name, so keep one of them (masks belong into another folder)"
            )
        files[name] = path
    return files


def _composed(name):
    """macOS stores "ü" as two characters, lists and other systems as one.

    Under a locale without UTF-8 Python holds a file name's bytes as surrogates.
    """
    with contextlib.suppress(UnicodeEncodeError):  # of a list, not of a file
        name = os.fsencode(name).decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFC", name)


def _files(folder, endings):
    # Names that start with a dot are not images: macOS writes "._a.jpg" beside "a.jpg".
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in endings and not path.name.startswith(".")
    ]
    if not files:
        raise ValueError(f"{folder}: no file that ends in {', '.join(endings)} (in any case)")
    return files


def _check_pairs(names, files, folder, kind):
    missing = [name for name in names if name not in files]
    if missing:
        raise ValueError(
            f"{folder}: no {kind} for {_some(missing)}; an image and its mask "
            "have the same name without the ending"
        )


def _some(names):
    names = sorted(names)
    more = f" and {len(names) - 5} more ({len(names)} in all)" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
