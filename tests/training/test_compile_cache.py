"""The folder of compiled programs does not grow without end."""

import os

from keras_dup.training import _compile_cache


def test_the_oldest_programs_go_first_and_only_as_many_as_needed(tmp_path):
    for age, name in enumerate(("new", "older", "oldest")):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (0, 1000 - age))
    _compile_cache.remove_oldest(tmp_path, 25)
    assert sorted(os.listdir(tmp_path)) == ["new", "older"]
    _compile_cache.remove_oldest(tmp_path, 20)
    assert sorted(os.listdir(tmp_path)) == ["new", "older"]
    _compile_cache.remove_oldest(tmp_path / "none", 0)
