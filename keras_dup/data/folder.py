"""A data set that is a folder of images and a folder of masks."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from keras_dup.data.files import VOID, check_image, image_size, palette, read_image, read_label_map

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_MASK_ENDINGS = (".png",)
_QUOTED = 20  # messages in one error


class Folder:
    """Images and masks in two folders, paired by file name without ending, sorted by it.

    Args:
        images: folder of .jpg, .jpeg, .png, .bmp or .gif files, endings in any case.
        masks: folder of .png files, palette or grey, one class id per pixel.
        num_classes: number of classes, 1..255; ids are 0..num_classes - 1 and void.
        names: which items to take: a text file with one name a line (VOC's train.txt), or a
            list; without folder and ending. None takes all.
        ignore_class: the id that the mask files use for void, e.g. 255 in VOC, 11 in CamVid;
            None if they have no void. Label maps that come out use 255.
        class_names: `num_classes` strings; the ids by default.

    Attributes `image_files` and `mask_files` are the paths, item by item. Raises
    FileNotFoundError for a folder or list that does not exist, ValueError for files that do not
    pair; the contents of the files are read later, by `check` all at once.
    """

    def __init__(self, images, masks, num_classes, names=None, ignore_class=VOID, class_names=None):
        if not 1 <= num_classes <= VOID:
            raise ValueError(f"num_classes is 1..{VOID}, not {num_classes}")
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.class_names = tuple(class_names or map(str, range(num_classes)))
        if len(self.class_names) != num_classes:
            raise ValueError(f"{len(self.class_names)} class_names, but num_classes {num_classes}")
        image_files = _files_by_stem(images, _IMAGE_ENDINGS)
        mask_files = _files_by_stem(masks, _MASK_ENDINGS)
        stems = sorted(image_files.keys() | mask_files.keys() if names is None else _read(names))
        _check_pairs(stems, image_files, images, "image")
        _check_pairs(stems, mask_files, masks, "mask")
        if not stems:
            raise ValueError(f"{names}: no names in the list, one a line is expected")
        self.image_files = [image_files[stem] for stem in stems]
        self.mask_files = [mask_files[stem] for stem in stems]

    def __len__(self):
        return len(self.image_files)

    def __getitem__(self, i):
        """Returns item i as an example, for `Examples` and what reads examples."""
        return {"image": self.image(i), "segmentation_mask": self.label_map(i)}

    @property
    def palette(self):
        """PASCAL VOC's colours, uint8 (256, 3)."""
        return palette()

    def image(self, i):
        """Returns image i as uint8 (H, W, 3)."""
        return read_image(self.image_files[i])

    def label_map(self, i):
        """Returns label map i as uint8 (H, W), void 255; ValueError if its file is unusable."""
        label_map = read_label_map(self.mask_files[i], self.num_classes, self.ignore_class)
        size = image_size(self.image_files[i])
        if label_map.shape != size:
            raise ValueError(
                f"{self.mask_files[i]}: mask of {_size(label_map.shape)}, but its image "
                f"{self.image_files[i]} has {_size(size)} (as its EXIF orientation turns it); "
                "both must be the same"
            )
        return label_map

    def label_maps(self):
        """Yields all label maps in order, for `keras_dup.projection.fit`."""
        return (self.label_map(i) for i in range(len(self)))

    def check(self, on_error="raise", verbose=True):
        """Reads every pair and tells all the faults at once, in order.

        Files are decoded to their ends, as nothing less finds those cut short; images at an
        eighth of their size, where the format allows it, which finds the same faults sooner.

        Args:
            on_error: "raise", or "skip" to drop the pairs with a fault from the data set.
            verbose: whether to show progress, and what was skipped.

        Returns: the messages of the faults, a list of strings; empty if there is none.
        Raises ValueError for a fault, or, with "skip", if no pair would be left; it quotes the
        first 20 messages.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error is {on_error!r}; 'raise' or 'skip' is expected")
        with ThreadPoolExecutor() as pool:
            done = pool.map(self._fault, range(len(self)))
            bar = tqdm(done, "checking files", len(self), unit=" pairs", disable=not verbose)
            faults = {i: fault for i, fault in enumerate(bar) if fault}
        if not faults:
            return []
        report = _report(list(faults.values()), len(self))
        if on_error == "raise" or len(faults) == len(self):
            raise ValueError(report)
        if verbose:
            print(f"skipped: {report}")
        kept = [i for i in range(len(self)) if i not in faults]
        self.image_files = [self.image_files[i] for i in kept]
        self.mask_files = [self.mask_files[i] for i in kept]
        return list(faults.values())

    def _fault(self, i):
        """What is wrong with pair i: all its messages in one string, "" if nothing."""
        faults = []
        for check in (lambda: check_image(self.image_files[i]), lambda: self.label_map(i)):
            try:
                check()
            except (OSError, ValueError) as error:
                if str(error) not in faults:  # what is no image has no size for the mask either
                    faults.append(str(error))
        return "; ".join(faults)


class LabelMaps:
    """The label maps of a folder of masks alone, read one by one: `len()` and `[i]`.

    What `keras_dup.projection.fit` reads with several `workers`. Arguments as in `Folder`, which
    names errors of a file in the same way; `files` are the paths, sorted by name.
    """

    def __init__(self, masks, num_classes, names=None, ignore_class=VOID):
        self.files = mask_files(masks, names)
        self.num_classes, self.ignore_class = num_classes, ignore_class

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        """Returns label map i as uint8 (H, W), void 255; ValueError if its file is unusable."""
        return read_label_map(self.files[i], self.num_classes, self.ignore_class)


def mask_files(masks, names=None):
    """Returns the paths of a folder of masks alone, for a projection; arguments as in `Folder`."""
    files = _files_by_stem(masks, _MASK_ENDINGS)
    stems = sorted(files if names is None else _read(names))
    _check_pairs(stems, files, masks, "mask")
    return [files[stem] for stem in stems]


def image_files(paths):
    """Returns the pictures among files and folders: files as they are, folders' in order of name.

    Raises FileNotFoundError for what does not exist, ValueError for a folder without a picture.
    """
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            files += _files(path, (*_IMAGE_ENDINGS, ".tif", ".tiff", ".webp"))
        elif path.exists():
            files.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return files


def distinct_stems(files):
    """[(file, name)]: the name without ending, with ending or folder too where it would clash."""
    counts = Counter(file.stem for file in files)
    named = [(file, file.stem if counts[file.stem] == 1 else file.name) for file in files]
    counts = Counter(name for _, name in named)
    return [
        (file, name if counts[name] == 1 else "_".join(file.parts[-2:])) for file, name in named
    ]


def _files(folder, endings):
    # Names that start with a dot are not pictures: macOS writes "._a.jpg" beside "a.jpg".
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in endings and not path.name.startswith(".")
    ]
    if not files:
        raise ValueError(f"{folder}: no file that ends in {', '.join(endings)} (in any case)")
    return files


def _files_by_stem(folder, endings):
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    files = {}
    for path in _files(folder, endings):
        if path.stem in files:
            raise ValueError(
                f"{folder}: {files[path.stem].name} and {path.name} have one name; "
                "pairing goes by name, so keep one of them"
            )
        files[path.stem] = path
    return files


def _read(names):
    if isinstance(names, (str, os.PathLike)):
        names = Path(names).read_text(encoding="utf-8-sig").splitlines()
    stems = [name.strip() for name in names if name.strip()]
    twice = [stem for stem, times in Counter(stems).items() if times > 1]
    if twice:
        raise ValueError(f"names: {_some(twice)} listed more than once")
    return stems


def _check_pairs(stems, files, folder, kind):
    missing = [stem for stem in stems if stem not in files]
    if missing:
        raise ValueError(
            f"{folder}: no {kind} for {_some(missing)}; an image and its mask "
            "have the same name without the ending"
        )


def _report(faults, pairs):
    lines = faults[:_QUOTED]
    if len(faults) > _QUOTED:
        lines.append(f"and {len(faults) - _QUOTED} more")
    return "\n  ".join([f"{len(faults)} of {pairs} pairs have a fault:", *lines])


def _some(stems):
    stems = sorted(stems)
    more = f" and {len(stems) - 5} more ({len(stems)} in all)" if len(stems) > 5 else ""
    return ", ".join(stems[:5]) + more


def _size(shape):
    return f"{shape[0]} x {shape[1]} (height x width)"
