"""Names of everything that a command will write, settled before it writes anything.

Every command calls `plan` (or `plan_results`, which calls it) first: no output meets another
output or a file that the command reads, and none lands where the next run would take it for input.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

__all__ = ["plan", "plan_results"]


def plan(
    writes: Iterable[str | os.PathLike],
    reads: Iterable[str | os.PathLike | None] = (),
    folders: Mapping[str | os.PathLike, Sequence[str]] | None = None,
    recursive: bool = False,
) -> None:
    """Raises ValueError if an output meets an input or another output.

    Two paths meet if they are one file by any link, or if their names differ only in case or in
    Unicode form, which some file systems do not tell apart.

    Args:
        writes: the files that the command will write.
        reads: the files that it reads, those in folders too; None is left out.
        folders: {folder that it reads as a whole: endings of the files that it takes there}.
        recursive: whether it reads the subfolders of these too.
    """
    outputs = [Path(path) for path in writes]
    taken: dict[object, str | os.PathLike] = {}
    for read in reads:
        if read:
            taken.update(dict.fromkeys(_identities(read), read))
    seen: dict[object, Path] = {}
    for path in outputs:
        for identity in _identities(path):
            if identity in taken:
                raise ValueError(
                    f"{path} would be written over {taken[identity]}, which is read; "
                    "give another -o"
                )
            if seen.setdefault(identity, path) is not path:
                raise ValueError(f"{path} and {seen[identity]} would be one file; rename an input")
    for folder, endings in (folders or {}).items():
        for path in outputs:
            parents = path.parents if recursive else [path.parent]
            inside = os.path.realpath(folder) in map(os.path.realpath, parents)
            if inside and path.suffix.lower() in endings:
                raise ValueError(
                    f"{path} would be taken for an input from {folder} by the next run; "
                    "give another -o"
                )


def plan_results(
    files: Sequence[Path],
    folder: str | os.PathLike,
    endings: Callable[[Path], Sequence[str]],
    reads: Iterable = (),
    subfolders: Mapping[Path, Path] | None = None,
) -> list[tuple[Path, list[Path]]]:
    """Returns [(file, its outputs in `folder`)], one output per ending, all of them distinct.

    An output is named after its file: "a" for x/a.jpg, where needed "a.jpg", "x_a.jpg", and so on;
    files that clash go on together, so the names do not depend on the order. A file that is given
    twice counts once. Raises ValueError as `plan` does.

    Args:
        files: what outputs are made of.
        folder: of the outputs.
        endings: function of a file that returns what the names of its outputs end in.
        reads: other files that the command reads.
        subfolders: {file: folder inside `folder` that its outputs belong in}.
    """
    files = list({_place(file): file for file in files}.values())
    names = _names(files)
    places = {file: (subfolders or {}).get(file, Path()) for file in files}
    levels = dict.fromkeys(files, 0)

    def outputs(file):
        name = names[file][levels[file]]
        return [str(places[file] / f"{name}{ending}") for ending in endings(file)]

    while True:
        counts = Counter(_key(output) for file in files for output in outputs(file))
        clashing = [f for f in files if any(counts[_key(output)] > 1 for output in outputs(f))]
        if not clashing:
            break
        for file in clashing:
            levels[file] += 1
            if levels[file] == len(names[file]):
                names[file].append(f"{names[file][-1]}_{sorted(files).index(file)}")
    planned = [(file, [Path(folder) / output for output in outputs(file)]) for file in files]
    plan([path for _, paths in planned for path in paths], [*files, *reads])
    return planned


def _names(files):
    """{file: names for what is made of it}, from the shortest to one with all its folders."""
    alike, names = Counter(), {}
    for file in sorted(files):
        parts = Path(os.path.abspath(file)).parts[1:]
        alike[_key(_place(file))] += 1
        number = alike[_key(_place(file))]  # of files that differ in case alone
        found = [file.stem, *("_".join(parts[-count:]) for count in range(1, len(parts) + 1))]
        names[file] = [f"{name}_{number}" if number > 1 else name for name in found]
    return names


def _place(path):
    """The folder behind all links, and the name; two links to one file are two places."""
    path = Path(path)
    return os.path.join(os.path.realpath(path.parent), path.name)


def _key(name):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(name)).casefold())


def _identities(path):
    yield _key(_place(path))
    yield _key(os.path.realpath(path))
    if os.path.exists(path):
        status = os.stat(path)
        yield status.st_dev, status.st_ino
