"""The folder of a run: who writes to it, and what the run in it was made of."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import keras

from keras_dup._whole import remove_leftovers, write_json
from keras_dup.training._provenance import provenance
from keras_dup.training._recipe import Recipe
from keras_dup.training._recipe_files import load_json

CHECKPOINT = "checkpoint.weights.h5"
PRETRAINED = "pretraining.weights.h5"
PROJECTION = "projection.npz"
PREDICTIONS = "predictions"  # a folder, of pictures
# fields of a recipe that may change while a run is under way. Where data lie may, too: what they
# are is in split.json
_FREE = {"name", "checkpoint_steps", "data_root", "train_names", "val_names"}
_FREE |= {"train_images", "train_masks", "val_images", "val_masks"}
_FILES = {"weights", "projection", "teacher"}  # that may be moved
_QUOTED = 5  # files in one error
_START_ANEW = "give another --output, or delete the folder to start anew"


@contextlib.contextmanager
def locked(output: pathlib.Path) -> Iterator[None]:
    """Makes the folder and keeps other runs out of it; removes what a killed run left half-written.

    The lock is the operating system's: it ends with this process, however that ends.

    Raises ValueError if another run is at work in the folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    if os.name != "posix":  # a folder has no lock there
        yield
        return
    import fcntl

    folder = os.open(output, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise ValueError(
            f"{output}: another run is at work in this folder; wait for it, or give another "
            "--output"
        ) from None
    except OSError:  # a file system without locks
        pass
    try:
        for place in (output, output / PREDICTIONS):
            if place.is_dir():
                remove_leftovers(place)
        yield
    finally:
        os.close(folder)


def has_begun(output: pathlib.Path) -> bool:
    """Whether the run in a folder has a checkpoint to go on from."""
    return (output / CHECKPOINT).exists() or (output / PRETRAINED).exists()


def is_finished(output: pathlib.Path, steps: int) -> bool:
    """Whether the run in a folder has its report, after that many steps."""
    path = output / "report.json"
    return path.exists() and load_json(path)["steps"] == steps


def keep_recipe(recipe: Recipe, output: pathlib.Path) -> None:
    """Writes recipe.json and runs.json; a run goes on with the same recipe and backend only.

    Files and folders may be elsewhere, and there may be more steps.
    """
    path, new = output / "recipe.json", _plain(recipe)
    runs = output / "runs.json"
    starts = load_json(runs) if runs.exists() else []
    if path.exists() and has_begun(output):
        old = {**_plain(Recipe(recipe.name, recipe.num_classes)), **load_json(path)}
        changed = [f"{k}: {old[k]} -> {new[k]}" for k in new if not _goes_on(k, old[k], new[k])]
        if changed:
            raise ValueError(
                f"{output} holds a run of another recipe ({'; '.join(changed)}); {_START_ANEW}"
            )
        backend, now = starts[-1]["backend"] if starts else None, keras.backend.backend()
        if backend not in (None, now):
            raise ValueError(
                f"{output} holds a run on the backend {backend}, whose checkpoint does not fit "
                f"{now}'s layers; go on with KERAS_BACKEND={backend}, or {_START_ANEW}"
            )
    write_json(new, path)
    write_json([*starts, provenance()], runs)


def _goes_on(field, old, new):
    """Whether a run goes on although a field has changed: places may, and how long it is."""
    if field == "steps":
        return new >= old
    if field in _FILES:
        return os.path.basename(old) == os.path.basename(new)
    if field == "colours":  # one may be a file
        return list(map(os.path.basename, old)) == list(map(os.path.basename, new))
    return old == new or field in _FREE


def _plain(recipe):
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def keep_split(new: dict[str, dict], output: pathlib.Path) -> None:
    """Writes split.json, the contents of either side; a run goes on with these only."""
    path = output / "split.json"
    if not (has_begun(output) and path.exists()):
        write_json(new, path)
        return
    for side, old in load_json(path).items():
        if old == new[side]:
            continue
        files = old.get("files", {})
        found = new[side].get("files", {})
        names = [name for name in files if files[name] != found.get(name)]
        quoted = ", ".join(names[:_QUOTED]) + (" and more" if len(names) > _QUOTED else "")
        raise ValueError(
            f"{output}: the data of this run have changed since it began "
            f"({len(names)} files, {quoted or 'or their number'}); put them back, or {_START_ANEW}"
        )


def contents(dataset) -> dict:
    """What a data set is made of: {"files": {name: checksum}}, or its kind and size."""
    masks = getattr(dataset, "mask_files", None)
    if masks is None:
        return {"kind": type(dataset).__name__, "size": len(dataset)}
    with ThreadPoolExecutor() as pool:
        sums = pool.map(_checksum, dataset.image_files, masks)
        return {"files": dict(zip(dataset.names, sums, strict=True))}


def _checksum(image, mask):
    """Of the mask's bytes and the image's size."""
    with open(mask, "rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8))
    return f"{found.hexdigest()}-{os.path.getsize(image)}"
