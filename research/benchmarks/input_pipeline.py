"""Pictures per second into training: `python -m research.benchmarks.input_pipeline`.

Ours (`keras_dup.data.train_batches`) beside keras-cv 0.9 (extra `peers`): `JitteredResize` (scale,
crop, pad) and `RandomFlip`, mapped over images and over batches padded to one size, on what
`tf.io` decodes. (Its ragged batches take no masks of different sizes.) Both read the same JPEGs and
grey PNGs; keras-cv fills label maps with 0, as it cannot with 255. "decoded" leaves the files out:
images come from memory. Every round measures each way once, for some seconds, in turn; medians
over the rounds, and the ratio of ours to the faster of the others. "a core" is images per second
of CPU time of the process, which other processes on the machine disturb least.

--data FOLDER ... holds images/ and masks/; without it, camvid/train and voc_animals in
$KERAS_DUP_DATA; without that, the built-in shapes.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_dup.data import VOID, Folder, Shapes, train_batches
from research.benchmarks.machine import machine, printed_by

CROPS = ((240, 320), (257, 257), (513, 513))
BATCH, PICTURES, ROUNDS, SECONDS = 8, 100, 5, 1.0
SCALES = (0.5, 2.0)
WAYS = ("ours", "keras-cv by image", "keras-cv by batch")


def main():
    arguments = parse()
    if arguments.cores:
        return measure(arguments.data, arguments.cores)
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    for count in sorted({1, min(2, len(cores))}):
        words = ["--cores", *cores[-count:], "--data", *arguments.data]
        rows += json.loads(printed_by("input_pipeline", *words))
    print(json.dumps({**machine("keras-cv"), "batch": BATCH, "rows": rows}))
    print(table(rows))


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    root = os.environ.get("KERAS_DUP_DATA")
    known = [f"{root}/{name}" for name in ("camvid/train", "voc_animals")] if root else []
    parser.add_argument("--data", nargs="*", default=known, metavar="FOLDER")
    parser.add_argument("--cores", nargs="*", type=int, help="measure here, pinned to these")
    return parser.parse_args()


def table(rows):
    head = f"{'images per second':44}" + "".join(f"{way:>22}" for way in WAYS) + "  ratio"
    lines = [head]
    for row in rows:
        name = f"{row['data']} {row['crop']} {row['from']}, {row['cores']} core(s), {row['clock']}"
        values = [row[way] for way in WAYS]
        ratio = values[0] / max(values[1:])
        lines.append(f"{name:44}" + "".join(f"{value:22.0f}" for value in values) + f"{ratio:7.2f}")
    return "\n".join(lines)


def measure(folders, cores):
    """Prints the rows of all data sets and crops, measured on `cores`, as one line of JSON."""
    os.sched_setaffinity(0, cores)  # before TensorFlow's first operation makes its threads
    rows = []
    for source in [*map(Path, folders)] or [None]:
        with tempfile.TemporaryDirectory() as copy:
            data = write(source, Path(copy))
            for crop in CROPS:
                for place, ways in (("files", from_files), ("decoded", from_memory)):
                    name = source.name if source else "shapes"
                    if name == "train":
                        name = source.parent.name
                    row = {"data": name, "crop": "x".join(map(str, crop)), "from": place}
                    for clock, speeds in interleaved(ways(data, crop)).items():
                        rows.append({**row, "cores": len(cores), "clock": clock, **speeds})
    print(json.dumps(rows))


def write(source, folder):
    """Copies the first images of a folder, or the shapes, with label maps as grey PNGs."""
    (folder / "images").mkdir(), (folder / "masks").mkdir()
    data = Folder(source / "images", source / "masks", VOID) if source else Shapes(100, (360, 480))
    for i in range(min(PICTURES, len(data))):
        path = folder / "images" / f"{i:03}.jpg"
        if source:
            path.write_bytes(data.image_files[i].read_bytes())
        else:
            Image.fromarray(data.image(i)).save(path, quality=90)
        Image.fromarray(data.label_map(i)).save(folder / "masks" / f"{i:03}.png")
    return Folder(folder / "images", folder / "masks", VOID)


def from_files(data, crop):
    """One endless stream of batches a way, from the files."""
    paths = [list(map(str, files)) for files in (data.image_files, data.mask_files)]
    files = tf.data.Dataset.from_tensor_slices(tuple(paths)).shuffle(len(data)).repeat()
    images = files.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    ours = train_batches(data, BATCH, crop, scale_range=SCALES)
    return dict(zip(WAYS, (ours, *keras_cv_streams(images, crop)), strict=True))


class Decoded:
    """A data set whose images and label maps were all read at the start."""

    def __init__(self, data):
        self.num_classes, self.class_names = data.num_classes, data.class_names
        self.image = [data.image(i) for i in range(len(data))].__getitem__
        self.label_map = list(data.label_maps()).__getitem__
        self.count = len(data)

    def __len__(self):
        return self.count


def from_memory(data, crop):
    """The same, from decoded images, handed over in the same way."""
    data = Decoded(data)

    def one_image(i):
        kinds = (tf.uint8, tf.uint8)
        pair = tf.numpy_function(lambda i: (data.image(i), data.label_map(i)), [i], kinds)
        return as_input(tf.ensure_shape(pair[0], (None, None, 3)), pair[1][..., None])

    numbers = tf.data.Dataset.range(len(data)).shuffle(len(data)).repeat()
    images = numbers.map(one_image, num_parallel_calls=tf.data.AUTOTUNE)
    ours = train_batches(data, BATCH, crop, scale_range=SCALES)
    return dict(zip(WAYS, (ours, *keras_cv_streams(images, crop)), strict=True))


def decode(image, mask):
    image = tf.io.decode_jpeg(tf.io.read_file(image), channels=3)
    return as_input(image, tf.io.decode_png(tf.io.read_file(mask), channels=1))


def as_input(image, mask):
    return {"images": image, "segmentation_masks": tf.ensure_shape(mask, (None, None, 1))}


def keras_cv_streams(images, crop):
    """keras-cv's streams over images and over padded batches: -> (image, label map) each."""
    from keras_cv.layers import JitteredResize, RandomFlip

    def augmented(images):
        for layer in (JitteredResize(crop, SCALES), RandomFlip()):
            images = images.map(layer, num_parallel_calls=tf.data.AUTOTUNE)
        return images

    single = augmented(images).batch(BATCH, drop_remainder=True)
    padded = augmented(images.padded_batch(BATCH, drop_remainder=True))
    return [batches.map(as_batch).prefetch(tf.data.AUTOTUNE) for batches in (single, padded)]


def as_batch(batch):
    return batch["images"], tf.cast(batch["segmentation_masks"][..., 0], tf.int32)


def interleaved(streams):
    """{clock: {way: images per second}}, medians over rounds of every way in turn."""
    speeds = {way: [] for way in streams}
    for _ in range(ROUNDS):
        for way, stream in streams.items():
            speeds[way].append(speed(iter(stream)))
    medians = {way: np.median(values, axis=0) for way, values in speeds.items()}
    clocks = ("wall", "a core")
    return {clock: {way: medians[way][k] for way in streams} for k, clock in enumerate(clocks)}


def speed(batches):
    for _ in range(3):  # the first ones trace and fill the buffers
        image, label_map = next(batches)
    assert len(image) == len(label_map) == BATCH and image.dtype == tf.float32
    wall, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < SECONDS:
        next(batches)
        count += BATCH
    return count / (time.perf_counter() - wall), count / (time.process_time() - cpu)


if __name__ == "__main__":
    main()
