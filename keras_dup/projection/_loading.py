"""`load`: reads a projection from a file, whole and sound, or says what is wrong with it."""

import importlib.resources
import os
import zipfile

import numpy as np

from keras_dup.projection._label_projection import NUMBERS, LabelAutoencoder, LabelProjection, npz

__all__ = ["load"]

_MOST = 2**30  # bytes of all arrays

# of PCA the first rows are the projection of fewer channels: one file for several names
_SHIPPED = {
    f"{data_set}_r{ratio}_c{channels}": (f"{data_set}_r{ratio}_c{most}.npz", channels)
    for data_set in ("voc2012", "voc2012_trainaug")
    for ratio, most in ((8, 64), (16, 128), (32, 128))
    for channels in (32, 64, 128)
    if channels <= most
}


def load(path_or_name: str | os.PathLike) -> LabelProjection | LabelAutoencoder:
    """Reads a projection that `save` wrote, or one of the package by its name.

    Args:
        path_or_name: a path, to which `.npz` is added if it is missing, or a name such as
            "voc2012_r16_c64": data set, ratio, channels.

    Returns: a `LabelProjection` or a `LabelAutoencoder`. Arrays saved as float16 become float32.

    Raises:
        ValueError: the file is damaged or holds something else.
        FileNotFoundError: there is no such file.
    """
    if path_or_name in _SHIPPED:
        name, channels = _SHIPPED[path_or_name]
        file = importlib.resources.files("keras_dup.saved_models") / name
        with importlib.resources.as_file(file) as path:
            whole = _read(path)
        return whole.first(channels) if isinstance(whole, LabelProjection) else whole
    return _read(npz(path_or_name))


def _read(path):
    if path.exists() and not path.is_file():
        raise ValueError(f"{path}: not a projection (no regular file); an .npz is expected")
    with open(path, "rb") as file:
        try:
            arrays = _arrays(file)
            kind = LabelAutoencoder if "hidden_kernel" in arrays else LabelProjection
            numbers = [_integers(arrays.pop(name), ()) for name in NUMBERS[:2]]
            if min(numbers) < 1:
                raise ValueError(f"{NUMBERS[0]} and {NUMBERS[1]} are {numbers}")
            void = arrays.pop("ignore_class")
            numbers.append(_integers(void, (1,)) if len(void) else None)
            arrays = {name: _checked(name, array) for name, array in arrays.items()}
            return kind(**arrays, **dict(zip(NUMBERS, numbers, strict=True)))
        except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds
            raise ValueError(
                f"{path}: not a projection ({error}); an .npz written by LabelProjection.save "
                "is expected: copy it or fit it again"
            ) from error


def _arrays(file):
    with zipfile.ZipFile(file) as members:
        size = sum(member.file_size for member in members.infolist())
        if size > _MOST:
            raise ValueError(f"it holds {size} bytes, of which {_MOST} are expected at most")
    file.seek(0)
    with np.load(file, allow_pickle=False) as fields:
        return {name: fields[name] for name in fields.files}


def _integers(array, shape):
    if array.dtype.kind not in "iu" or array.shape != shape:
        raise ValueError(f"an integer is {array.dtype} of shape {array.shape}")
    return int(array.reshape(()))


def _checked(name, array):
    """float16, float32 or float64, finite -> the same; float16 becomes float32."""
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise ValueError(f"{name} is {array.dtype}")
    unknown = name == "explained_variance_ratio" and np.isnan(array).all()  # of `nearest`
    if not (np.isfinite(array).all() or unknown):
        raise ValueError(f"{name} is not finite")
    return _widened(array) if array.dtype == np.float16 else array


def _widened(array):
    """float16 -> float32, with rows that are orthonormal again: each to those before it.

    So constant windows, which float16 holds exactly, stay the first rows.
    """
    rows = array.astype(np.float64)
    triangle = np.linalg.cholesky(rows @ rows.T)
    return np.linalg.solve(triangle, rows).astype(np.float32)
