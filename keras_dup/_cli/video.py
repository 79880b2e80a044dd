"""Videos, decoded and encoded by PyAV, frame by frame."""

import contextlib
import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_dup import _whole

__all__ = ["check", "comment", "frames_in", "is_video", "write_overlay"]

_ENDINGS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
_CODECS = ("libx264", "libopenh264", "mpeg4")
_QUALITY = "20"  # x264's constant rate factor: smaller is better and larger, 23 its default


def is_video(path: Path) -> bool:
    """Whether a file is a video by its ending."""
    return path.suffix.lower() in _ENDINGS and not path.is_dir()


def check(files: Iterable[Path]) -> None:
    """Raises ImportError where there are videos and the decoder is not installed."""
    for file in files:
        if importlib.util.find_spec("av") is None:
            raise ImportError(f"{file}: videos need av: pip install 'keras-dup[video]'")


def comment(path: Path) -> str:
    """The text that `write_overlay` keeps in a video."""
    import av

    with av.open(str(path)) as container:
        return container.metadata.get("comment", "")


def write_overlay(
    file: Path,
    path: Path,
    predict: Callable[[Iterable[Any]], Iterator[Any]],
    look: Any,
    mark: Mapping[str, str],
    each: Callable[[], object] = lambda: None,
) -> int:
    """Writes a video with the colours of the classes over each frame, and a legend below.

    H.264 in MP4, with the time of each frame, without sound; sides are made even, as it asks for.

    Args:
        file: the video; its first video stream is taken.
        path: the file to write, whole or not at all.
        predict: frames (H, W, 3) -> label maps (H, W), in order.
        look: a `results.Look`.
        mark: texts that the video holds.
        each: called after each frame.

    Returns: the number of frames.

    Raises ValueError for a file that cannot be decoded.
    """
    import av

    try:
        with av.open(str(file)) as source, _whole.writing(path) as temporary:
            if not source.streams.video:
                raise ValueError(f"{file}: there is no video in it")
            with av.open(str(temporary), "w", format="mp4") as target:
                target.metadata["comment"] = json.dumps(mark)
                frames = _copied(source, target, predict, look, each)
            if not frames:
                raise ValueError(f"{file}: there is no frame in it")
            return frames
    except av.error.FFmpegError as error:
        raise ValueError(f"{file}: cannot be decoded as a video ({error.strerror})") from error


def _copied(source, target, predict, look, each):
    import av
    import numpy as np

    from keras_dup import pictures

    reading, writing, strip, count = source.streams.video[0], None, None, 0
    reading.thread_type = "AUTO"
    shown = []  # (frame, pixels) whose label maps are not there yet

    def images():
        for frame in source.decode(reading):
            pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
            shown.append((frame, pixels))
            yield pixels

    for label_map in predict(images()):
        frame, pixels = shown.pop(0)
        drawn = pictures.mixed(pixels, label_map, class_names=look.names, colours=look.colours)
        if writing is None:
            width = max(drawn.shape[1], 120)
            strip = np.asarray(pictures.legend(look.names, width, None, look.colours))
            height = drawn.shape[0] + len(strip)
            writing = target.add_stream(_codec(), rate=reading.average_rate or 25)
            writing.options = {"crf": _QUALITY} if writing.codec.name == "libx264" else {}
            writing.width, writing.height = width + width % 2, height + height % 2
            writing.pix_fmt = "yuv420p"
            writing.codec_context.time_base = reading.time_base
        whole = np.full((writing.height, writing.width, 3), 255, np.uint8)
        whole[: len(drawn), : drawn.shape[1]] = drawn[: len(whole), : whole.shape[1]]
        whole[len(drawn) :][: len(strip), : strip.shape[1]] = strip
        out = av.VideoFrame.from_ndarray(whole, format="rgb24")
        out.pts, out.time_base = frame.pts, frame.time_base
        target.mux(writing.encode(out))
        count += 1
        each()
    if writing is not None:
        target.mux(writing.encode(None))
    return count


def _codec():
    """The first of the encoders that this FFmpeg has; x264 is left out of some builds."""
    import av

    for name in _CODECS:
        with contextlib.suppress(av.codec.codec.UnknownCodecError):
            return av.Codec(name, "w").name
    raise ValueError(f"av: its FFmpeg has none of {', '.join(_CODECS)}; pip install av has")


def frames_in(file: Path) -> int | None:
    """The number of frames that a video says to have; None if it does not say."""
    import av

    with contextlib.suppress(Exception), av.open(str(file)) as container:
        return container.streams.video[0].frames or None
    return None
