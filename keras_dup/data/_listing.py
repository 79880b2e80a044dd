"""Which files of a folder are images and masks, and how they pair: by name, never by order."""

import contextlib
import dataclasses
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from keras_dup._lists import read_lines

__all__ = [
    "IMAGE_ENDINGS",
    "MASK_ENDINGS",
    "NO_JPEG",
    "Matched",
    "image_files",
    "jpeg_masks",
    "mask_files",
    "match",
    "names_to_train_on",
    "pair",
    "read_names",
]

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
MASK_ENDINGS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".npy")
_JPEG_ENDINGS = (".jpg", ".jpeg")
_SEPARATOR = re.compile(r"[_\-. ]")  # what a suffix begins with

NO_JPEG = (
    "JPEG changes the values of pixels, most of all at the borders of classes, so that ids and "
    "colours are no longer those that were drawn; export the masks again as PNG (of black and "
    'white ones a threshold finds most again, see "JPEG" in docs/data.md)'
)

Names = str | os.PathLike | Sequence[str] | None


@dataclasses.dataclass
class Matched:
    """The files of two folders by the names that pair them."""

    images: dict[str, Path]
    masks: dict[str, Path]
    image_suffix: str  # what the names of all image files have beside that, "_leftImg8bit"
    mask_suffix: str


def pair(
    images: str | os.PathLike,
    masks: str | os.PathLike,
    names: Names = None,
    mask_suffix: str | None = None,
    recursive: bool = False,
) -> list[tuple[str, Path, Path]]:
    """Returns (name, image, mask) of two folders in order of name; arguments as in `Folder`."""
    found = match(images, masks, mask_suffix, recursive)
    chosen: Collection[str] = found.images.keys() | found.masks.keys()
    if names is not None:
        suffix = found.image_suffix  # a list may have it or not
        chosen = [n if n in found.images else n.removesuffix(suffix) for n in read_names(names)]
    _check_pairs(chosen, found.images, images, "image", found.mask_suffix)
    _check_pairs(chosen, found.masks, masks, "mask", found.mask_suffix)
    if not chosen:
        raise ValueError(f"{names}: no names in the list, one per line is expected")
    return [(name, found.images[name], found.masks[name]) for name in sorted(chosen)]


def match(
    images: str | os.PathLike,
    masks: str | os.PathLike,
    mask_suffix: str | None = None,
    recursive: bool = False,
) -> Matched:
    """Returns the files of two folders, those without partner too; arguments as in `Folder`."""
    one_folder = os.path.isdir(images) and os.path.realpath(images) == os.path.realpath(masks)
    if one_folder and not mask_suffix:
        raise ValueError(
            f"{images}: images and masks are in one folder; put the masks into another one, each "
            "with the name of its image, or say what their names end in, --mask-suffix=_mask"
        )
    image_files = _files_by_name(images, IMAGE_ENDINGS, recursive)
    mask_files = _files_by_name(masks, MASK_ENDINGS, recursive)
    if one_folder:
        image_files = {n: path for n, path in image_files.items() if not n.endswith(mask_suffix)}
    image_suffix, mask_suffix = _suffixes(image_files, mask_files, mask_suffix, masks)
    return Matched(
        {name.removesuffix(image_suffix): path for name, path in image_files.items()},
        _without(mask_suffix, mask_files),
        image_suffix,
        mask_suffix,
    )


def mask_files(
    masks: str | os.PathLike,
    names: Names = None,
    mask_suffix: str | None = None,
    recursive: bool = False,
) -> tuple[dict[str, Path], str]:
    """Returns {name: mask} of a folder, by name, and the suffix; arguments as in `LabelMaps`."""
    files = _files_by_name(masks, MASK_ENDINGS, recursive)
    if names is None:
        mask_suffix = mask_suffix or ""
        found = _without(mask_suffix, files)
        if not found:
            raise ValueError(f"{masks}: no mask whose name ends in {mask_suffix}")
        return found, mask_suffix
    chosen = read_names(names)
    image_suffix, mask_suffix = _suffixes(chosen, files, mask_suffix, masks)
    files = _without(mask_suffix, files)
    chosen = sorted(name.removesuffix(image_suffix) for name in chosen)
    _check_pairs(chosen, files, masks, "mask", mask_suffix)
    return {name: files[name] for name in chosen}, mask_suffix


def image_files(paths: Iterable[str | os.PathLike], recursive: bool = False) -> list[Path]:
    """Returns the images among files and folders: files as given, those of a folder by name.

    Raises FileNotFoundError for what does not exist, ValueError for a folder without an image and
    for what is neither file nor folder.
    """
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            files += _files(path, IMAGE_ENDINGS, recursive)
        elif path.is_file():
            files.append(path)
        elif path.exists():
            raise ValueError(f"{path}: neither a file nor a folder")
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return files


def read_names(names: str | os.PathLike | Iterable[str]) -> list[str]:
    """Returns the names in a text file or a list, in Unicode's composed form."""
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


def _files_by_name(folder, endings, recursive=False):
    """{name without ending, in Unicode's composed form: file}; of a subfolder "part/name"."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files = {}
    for path in _files(folder, endings, recursive):
        name = _composed(path.relative_to(folder).with_suffix("").as_posix())
        if name in files:
            raise ValueError(
                f"{folder}: {files[name].name} and {path.name} have one name; pairing goes by "
                "name, so keep one of them (masks belong into another folder)"
            )
        files[name] = path
    return files


def _suffixes(images, masks, mask_suffix, folder):
    """What the names of all images, and of masks, have beside the names that they share.

    Equal names come first; else the mask suffix, from a separator on, that pairs the most masks.
    Raises ValueError where several pair as many.
    """
    for image_suffix in ("", *_common_endings(images)):
        names = {name.removesuffix(image_suffix) for name in images}
        counts = Counter()
        for mask in masks:
            if mask_suffix is None:
                places = [len(mask), *(found.start() for found in _SEPARATOR.finditer(mask))]
            else:
                places = [len(mask) - len(mask_suffix)] if mask.endswith(mask_suffix) else []
            counts.update(mask[place:] for place in places if mask[:place] in names)
        most = max(counts.values(), default=0)
        best = sorted(suffix for suffix in counts if counts[suffix] == most)
        if len(best) > 1 and best[0] != "":
            raise ValueError(
                f"{folder}: images have several masks each, whose names end in {', '.join(best)}; "
                f"say which to take: --mask-suffix={best[0]}"
            )
        if best:
            return image_suffix, best[0]
    return "", mask_suffix or ""


def _common_endings(names):
    """The ends of all names, each from a separator on, the shortest first."""
    first = next(iter(names), "")
    for place in sorted((found.start() for found in _SEPARATOR.finditer(first)), reverse=True):
        if not all(name.endswith(first[place:]) for name in names):
            return
        yield first[place:]


def _without(suffix, files):
    return {n.removesuffix(suffix): path for n, path in files.items() if n.endswith(suffix)}


def _composed(name):
    """macOS stores "ü" as two characters, lists and other systems as one.

    Under a locale without UTF-8 Python holds a file name's bytes as surrogates.
    """
    with contextlib.suppress(UnicodeEncodeError):  # of a list, not of a file
        name = os.fsencode(name).decode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFC", name)


def _files(folder, endings, recursive=False):
    # Names that start with a dot are not images: macOS writes "._a.jpg" beside "a.jpg".
    every = [path for path in _walk(folder, recursive) if not path.name.startswith(".")]
    files = [path for path in every if path.suffix.lower() in endings]
    if files:
        return files
    if endings == MASK_ENDINGS and (jpegs := [p.name for p in every if _is_jpeg(p)]):
        raise ValueError(f"{folder}: {_some(jpegs)}: {NO_JPEG}")
    nested = "" if recursive else next(map(str, _nested(folder, endings)), "")
    hint = f"; {nested} lies deeper: give --recursive (recursive=True)" if nested else ""
    raise ValueError(f"{folder}: no file that ends in {', '.join(endings)} (in any case){hint}")


def _walk(folder, recursive):
    """The files of a folder in order, and, where asked for, those of its subfolders."""
    if not recursive:
        return sorted(folder.iterdir())
    files, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        files += [Path(place, name) for name in names]
    return sorted(files)


def _nested(folder, endings):
    for subfolder in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        yield from (p for p in sorted(subfolder.iterdir()) if p.suffix.lower() in endings)


def _is_jpeg(path):
    return path.suffix.lower() in _JPEG_ENDINGS


def jpeg_masks(folder: str | os.PathLike, names: Iterable[str], suffix: str = "") -> list[str]:
    """Returns the file names of masks of these names that are there as JPEG."""
    files = [f"{name}{suffix}{ending}" for name in names for ending in _JPEG_ENDINGS]
    return [file for file in files if os.path.exists(os.path.join(folder, file))]


def _check_pairs(names, files, folder, kind, suffix=""):
    missing = [name for name in names if name not in files]
    if not missing:
        return
    if kind == "mask" and (jpegs := jpeg_masks(folder, missing, suffix)):
        raise ValueError(f"{folder}: {_some(jpegs)}: {NO_JPEG}")
    beside = f", and a mask {suffix} behind it" if suffix else ""
    raise ValueError(
        f"{folder}: no {kind} for {_some(missing)}; an image and its mask "
        f"have the same name without the ending{beside} (--mask-suffix says what a mask's name "
        "has beside that)"
    )


def _some(names):
    names = sorted(names)
    more = f" and {len(names) - 5} more ({len(names)} in all)" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
