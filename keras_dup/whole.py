"""Files that appear whole or not at all."""

import contextlib
import json
import os
import pathlib


@contextlib.contextmanager
def writing(path):
    """Gives a temporary path beside `path`, which becomes `path` when the block ends well.

    The temporary name ends as `path` does. A reader never sees half a file: renaming is atomic
    within one folder. After an error nothing is left, and what was at `path` stays.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(content, path):
    """Writes what JSON can hold to `path`."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
