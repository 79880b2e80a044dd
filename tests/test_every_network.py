"""Every backbone at every output stride with every decoder: builds, trains, exports.

SavedModels are compared with the model at three sizes: multiples of the stride, one more, not
square. By default images are small, units are left out of all networks but one, networks train one
step, one member stands for a family, networks are exported at stride 16 alone (one family at each,
and with both decoders) and the DUpsampling ones there are converted to LiteRT. With `--full-size`
images have 513 x 513, 512 x 512 and 321 x 481 pixels, every network is whole, trains a step at each
size, is exported and converted, which takes more than an hour on 2 cores.
"""

import keras
import numpy as np
import pytest
from small_backbones import few_units

from keras_dup import _backbones, _network, models, presets

FULL_SIZES = ((513, 513), (512, 512), (321, 481))
SIZES = ((129, 129), (128, 128), (65, 97))
LOW_LEVEL = {  # of both kinds: finer than the last feature, and not
    "resnet": ("b1u2c3", "b3u2c3"),
    "xception": ("efb2u1c2", "mfb1u1c3"),
    "mobilenet": ("b2u1c3", "b5u1c3"),
    "efficientnet": ("b2u1c3", "b5u1c3"),
    "vit": ("b1",),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports are TensorFlow's"),
]


@pytest.fixture(autouse=True)
def no_graphs_left():
    """Keras keeps graphs and their buffers, gigabytes of them here."""
    yield
    keras.utils.clear_session(free_memory=True)


@pytest.mark.parametrize("decoder", _network.DECODERS)
@pytest.mark.parametrize("output_stride", _network.OUTPUT_STRIDES)
@pytest.mark.parametrize("backbone", presets._BACKBONES)
def test_every_network_builds_trains_and_exports(
    backbone, output_stride, decoder, request, tmp_path, monkeypatch
):
    full_size = request.config.getoption("full_size")
    if backbone in _backbones.PATCHES and output_stride != 16:
        pytest.skip("patches have one stride")
    if not full_size:
        if backbone in ("resnet101", "xception71", "efficientnet_lite1", "efficientnet_lite2"):
            pytest.skip("another of the family stands for it, to save time; see --full-size")
        if decoder != "dupsampling" and output_stride != 16:
            pytest.skip("one stride of these, to save time; see --full-size")
        if decoder == "bilinear" and backbone != "efficientnet_lite0":
            pytest.skip("the thin decoder is the same in fewer channels; see --full-size")
        if (backbone, output_stride, decoder) == ("xception65", 16, "dupsampling"):
            pytest.skip("the paper's network, which is whole, stands for it")
        few_units(monkeypatch)
    family = backbone.rstrip("0123456789").split("_")[0]
    model = models.build(
        backbone,
        3,
        output_stride,
        LOW_LEVEL[family],
        decoder=decoder,
        downsample="subsample" if family in ("resnet", "xception") else "convolution",
    )
    _train(model, FULL_SIZES if full_size else SIZES[2:])
    if full_size:
        _export(model, tmp_path, FULL_SIZES, litert_sizes=FULL_SIZES)
    elif backbone == "efficientnet_lite0" or (output_stride == 16 and decoder == "dupsampling"):
        with_litert = output_stride == 16 and decoder == "dupsampling"
        _export(model, tmp_path, SIZES, litert_sizes=SIZES[2:] if with_litert else ())


def test_the_papers_network_builds_trains_and_exports_whole(tmp_path):
    model = models.build(preset="voc2012_xception65")
    _train(model, SIZES[2:])
    _export(model, tmp_path, SIZES, litert_sizes=SIZES[2:])


def _train(model, sizes):
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    # a graph would cost more to trace than one step takes
    model.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=len(sizes) == 1, jit_compile=False)
    before = model.get_weights()
    for image, label_map in _drawn(sizes, model.output_shape[-1]):
        assert np.isfinite(model.train_on_batch(image[None], label_map[None]))
    moved = {v.path: np.any(a != np.asarray(v)) for a, v in zip(before, model.weights, strict=True)}
    kernels = [path for path in moved if path.endswith(("kernel", "log_temperature"))]
    # DUpsampling is frozen. One image has one mean, which its batch norm turns into zero.
    still = [path for path in kernels if not moved[path]]
    assert set(still) <= {"dupsampling/kernel", "aspp_pooling_conv/kernel"}
    assert not moved.get("dupsampling/kernel")


def _export(model, folder, sizes, litert_sizes):
    from keras_dup import export

    images = [image for image, _ in _drawn(sizes, 2)]
    report = export.saved_model(model, folder / "served", images=images, verbose=False)
    assert report["equal_pixels"] > 0.999
    if not litert_sizes:
        return
    images = [image for image, _ in _drawn(litert_sizes, 2)]
    report = export.litert(model, folder / "m.tflite", None, None, images=images, verbose=False)
    assert report["equal_pixels"] > 0.999


def _drawn(sizes, num_classes):
    """[(image, label map)] of random pixels and classes."""
    rng = np.random.default_rng(0)
    return [
        (
            rng.uniform(0, 255, (*size, 3)).astype("float32"),
            rng.integers(0, num_classes, size).astype("uint8"),
        )
        for size in sizes
    ]
