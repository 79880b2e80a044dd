"""Projections in files: they come back equal, and what is no projection is refused."""

import numpy as np
import pytest
from label_maps import CHANNELS, RATIO, VOID, assert_same, fit

from keras_dup import projection
from keras_dup.projection import _label_projection, _loading


def test_a_saved_projection_loads_equal(tmp_path, fitted):
    written = fitted.save(tmp_path / "voc.r4")
    assert written == tmp_path / "voc.r4.npz"
    assert list(tmp_path.iterdir()) == [written]
    assert_same(projection.load(written), fitted)
    assert_same(projection.load(str(tmp_path / "voc.r4")), fitted)


def test_a_projection_kept_as_float16_is_orthonormal_again(tmp_path, fitted):
    loaded = projection.load(fitted.save(tmp_path / "p", float16=True))
    assert np.load(tmp_path / "p.npz")["matrix"].dtype == np.float16
    assert loaded.matrix.dtype == np.float32
    np.testing.assert_allclose(loaded.matrix @ loaded.matrix.T, np.eye(CHANNELS), atol=1e-6)
    # rounded to 2^-14 and to 11 bits, in each of 80 entries of a row
    np.testing.assert_allclose(loaded.matrix, fitted.matrix, atol=1e-3)


def test_no_ignore_class_survives_saving(tmp_path, label_maps):
    fitted = fit([y % VOID for y in label_maps], ignore_class=None)
    assert projection.load(fitted.save(tmp_path / "p")).ignore_class is None


def test_a_failed_save_leaves_the_old_file(tmp_path, fitted, monkeypatch):
    path = fitted.save(tmp_path / "p.npz")
    before = path.read_bytes()

    def full_disk(file, **_):
        file.write_bytes(b"half")
        raise OSError("no space")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="no space"):
        fitted.save(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text", "other", "shapes", "pickle"])
def test_load_refuses_a_damaged_or_foreign_file(tmp_path, fitted, damage):
    path = fitted.save(tmp_path / "p.npz")
    data = path.read_bytes()
    middle = len(data) // 2
    arrays = dict(np.load(path))
    if damage == "other":
        np.savez(path, weights=np.zeros(3))
    elif damage == "shapes":
        np.savez(path, **{**arrays, "ratio": RATIO + 1})
    elif damage == "pickle":
        np.savez(path, **{**arrays, "matrix": arrays["matrix"].astype(object)})
    else:
        flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        path.write_bytes(
            {"cut": data[:middle], "empty": b"", "flipped": flipped, "text": b"a,b\n"}[damage]
        )
    with pytest.raises(ValueError, match=r"p\.npz: not a projection .* is expected"):
        projection.load(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("matrix", np.nan, "matrix is not finite"),
        ("mean", np.inf, "mean is not finite"),
        ("explained_variance_ratio", np.nan, "explained_variance_ratio is not finite"),
        ("matrix", "int64", "matrix is int64"),
        ("mean", "complex64", "mean is complex64"),
        ("mean", ">f4", "mean is >f4"),
        ("ratio", "float64", "an integer is float64"),
        ("num_classes", "bool", "an integer is bool"),
        ("ignore_class", "float32", "an integer is float32"),
        ("ratio", -RATIO, "num_classes and ratio are"),
    ],
)
def test_load_refuses_what_is_no_number_of_a_projection(tmp_path, fitted, name, value, message):
    path = fitted.save(tmp_path / "p.npz")
    arrays = dict(np.load(path))
    array = arrays[name]
    if isinstance(value, str):
        arrays[name] = array.astype(value)
    elif array.ndim:
        array[1] = value
    else:
        arrays[name] = np.int64(value)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=rf"p\.npz: not a projection \(.*{message}"):
        projection.load(path)


def test_load_refuses_more_than_memory_should_hold_and_what_is_no_file(
    tmp_path, fitted, monkeypatch
):
    path = fitted.save(tmp_path / "p", float16=True)
    monkeypatch.setattr(_loading, "_MOST", 2 * fitted.matrix.size)  # the bytes of the matrix
    with pytest.raises(ValueError, match=r"p\.npz: .* bytes, of which \d+ are expected at most"):
        projection.load(path)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ValueError, match="no regular file"):
        projection.load(tmp_path / "folder")


def test_nearest_survives_saving_although_its_variance_is_unknown(tmp_path):
    loaded = projection.load(_label_projection.nearest(3, 4).save(tmp_path / "p"))
    assert np.isnan(loaded.explained_variance_ratio).all() and loaded.channels == 3


def test_load_of_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.npz"):
        projection.load(tmp_path / "absent")
