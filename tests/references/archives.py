"""Small images and folders in the layouts of published data sets."""

import io

import numpy as np
from PIL import Image

from keras_dup import data

SIZE = (6, 8)


def image_of(name, size=SIZE):
    """The image that every archive has under a name, as an array: one colour, JPEG keeps it."""
    shade = sum(map(ord, name)) % 200
    return np.full((*size, 3), shade, np.uint8)


def jpeg(name, size=SIZE):
    return encoded(Image.fromarray(image_of(name, size)), "JPEG", quality=100)


def encoded(image, file_format, **options):
    file = io.BytesIO()
    image.save(file, format=file_format, **options)
    return file.getvalue()


def write_camvid(root, counts=(("train", 5), ("val", 2)), size=(48, 64)):
    """Folders as of CamVid; returns the label maps by split."""
    rng = np.random.default_rng(0)
    written = {}
    for split, count in counts:
        images, masks = root / split / "images", root / split / "masks"
        images.mkdir(parents=True), masks.mkdir()
        written[split] = [rng.integers(0, 12, size, np.uint8) for _ in range(count)]
        for i, ids in enumerate(written[split]):
            (images / f"{i:04}.jpg").write_bytes(jpeg(str(i), size))
            data.save_label_map(masks / f"{i:04}.png", ids)
    return written
