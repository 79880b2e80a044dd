"""Files that appear whole or not at all."""

import contextlib
import errno
import json
import os
import pathlib
import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["remove_leftovers", "write_json", "write_picture", "writing"]

_LONGEST = 200  # bytes of a file name; systems take 255, and the temporary name is longer
_LEFTOVER = re.compile(r"\.\d+\.(?!\.)")  # how the temporary names of `writing` begin
_ADVICE = {
    errno.ENOSPC: "the disk is full: free space, then give the same command again",
    errno.EDQUOT: "your quota is used up: free space, then give the same command again",
    errno.EFBIG: "the file is too large for this disk or process: raise the limit, or write to "
    "another disk",
    errno.EROFS: "the disk is read-only: write to another folder",
    errno.EACCES: "you may not write here: change the folder's permissions, or write to another",
    errno.EPERM: "you may not write here: change the folder's permissions, or write to another",
    errno.ENOENT: "the folder is gone: is its disk still mounted? Give the same command again",
    errno.EIO: "the disk does not answer as it should: check it, or write to another",
}


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path beside `path`, which becomes `path` when the block ends well.

    The temporary name has the ending of `path`. A reader never sees half a file: renaming is atomic
    within one folder. After an error nothing is left, and what was at `path` stays.

    Raises:
        OSError: one line that says why `path` cannot be written, and what to do.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{os.getpid()}.{_short(path)}")
    try:
        yield temporary
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # HDF5 raises both
        reason = _ADVICE.get(_error_number(error, temporary))
        if reason is None:
            raise
        raise OSError(f"{path} cannot be written: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_json(content: object, path: str | os.PathLike) -> None:
    """Writes what JSON can hold to `path`."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_picture(picture: "Image.Image", path: str | os.PathLike, **options: object) -> None:
    """Writes an image of Pillow; `options` are those of its `save`."""
    with writing(path) as temporary:
        picture.save(temporary, **options)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Removes the temporary files of `writing` that a killed process left in a folder.

    Call it where no other process writes to the folder.
    """
    for path in pathlib.Path(folder).iterdir():
        if _LEFTOVER.match(path.name) and path.is_file():
            path.unlink()


def _short(path):
    """The name of a path; of a long name a checksum and the endings."""
    if len(os.fsencode(path.name)) <= _LONGEST:
        return path.name
    endings = "".join(path.suffixes[-2:])
    endings = endings if len(os.fsencode(endings)) < 50 else path.suffix[:50]
    return f"{zlib.crc32(os.fsencode(path.name)):08x}{endings}"


def _error_number(error, temporary):
    """errno of an error about the temporary file; None of any other error."""
    number, name = getattr(error, "errno", None), getattr(error, "filename", None)
    if number is None:  # of HDF5, which has it in its text
        found = re.search(r"errno = (\d+)", str(error))
        return int(found[1]) if found else None
    return number if name in (None, str(temporary), temporary) else None
