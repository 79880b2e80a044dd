"""Images predicted and scored by Apache Beam, by one worker and by several."""

import io

import keras
import numpy as np
import pytest
from PIL import Image

from keras_dup import data, evaluation, inference

beam = pytest.importorskip("apache_beam", reason="apache-beam, the extra `beam`, is not installed")
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402

from keras_dup.beam import Evaluate, Predict  # noqa: E402

WORKERS = ["--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode"]
SCORES = {"trimap_widths": (2, 4), "boundary": True, "grid": 4}


@pytest.fixture(scope="module")
def dataset():
    """Twenty labelled images; some pixels are void."""
    return data.Shapes(20, (32, 40))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The file of a network that sees one pixel at a time."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(7, 1, activation="softmax")(keras.layers.Rescaling(1 / 64)(image))
    path = tmp_path_factory.mktemp("model") / "network.keras"
    keras.Model(image, x).save(path)
    return path


def file_of(image):
    """The bytes of a PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def predicted(images, transform, folder, *options):
    """{name: label map} of [(name, image)] by a pipeline, and the pipeline's result."""

    def save(name, label_map):
        np.save(folder / name, label_map)

    pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    pipeline | beam.Create(images) | transform | beam.MapTuple(save)
    result = pipeline.run()
    result.wait_until_finish()
    return {file.stem: np.load(file) for file in folder.glob("*.npy")}, result


def reported(examples, transform, folder, *options):
    """The report of [(name, (image, label map))] by a pipeline."""

    def save(report):
        np.save(folder / "report", report)

    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        pipeline | beam.Create(examples) | transform | beam.Map(save)
    return np.load(folder / "report.npy", allow_pickle=True).item()


@pytest.mark.parametrize(
    "options",
    [
        ["--runner=BundleBasedDirectRunner"],
        [*WORKERS, "multi_threading"],
        pytest.param([*WORKERS, "multi_processing"], marks=pytest.mark.slow),
    ],
    ids=["one", "two threads", "two processes"],
)
def test_a_pipeline_predicts_and_scores_as_one_process_does(options, dataset, path, tmp_path):
    if options[-1].startswith("multi"):
        options = [*options[:-2], f"{options[-2]}={options[-1]}"]
    names = [f"{i:02}" for i in range(len(dataset))]
    images = [dataset.image(i) for i in range(len(dataset))]
    expected = inference.predict(path, images, flip=True)
    given = [file_of(image) if i % 2 else image for i, image in enumerate(images)]
    found, _ = predicted(
        zip(names, given, strict=True), Predict(path, flip=True), tmp_path, *options
    )
    assert len(np.unique(expected)) > 2 and sorted(found) == names
    for name, label_map in zip(names, expected, strict=True):
        np.testing.assert_array_equal(found[name], label_map)

    report = evaluation.evaluate(
        lambda image: inference.predict(path, image), dataset, verbose=False, warn=False, **SCORES
    )
    examples = [(name, (given[i], dataset.label_map(i))) for i, name in enumerate(names)]
    transform = Evaluate(path, dataset.class_names, **SCORES)
    assert reported(examples[::-1], transform, tmp_path, *options) == report


def test_a_bad_image_is_named_or_skipped_and_counted(dataset, path, tmp_path):
    images = [("good", dataset.image(0)), ("broken", b"no image"), ("flat", np.zeros((4, 4)))]
    for bad in images[1:]:
        with pytest.raises(Exception, match=f"{bad[0]}.*(cannot be decoded|has shape)"):
            predicted([images[0], bad], Predict(path), tmp_path)
    found, result = predicted(images, Predict(path, on_error="skip"), tmp_path)
    assert list(found) == ["good"]
    (counter,) = result.metrics().query(beam.metrics.MetricsFilter().with_name("skipped_images"))[
        "counters"
    ]
    assert counter.committed == 2


def test_a_prediction_that_does_not_fit_its_truth_names_the_image(dataset, path, tmp_path):
    examples = [("street/7", (dataset.image(0), np.zeros((3, 3), np.uint8)))]
    with pytest.raises(
        Exception, match=r"street/7: predicted \(32, 40\), but its truth is \(3, 3\)"
    ):
        reported(examples, Evaluate(path, dataset.class_names), tmp_path)
    with pytest.raises(ValueError, match="on_error='ignore'; it must be 'raise' or 'skip'"):
        Predict(path, on_error="ignore")
