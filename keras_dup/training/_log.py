"""The log of a run: one row per epoch, as a table, as curves, and for TensorBoard."""

import csv
import io
import math
import os
import pathlib
import time
from importlib.util import find_spec as installed

import keras

from keras_dup._whole import writing

_SHOWN_BY = {"matplotlib": "curves.png", "tensorboard": "TensorBoard's files"}
PANELS = {"loss": "loss", "val_miou": "validation mIoU", "temperature": "T"}


def read_log(path: str | os.PathLike, last_step: int | None = None) -> list[dict[str, str]]:
    """Reads the rows of a run's log.csv: {column: text}, "step" among them.

    Args:
        path: the file; one that does not exist has no rows.
        last_step: leave out the rows of later steps.

    Raises:
        ValueError: the file is damaged or cut short.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, strict=True))
        for row in rows:
            if None in row or None in row.values():
                raise ValueError(f"{len(row)} columns in a row")
            row["step"] = str(int(row["step"]))
    except (ValueError, KeyError, csv.Error) as error:
        raise ValueError(
            f"{path}: the log is damaged or cut short ({error}); delete it, and the run goes on "
            "with a new one"
        ) from error
    return [row for row in rows if last_step is None or int(row["step"]) <= last_step]


class Log(keras.callbacks.Callback):
    """Writes log.csv, one row per epoch, and shows it where the extra `train` is installed.

    `predictions` is the callback before it, which has the picture of this validation. With the
    extra there are curves.png, by Matplotlib, and TensorBoard's files.

    Rows of steps that a checkpoint does not hold, since the run was killed, are written anew.
    """

    def __init__(self, output, network, predictions, step=0):
        super().__init__()
        self.output, self.network, self.predictions = output, network, predictions
        self.rows = read_log(output / "log.csv", step)
        missing = [name for name in _SHOWN_BY if installed(name) is None]
        if missing:
            files = " and ".join(_SHOWN_BY[name] for name in missing)
            print(f"no {files}: these need the extra, pip install 'keras-dup[train]'")
        self.draws, self.writer = "matplotlib" not in missing, None
        if "tensorboard" not in missing:
            from tensorboard.summary.writer.event_file_writer import EventFileWriter

            self.writer = EventFileWriter(str(output / "tensorboard"))

    def on_epoch_end(self, epoch, logs=None):
        row = {"step": self.model.done, "epoch": epoch + 1, **logs}
        row["learning_rate"] = number(self.model.optimizer.learning_rate)
        softmax = self.network.layers[-1]
        if hasattr(softmax, "log_temperature"):
            row["temperature"] = math.exp(number(softmax.log_temperature))
        self.rows.append(row)
        path = self.output / "log.csv"
        with writing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(
                file, list(dict.fromkeys(key for row in self.rows for key in row))
            )
            table.writeheader()
            table.writerows(self.rows)
        if self.draws:
            draw_curves(self.rows, self.output / "curves.png")
        if self.writer:
            self._summarize(row)

    def _summarize(self, row):
        try:
            self._write_events(row)
        except Exception as error:  # a full disk, of TensorFlow or not: no reason to end a run
            print(f"TensorBoard's files cannot be written: {error}")

    def _write_events(self, row):
        from tensorboard.compat.proto import event_pb2, summary_pb2

        picture, png = self.predictions.picture, io.BytesIO()
        picture.save(png, "PNG")
        image = {"height": picture.height, "width": picture.width, "colorspace": 3}
        image = summary_pb2.Summary.Image(encoded_image_string=png.getvalue(), **image)
        values = [
            summary_pb2.Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if value is not None
        ]
        values.append(summary_pb2.Summary.Value(tag="validation", image=image))
        event = event_pb2.Event(
            wall_time=time.time(), step=row["step"], summary=summary_pb2.Summary(value=values)
        )
        self.writer.add_event(event)
        self.writer.flush()


def draw_curves(rows, path):
    """Draws loss, validation mIoU and T over the steps.

    Args:
        rows: of a run's log.csv, dicts with "step" and what `PANELS` names as far as it is there.
        path: the picture, a PNG.
    """
    import matplotlib.figure

    panels = [name for name in PANELS if rows[-1].get(name) not in (None, "")]
    figure = matplotlib.figure.Figure(figsize=(4 * len(panels), 3.3), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, name in zip(axes, panels, strict=True):
        points = [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]
        axis.plot(*zip(*points, strict=True), marker=".")
        axis.set(xlabel="step", ylabel=PANELS[name])
        axis.grid(alpha=0.3)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def number(variable):
    return float(keras.ops.convert_to_numpy(variable))  # mirrored variables have no float()
