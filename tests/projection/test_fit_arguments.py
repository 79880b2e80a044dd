"""What `fit` is given: bad label maps, arguments out of range, channels of all kinds."""

import numpy as np
import pytest
import reference
from label_maps import CHANNELS, CLASSES, RATIO, VOID, assert_same, fit

from keras_dup import projection


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((4, 4), 7), r"label map 2 has class id 7; 0\.\.4"),
        (np.full((4, 4), -1), "label map 2 has class id -1"),
        (np.zeros((4, 4)), "label map 2 has .* type float64"),
        (np.zeros((4, 4), bool), "label map 2 has .* type bool"),
        (np.zeros((4, 4, 3), np.uint8), r"label map 2 has shape \(4, 4, 3\)"),
        (np.zeros((0, 4), np.uint8), r"label map 2 has shape \(0, 4\)"),
    ],
)
def test_a_bad_label_map_is_named_by_its_index(label_maps, fitted, bad, message):
    with pytest.raises(ValueError, match=message):
        fit([*label_maps[:2], bad])
    with pytest.raises(ValueError, match=message):
        projection.reconstruction_miou(fitted, [*label_maps[:2], bad])
    with pytest.raises(ValueError, match=message.replace(" 2 ", " ")):
        fitted.compress(bad)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratio": 0}, "ratio is 0"),
        ({"ratio": 1.5}, "ratio is 1.5"),
        ({"channels": 0}, "channels is 0"),
        ({"channels": -1}, "channels is -1"),
        ({"channels": 0.0}, "channels is 0.0"),
        ({"channels": -0.5}, "channels is -0.5"),
        ({"channels": 1.5}, r"channels is 1.5; .* in \(0, 1\] as a float"),
        ({"channels": 2.0}, "channels is 2.0"),
        ({"channels": True}, "channels is True"),
        ({"channels": np.nan}, "channels is nan"),
        ({"channels": "6"}, "channels is '6'"),
        ({"channels": None}, "channels is None"),
        ({"channels": 1.0, "method": "sgd"}, "channels is 1.0; a whole number of 1 or more is"),
        ({"num_classes": True}, "num_classes is True"),
        ({"ratio": np.inf}, "ratio is inf"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"class_balance": 0.6}, "class_balance is 0.6; 0 to 0.5"),
        ({"class_balance": 0.1, "method": "sgd"}, "class_balance is of method 'pca', not of 'sgd'"),
        ({"channels": 65}, "channels is 65, but ratio 4 and 5 classes give at most 64"),
    ],
)
def test_an_argument_out_of_range_is_refused_before_reading(changes, message):
    def unread():
        raise AssertionError("read")
        yield

    with pytest.raises(ValueError, match=message):
        fit(unread(), **changes)


def test_no_label_maps_or_nothing_but_void_is_an_error(fitted):
    void = np.full((8, 8), VOID)
    with pytest.raises(ValueError, match="no label maps"):
        fit([])
    with pytest.raises(ValueError, match="every pixel of every label map is void"):
        fit([void, void])
    with pytest.raises(ValueError, match="every pixel of every label map is void"):
        projection.reconstruction_miou(fitted, [void])


def test_more_channels_than_the_windows_span_is_an_error():
    rows = np.indices((4, 4))[0]
    steps = [(rows >= k).astype(np.uint8) for k in range(5)]  # 5 windows: 4 differences
    assert fit(steps, channels=4).channels == 4
    with pytest.raises(ValueError, match="channels is 5, but 5 distinct windows give at most 4"):
        fit(steps, channels=5)
    halves = [np.where(rows < 2, a, b) for a in (0, 1) for b in (0, 1)]
    assert fit(halves, channels=2).channels == 2
    with pytest.raises(ValueError, match="channels is 3, but these label maps give at most 2"):
        fit(halves, channels=3)


def test_channels_are_a_number_as_an_integer_and_a_share_as_a_float(label_maps, fitted):
    assert_same(fit(label_maps, channels=np.int64(CHANNELS)), fitted)
    explained = fitted.explained_variance_ratio.cumsum()
    for share in (explained[CHANNELS - 1] - 1e-6, np.float32(explained[CHANNELS - 1] - 1e-6)):
        assert_same(fit(label_maps, channels=share), fitted)
    values = reference.label_pca(label_maps, RATIO, CLASSES, VOID)[0]
    everything = fit(label_maps, channels=1.0)
    assert everything.channels == (values > 1e-12 * values.sum()).sum()
    assert everything.explained_variance_ratio.sum() == pytest.approx(1, abs=1e-12)
    for label_map in label_maps:
        valid = label_map != VOID
        rebuilt = everything.reconstruct(everything.compress(label_map))
        rebuilt = rebuilt[: label_map.shape[0], : label_map.shape[1]].argmax(-1)
        np.testing.assert_array_equal(rebuilt[valid], label_map[valid])
    with pytest.raises(ValueError, match="1 distinct windows give at most 0"):
        fit([np.zeros((8, 8), np.uint8)], channels=1.0)


def test_too_few_windows_because_ids_are_no_classes_says_so():
    binary = np.zeros((8, 8), np.uint8)
    binary[2:5, 2:7] = 255  # an object, which is void
    with pytest.raises(ValueError, match=r"at most 0; of the classes 1 no pixel .* also 255"):
        projection.fit([binary], num_classes=2, ratio=4, channels=8)
    halves = [np.repeat([[a, b]], 2, axis=1).repeat(4, axis=0) for a in (0, 2) for b in (0, 2)]
    with pytest.raises(ValueError, match="at most 2; of the classes 1, 3 no pixel"):
        projection.fit(halves, num_classes=4, ratio=4, channels=3)


def test_reconstruct_refuses_other_channels(fitted):
    with pytest.raises(ValueError, match=r"\(2, 3, 7\); \(h, w, 6\) is expected"):
        fitted.reconstruct(np.zeros((2, 3, 7)))


def test_progress_bars_show_only_when_asked(label_maps, capsys):
    fit(label_maps)
    assert capsys.readouterr().err == ""
    fit(iter(label_maps), verbose=True, total=len(label_maps))
    shown = capsys.readouterr().err
    assert f"{len(label_maps)}/{len(label_maps)}" in shown and "solving" in shown
