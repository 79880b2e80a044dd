"""`keras-dup predict`: images and videos -> label maps, overlays and what else is asked for."""

import contextlib
import glob
import os
import sys
import zlib
from collections import deque
from pathlib import Path

from keras_dup import presets
from keras_dup._cli import options, outputs, results, video

__all__ = ["add"]

_SHARES = "shares.csv"
_ON_DEMAND = "probabilities", "confidence"  # kinds of results


def add(commands):
    """Adds the command's parser."""
    predict = commands.add_parser(
        "predict",
        help="label maps and overlays of images",
        description="Writes NAME.png, the class of each pixel, and NAME_overlay.png, a picture to\n"
        "look at, for each image; NAME_overlay.mp4 for a video. The same command goes on where\n"
        "it stopped: results of this model and these options are kept.",
        epilog=options.examples(
            "predict voc_animals photo.jpg -o out/",
            "predict run/best.keras photos/ -o out/ --recursive --confidence --shares",
            "predict run/best.keras film.mp4 -o out/ --colours colours.txt",
        ),
    )
    predict.set_defaults(check=_check, run=_run)
    predict.add_argument("model", help=options.MODEL)
    images = 'images, videos, folders of images, patterns like "photos/*.jpg"'
    predict.add_argument("images", nargs="+", help=images)
    predict.add_argument("-o", "--output", required=True, metavar="FOLDER")
    deeper = "also images in subfolders; the output has the same subfolders"
    predict.add_argument("--recursive", action="store_true", help=deeper)
    predict.add_argument(
        "--overwrite", action="store_true", help="also what another model or other options made"
    )
    probabilities = "also NAME_probabilities.npz: probabilities (H, W, K) as float16, class_names"
    predict.add_argument("--probabilities", action="store_true", help=probabilities)
    confidence = "also NAME_confidence.png: 255 times the largest probability, grey"
    predict.add_argument("--confidence", action="store_true", help=confidence)
    shares = f"also {_SHARES}: the share of each class in each image"
    predict.add_argument("--shares", action="store_true", help=shares)
    colours = 'text file with lines "name r g b", or a data set\'s name; by default of the model'
    predict.add_argument("--colours", metavar="FILE", help=colours)
    options.add_inference(predict)


def _check(arguments):
    options.check_inference(arguments)
    for given in arguments.images:
        if not os.path.lexists(given) and not glob.has_magic(given):
            raise ValueError(f"{given}: no such file or folder")
    presets.check_model(arguments.model)
    _check_videos(arguments, map(Path, arguments.images))


def _check_videos(arguments, files):
    videos = [file for file in files if video.is_video(file)]
    video.check(videos)
    asked = [name for name in (*_ON_DEMAND, "shares") if getattr(arguments, name)]
    if videos and asked:
        raise ValueError(f"{videos[0]}: a video gets an overlay alone; --{asked[0]} is of images")


def _run(arguments):
    options.set_limits(arguments)
    output = Path(arguments.output)
    planned, settings = _planned(arguments, output), _settings(arguments)
    kept = _kept(planned, settings, arguments.overwrite)
    todo = {file: paths for file, paths in planned.items() if file not in kept}
    if kept:
        print(f"{len(kept)} of {len(planned)} are done with this model and these options: kept")
    bad = 0
    if todo or arguments.shares:
        network, names = options.model(arguments)
        look = _look(arguments, names, getattr(network, "colours", None))
        if arguments.shares:
            results.check_shares(output / _SHARES, look.names)
        writer = _Writer(arguments, network, look, settings)
        try:
            writer.write(todo)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("the same command goes on with the rest") from None
        bad = writer.bad
    if arguments.shares:
        maps = {file: paths["label_map"] for file, paths in planned.items()}
        maps = {f: path for f, path in maps.items() if _mark(path, settings, True)}
        output.mkdir(parents=True, exist_ok=True)
        results.write_shares(output / _SHARES, maps, look.names)
    print(f"{output}: {_counted(planned)}")
    if bad:
        raise ValueError(f"{bad} of {len(planned)} images could not be done, see above")


def _counted(planned):
    """What is there now."""
    there = [file for file, paths in planned.items() if all(map(os.path.exists, paths.values()))]
    videos = sum(map(video.is_video, there))
    texts = {"label maps and overlays": len(there) - videos, "overlay videos": videos}
    return ", ".join(f"{count} {text}" for text, count in texts.items() if count) or "nothing"


def _planned(arguments, output):
    """{image or video: {kind of result: file}}; a ValueError where one would meet another file."""
    files, subfolders = _files(arguments, output)
    _check_videos(arguments, files)  # of patterns, too
    left_out = {kind for kind in _ON_DEMAND if not getattr(arguments, kind)}
    endings = {kind: end for kind, end in results.ENDINGS.items() if kind not in left_out}

    def endings_of(file):
        return {"overlay": results.VIDEO} if video.is_video(file) else endings

    reads = options.files_read(arguments)
    planned = outputs.plan_results(
        files, output, lambda file: list(endings_of(file).values()), reads, subfolders
    )
    if arguments.shares:
        written = [path for _, paths in planned for path in paths]
        outputs.plan([*written, output / _SHARES], [*files, *reads])
    return {file: dict(zip(endings_of(file), paths, strict=True)) for file, paths in planned}


def _files(arguments, output):
    """The images and videos, without what earlier runs wrote, and {file: its subfolder}."""
    from keras_dup import inference

    files, subfolders = [], {}
    for given in arguments.images:
        found = inference.files_of([given], arguments.recursive)
        files += found
        if arguments.recursive and os.path.isdir(given):
            subfolders |= {file: file.parent.relative_to(given) for file in found}
    folders = {os.path.realpath(path) for path in arguments.images if os.path.isdir(path)}
    folders.add(os.path.realpath(output))
    made = {file for file in files if _is_in(file, folders) and results.is_result(file)}
    if made:
        print(f"{len(made)} files that keras-dup predict wrote are left out", file=sys.stderr)
    if len(made) == len(files):
        raise ValueError("all images are label maps and overlays that keras-dup predict wrote")
    return [file for file in files if file not in made], subfolders


def _is_in(file, folders):
    real = Path(os.path.realpath(file.parent))
    return not folders.isdisjoint(map(str, (real, *real.parents)))


def _settings(arguments):
    """What decides the results; the files that a run leaves hold it."""
    from keras_dup import models
    from keras_dup._lists import read_lines

    if arguments.class_names:
        names = read_lines(arguments.class_names)
    else:
        names = models.class_names(arguments.model)
    colours = arguments.colours or ""  # a file, or the name of a data set
    colours = Path(colours).read_bytes() if os.path.isfile(colours) else colours.encode()
    return results.described(
        arguments.model,
        {
            "scales": arguments.scales,
            "flip": arguments.flip,
            "window": arguments.window,
            "classes": zlib.crc32("\n".join(names or ()).encode()),
            "colours": zlib.crc32(colours),
        },
    )


def _kept(planned, settings, overwrite):
    """The files whose results are whole, of these settings and of the file as it is now.

    Raises ValueError for a file at the place of a result that is none, or is of other settings.
    """
    kept = set()
    for file, paths in planned.items():
        marks = [_mark(path, settings, overwrite) for path in paths.values()]
        if all(mark == (settings, results.source(file)) for mark in marks):
            kept.add(file)
    return kept


def _mark(path, settings, overwrite):
    if not os.path.exists(path):  # nor if its name is too long
        return None
    mark = results.read_mark(path)
    if mark is None:
        raise ValueError(f"{path} is there and is no result of predict; give another -o")
    other = [name for name, value in settings.items() if mark[0].get(name) != value]
    if other and not overwrite:
        raise ValueError(
            f"{path} was made with other {', '.join(other)}; give another -o, or --overwrite"
        )
    return None if other else mark


def _look(arguments, names, colours):
    """The names and colours of the classes, by default those of the model."""
    if not arguments.colours:
        return results.Look(names, colours or None)
    from keras_dup._label_maps import VOID
    from keras_dup.data import _tables

    table = _tables.read_table(None, arguments.colours)
    if names == [str(k) for k in range(len(names))]:
        names = table.names if len(table.names) == len(names) else names
    table = table.for_classes(names)
    colours = {k: colour for colour, k in reversed(table.classes.items()) if k != VOID}
    if sorted(colours) != list(range(len(names))):
        raise ValueError(
            f"--colours {arguments.colours}: {len(colours)} classes, the model has {len(names)}: "
            f"{', '.join(names)}"
        )
    return results.Look(names, [colours[k] for k in range(len(names))])


class _Writer:
    """Runs a network over files and writes their results; counts those that cannot be done."""

    def __init__(self, arguments, network, look, settings):
        from keras_dup.export._folding import fold

        self.network, self.look = fold(network, "probabilities"), look
        self.settings, self.bad = settings, 0
        self.how = arguments.scales, arguments.flip, arguments.window or None

    def write(self, todo):
        """Writes {file: {kind: path}}."""
        from tqdm import tqdm

        images = {file: paths for file, paths in todo.items() if not video.is_video(file)}
        count = {"total": len(images), "disable": not images}
        with tqdm(**count, desc="predicting", unit=" images") as bar:
            for file, image, arrays in self._predicted(images):
                with self._telling():
                    mark = self._mark(file, images[file])
                    results.write(images[file], arrays, image, self.look, mark)
                bar.update()
        for file in todo.keys() - images.keys():
            frames = video.frames_in(file)
            with self._telling(), tqdm(total=frames, desc=file.name, unit=" frames") as bar:
                mark, path = self._mark(file, todo[file]), todo[file]["overlay"]
                video.write_overlay(file, path, self._label_maps, self.look, mark, bar.update)

    def _mark(self, file, paths):
        """The texts that results of a file hold; makes their folders."""
        for path in paths.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        return results.marked(self.settings, file)

    def _label_maps(self, images):
        from keras_dup import inference

        functions = [inference.class_ids(self.network)]
        for (label_map,) in inference.summaries(self.network, images, functions, *self.how):
            yield label_map

    def _predicted(self, files):
        """Yields (file, image, {kind: array}) of {file: {kind: path}}, in order."""
        from keras_dup import data, inference

        functions = _functions(self.network, next(iter(files.values()), {}))
        waiting: deque = deque()  # (file, image) that are read and not predicted yet
        reading = iter(files)

        def images():
            for file in reading:
                with self._telling():
                    waiting.append((file, data.read_image(file)))
                    yield waiting[-1][1]

        while True:
            found = inference.summaries(self.network, images(), functions.values(), *self.how)
            try:
                for arrays in found:
                    yield *waiting.popleft(), dict(zip(functions, arrays, strict=True))
                return
            except ValueError as error:  # of those that were to be predicted; go on behind them
                for file, _ in waiting:
                    self._tell(f"{file}: {error}")
                waiting.clear()

    @contextlib.contextmanager
    def _telling(self):
        try:
            yield
        except (ValueError, OSError) as error:
            self._tell(error)

    def _tell(self, error):
        from tqdm import tqdm

        tqdm.write(f"keras-dup: {error}", file=sys.stderr)
        self.bad += 1


def _functions(network, kinds):
    """{kind of result: function of probabilities (rows, W, K)}."""
    import numpy as np

    from keras_dup import inference

    functions = {
        "label_map": inference.class_ids(network),
        "confidence": lambda found: np.rint(255 * found.max(-1)).astype(np.uint8),
        "probabilities": lambda found: found.astype(np.float16),
    }
    return {kind: function for kind, function in functions.items() if kind in kinds}
