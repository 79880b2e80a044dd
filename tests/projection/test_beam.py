"""Windows counted by Apache Beam, by one worker and by several."""

import numpy as np
import pytest
from label_maps import voronoi

from keras_dup import projection

beam = pytest.importorskip("apache_beam", reason="apache-beam, the extra `beam`, is not installed")
from keras_dup.projection._beam import CountWindows, WindowCountsFn  # noqa: E402

CLASSES, RATIO, VOID = 5, 4, 255


def label_maps(count=40):
    rng = np.random.default_rng(0)
    return [voronoi(rng, 20, 24) for _ in range(count)]


def run(maps, tmp_path, *options, **arguments):
    from apache_beam.options.pipeline_options import PipelineOptions

    path = tmp_path / "counts"

    def save(counts):
        np.savez(
            path,
            windows=counts.windows,
            counts=counts.counts,
            read=counts.label_maps,
            skipped=list(counts.skipped),
        )

    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        counts = pipeline | beam.Create(maps) | CountWindows(CLASSES, RATIO, **arguments)
        counts | beam.Map(save)
    return np.load(tmp_path / "counts.npz")


def assert_equal(found, maps):
    wanted = projection.count_windows(maps, CLASSES, RATIO)
    np.testing.assert_array_equal(found["windows"], wanted.windows)
    np.testing.assert_array_equal(found["counts"], wanted.counts)
    assert found["read"] == len(maps)


@pytest.mark.parametrize(
    "options",
    [
        ["--runner=DirectRunner"],
        ["--runner=BundleBasedDirectRunner"],
        [
            "--runner=FnApiRunner",
            "--direct_num_workers=2",
            "--direct_running_mode=multi_threading",
        ],
        pytest.param(
            [
                "--runner=FnApiRunner",
                "--direct_num_workers=2",
                "--direct_running_mode=multi_processing",
            ],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["one", "bundles", "two threads", "two processes"],
)
def test_a_pipeline_counts_what_one_process_counts(options, tmp_path):
    maps = label_maps()
    assert_equal(run(maps, tmp_path, *options), maps)


def test_accumulators_merge_in_any_order(tmp_path):
    fn, maps = WindowCountsFn(CLASSES, RATIO), label_maps(9)
    parts = []
    for start in (0, 3, 6):
        accumulator = fn.create_accumulator()
        for label_map in maps[start : start + 3]:
            accumulator = fn.add_input(accumulator, label_map)
        parts.append(accumulator)
    wanted = projection.count_windows(maps, CLASSES, RATIO)
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        empty = fn.create_accumulator()
        found = fn.extract_output(fn.merge_accumulators([*(parts[i] for i in order), empty]))
        np.testing.assert_array_equal(found.windows, wanted.windows)
        np.testing.assert_array_equal(found.counts, wanted.counts)


def test_a_bad_label_map_is_named_or_skipped_and_counted(tmp_path):
    maps = [(f"street/{i}", y) for i, y in enumerate(label_maps(6))]
    bad = [*maps[:3], ("street/x", np.full((8, 8), 77)), *maps[3:]]
    with pytest.raises(Exception, match="label map street/x has class id 77"):
        run(bad, tmp_path)
    found = run(bad, tmp_path, on_error="skip")
    assert_equal(found, [y for _, y in maps])
    assert len(found["skipped"]) == 1 and "street/x" in str(found["skipped"][0])
