"""`keras-dup predict` of a video: an overlay video, frame by frame."""

import fractions
import importlib.util
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_dup import _cli, pictures, presets
from keras_dup._cli import options
from keras_dup.export import _folding

NAMES = ["background", "bright"]


class Threshold:
    """What `predict` needs of a network: class 1 is what is bright."""

    output_shape = (None, None, None, 2)

    def predict_on_batch(self, images):
        bright = np.asarray(images)[..., :1] > 127
        return np.concatenate([~bright, bright], -1).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "model", lambda arguments: (Threshold(), NAMES))
    monkeypatch.setattr(presets, "check_model", lambda name: None)
    monkeypatch.setattr(_folding, "fold", lambda network, output: network)


def write_video(path, frames, times):
    """Grey frames, lossless, each at its time in units of 1/100 s."""
    av = pytest.importorskip("av", reason="extra video is not installed")
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, fractions.Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def frames():
    """7 frames of 37 x 151: a bright block that moves to the right."""
    found = np.full((7, 37, 151, 3), 40, np.uint8)
    for i, frame in enumerate(found):
        frame[8:24, 16 * i : 16 * i + 32] = 200
    return found


def test_each_frame_gets_its_overlay_at_its_time(folder, capsys):
    av = pytest.importorskip("av", reason="extra video is not installed")
    times = [0, 4, 8, 32, 36, 40, 44]  # with a gap
    write_video("film.mkv", frames(), times)
    command = ["predict", "model", "film.mkv", "-o", "out"]
    _cli.main(command)
    assert os.listdir("out") == ["film_overlay.mp4"]
    with av.open("out/film_overlay.mp4") as video:
        found = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in video.decode(video=0)]
    assert [round(100 * time) for time, _ in found] == times
    strip = np.asarray(pictures.legend(NAMES, 151))
    for (_, shown), frame in zip(found, frames(), strict=True):
        assert shown.shape == (37 + len(strip) + 1, 152, 3) and len(strip) == 40  # even sides
        expected = pictures.mixed(frame, (frame[..., 0] > 127).astype(np.uint8), class_names=NAMES)
        # H.264 halves the resolution of colours and quantises: about 3 grey levels on average
        assert np.abs(shown[:37, :151].astype(int) - expected).mean() < 6
        assert np.abs(shown[37:77, :151].astype(int) - strip).mean() < 12
    printed = capsys.readouterr()
    assert "film.mkv: 7 frames" in printed.err and "out: 1 overlay videos" in printed.out
    before = pathlib.Path("out/film_overlay.mp4").stat().st_mtime_ns
    _cli.main(command)
    assert "1 of 1 are done with this model and these options" in capsys.readouterr().out
    assert pathlib.Path("out/film_overlay.mp4").stat().st_mtime_ns == before
    with pytest.raises(SystemExit, match="made with other flip"):
        _cli.main([*command, "--flip"])


def test_a_video_of_a_turned_telephone_is_upright(folder):
    """Such a file holds lying frames and a matrix (in its tkhd) that turns them clockwise."""
    av = pytest.importorskip("av", reason="extra video is not installed")
    lying = np.full((32, 160, 3), 40, np.uint8)
    lying[:, :40] = 200
    with av.open("film.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.height, stream.width, stream.pix_fmt = 32, 160, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(lying, format="rgb24")))
        container.mux(stream.encode(None))
    content = pathlib.Path("film.mp4").read_bytes()
    one, minus, zero, end = b"\0\1\0\0", b"\xff\xff\0\0", bytes(4), b"\x40\0\0\0"
    place = content.index(one + 3 * zero + one + 3 * zero + end, content.index(b"tkhd"))
    turned = zero + one + zero + minus + 4 * zero + end
    pathlib.Path("film.mp4").write_bytes(content[:place] + turned + content[place + 36 :])
    _cli.main(["predict", "model", "film.mp4", "-o", "out"])
    with av.open("out/film_overlay.mp4") as video:
        shown = next(iter(video.decode(video=0))).to_ndarray(format="rgb24")
    assert shown.shape[1] == 120 and shown.shape[0] > 160  # the legend is at least 120 wide
    assert shown[10, 10].astype(int).sum() > shown[100, 10].astype(int).sum() + 60


def test_what_is_no_video_is_told_and_the_rest_is_done(folder, capsys):
    write_video("film.mkv", frames()[:2], [0, 4])
    pathlib.Path("broken.mp4").write_bytes(b"no video")
    Image.new("RGB", (6, 4)).save("photo.png")
    with pytest.raises(SystemExit, match="1 of 3 images could not be done"):
        _cli.main(["predict", "model", "broken.mp4", "film.mkv", "photo.png", "-o", "out"])
    assert "broken.mp4: cannot be decoded as a video" in capsys.readouterr().err
    assert sorted(os.listdir("out")) == ["film_overlay.mp4", "photo.png", "photo_overlay.png"]


def test_what_a_video_cannot_is_told_before_any_work(folder, monkeypatch):
    pathlib.Path("film.mp4").write_bytes(b"")
    monkeypatch.setattr(_cli, "load_keras", lambda: pytest.fail("too late"))
    command = ["predict", "model", "film.mp4", "-o", "out"]
    with pytest.raises(SystemExit, match="a video gets an overlay alone; --shares is of images"):
        _cli.main([*command, "--shares"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"videos need av: pip install 'keras-dup\[video\]'"):
        _cli.main(command)


def test_videos_of_a_pattern_get_an_overlay_alone_too(folder):
    pytest.importorskip("av", reason="extra video is not installed")
    pathlib.Path("film.mp4").write_bytes(b"")
    with pytest.raises(SystemExit, match="a video gets an overlay alone; --shares is of images"):
        _cli.main(["predict", "model", "*.mp4", "-o", "out", "--shares"])
