"""Text files with one name per line, in UTF-8 on every system."""

import codecs
import os
import pathlib
from collections.abc import Iterable

from keras_dup._whole import writing

__all__ = ["read_lines", "write_lines"]

_MARKS = (  # the longer ones first: UTF-16's is how UTF-32's begins
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def read_lines(path: str | os.PathLike) -> list[str]:
    """Returns the lines that are not empty, without the spaces around them.

    UTF-8, or UTF-16 or UTF-32 with a byte order mark (as PowerShell's `>` writes). Raises
    ValueError, with the file, for another encoding.
    """
    content = pathlib.Path(path).read_bytes()
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: this is not {encoding} ({error}); save it as UTF-8") from error
    if "\0" in text:
        raise ValueError(f"{path}: holds zero bytes; save it as UTF-8 text, one name per line")
    return [line.strip() for line in text.splitlines() if line.strip()]


def write_lines(path: str | os.PathLike, lines: Iterable[str]) -> None:
    """Writes one line per string in UTF-8, the whole file or none."""
    with writing(path) as temporary:
        temporary.write_bytes("".join(f"{line}\n" for line in lines).encode())
