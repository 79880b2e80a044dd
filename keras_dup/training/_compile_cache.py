"""JAX's cache of compiled programs on the disk: a second start of a run compiles nothing anew."""

import contextlib
import os
import pathlib

import keras

__all__ = ["keep_compiled"]

_LARGEST = 4 * 2**30  # bytes


def keep_compiled() -> None:
    """Has JAX keep what it compiles, in jax_cache/ in Keras's folder: ~/.keras, or $KERAS_HOME.

    The oldest programs go when there are more than 4 GiB. A folder that JAX was given stays, and
    is not cleared ($JAX_COMPILATION_CACHE_DIR); so does an order to keep nothing
    ($JAX_ENABLE_COMPILATION_CACHE=0). Does nothing on other backends.
    """
    if keras.backend.backend() != "jax":
        return
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        folder = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras")
        jax.config.update("jax_compilation_cache_dir", str(folder / "jax_cache"))
        remove_oldest(folder / "jax_cache", _LARGEST)
    # else what compiles in less than a second, which is most of a start, is compiled each time
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def remove_oldest(folder: pathlib.Path, largest: int) -> None:
    """Removes the files of a folder that were written first, until the others are small enough.

    JAX's own limit reads all files for each new one, and a start has hundreds.
    """
    with contextlib.suppress(OSError):  # no folder yet, or another run is at it
        files = [(entry.stat(), entry.path) for entry in os.scandir(folder) if entry.is_file()]
        total = sum(status.st_size for status, _ in files)
        for status, path in sorted(files, key=lambda file: file[0].st_mtime):
            if total <= largest:
                return
            os.unlink(path)
            total -= status.st_size
