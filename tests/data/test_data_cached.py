from itertools import islice

import numpy as np
import pytest

from keras_dup.data import Shapes, train_batches
from keras_dup.data._cached import Cached


class Counted(Shapes):
    reads = 0

    def image(self, i):
        self.reads += 1
        return super().image(i)


def test_a_cached_data_set_gives_what_the_other_gives_and_reads_it_once():
    data = Counted(3, (32, 40))
    cached = Cached(data)
    assert len(cached) == 3 and cached.num_classes == 7 and cached.class_names == data.class_names
    for _ in range(2):
        for i in range(3):
            np.testing.assert_array_equal(cached.image(i), Shapes(3, (32, 40)).image(i))
            np.testing.assert_array_equal(cached.label_map(np.int64(i)), data.label_map(i))
    assert data.reads == 3 and len(list(cached.label_maps())) == 3
    with pytest.raises(ValueError, match="read-only"):
        cached.image(0)[:] = 0


@pytest.mark.parametrize(("pictures", "reads"), [(0, 9), (1, 7), (2, 5), (3, 3)])
def test_what_does_not_fit_is_read_every_time(pictures, reads):
    data = Counted(3, (32, 40))
    cached = Cached(data, max_bytes=pictures * 4 * 32 * 40)
    for _ in range(3):
        for i in range(3):
            cached.image(i), cached.label_map(i)
    assert data.reads == reads
    with pytest.raises(ValueError, match="max_bytes"):
        Cached(data, max_bytes=-1)


def test_batches_are_the_same_with_and_without_a_cache():
    data = Shapes(5, (40, 56))
    for streams in zip(
        islice(train_batches(data, 4, 32, seed=3), 4),
        train_batches(Cached(data, 20_000), 4, 32, seed=3),
        strict=False,
    ):
        for plain, kept in zip(*streams, strict=True):
            np.testing.assert_array_equal(plain, kept)
