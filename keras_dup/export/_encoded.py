"""Image files inside a TensorFlow graph: checked by their headers, then decoded, as `predict` does.

TensorFlow's kernels ignore the palette of a BMP and the transparency of a GIF, and know no EXIF.
"""

import tensorflow as tf

__all__ = ["decoded", "errors"]

_LEAST_SIDE = 64  # a shorter side costs the network as much, in windows and in padding
_HEAD = 2**17  # bytes of a file that are searched for its EXIF data
_FINE, _GIF, _BMP, _OTHER = range(4)
_TEXTS = {
    _FINE: "",
    _GIF: "is a GIF with transparency: send it as PNG",
    _BMP: "is a BMP with a palette or compressed: send it as PNG",
    _OTHER: "cannot be decoded: JPEG, PNG, BMP or GIF is expected",
}


def decoded(content: tf.Tensor) -> tf.Tensor:
    """The bytes of a file -> (H, W, 3) uint8, turned as EXIF asks; of an animation the first."""
    return _turned(_stored(content), _orientation(content))


def _stored(content):
    def photograph():  # as Pillow decodes it; the default is faster and less exact
        return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")

    def other():
        return tf.io.decode_image(content, channels=3, expand_animations=False)

    image = tf.cond(tf.io.is_jpeg(content), photograph, other)
    return tf.ensure_shape(image, (None, None, 3))


def _turned(image, orientation):
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    for axis, values in ((1, (2, 3, 6, 7)), (0, (3, 4, 7, 8))):
        wanted = tf.reduce_any(tf.equal(orientation, values))
        image = tf.cond(wanted, lambda x=image, a=axis: tf.reverse(x, [a]), lambda x=image: x)
    return tf.ensure_shape(image, (None, None, 3))


def _orientation(content):
    """The EXIF orientation of a JPEG or PNG file, 1..8; 1 where there is none."""
    data = tf.io.decode_raw(tf.strings.substr(content, 0, _HEAD), tf.uint8)
    data = tf.pad(tf.cast(data, tf.int32), [(0, 64)])
    jpeg = tf.io.is_jpeg(content)
    start = tf.cond(jpeg, lambda: _find(data, b"Exif\0\0"), lambda: _find(data, b"eXIf"))
    exif = data[start + tf.where(jpeg, 6, 4) :]  # "II" or "MM", 42, where the tags begin
    little = tf.equal(exif[0], ord("I"))

    def number(places, size):
        """The numbers of `size` bytes at the places of `exif`; 0 beyond its end."""
        places = places[..., None] + tf.range(size)
        found = tf.where(places < tf.size(exif), tf.gather(exif, places % tf.size(exif)), 0)
        found = tf.cond(little, lambda: found, lambda: found[..., ::-1])
        return tf.reduce_sum(found * 256 ** tf.range(size), -1)

    first = tf.clip_by_value(number(tf.constant(4), 4), 0, _HEAD)
    tags = first + 2 + 12 * tf.range(tf.minimum(number(first, 2), 256))
    is_orientation = tf.equal(number(tags, 2), 0x0112)
    value = tf.reduce_max(tf.where(is_orientation, number(tags + 8, 2), 0), axis=0)
    known = (start >= 0) & (value >= 1) & (value <= 8)
    return tf.where(known, value, 1)


def _find(data, text):
    """Where `text` begins in (N,) bytes; -1 where it does not occur."""
    length = tf.size(data) - len(text)
    same = tf.reduce_all([tf.equal(data[i : length + i], c) for i, c in enumerate(text)], axis=0)
    return tf.where(tf.reduce_any(same), tf.argmax(same, output_type=tf.int32), -1)


def errors(contents: tf.Tensor, max_pixels: int, size: tuple[int, int] | None = None) -> tf.Tensor:
    """(B,) bytes of files -> (B,) what is wrong with each, "" for nothing.

    A file with more than `max_pixels` is refused by its header, before it is decoded. So are the
    files of a request that bring it above four times as many, and images of another size than
    (H, W) where one is given.
    """
    headers = _each(_header, (contents,), tf.constant([_OTHER, 0, 0], tf.int64))
    found = _refused(headers, max_pixels)

    def decode(content, reason):
        def tried():
            with tf.control_dependencies([_stored(content)]):
                return tf.constant("") if size is None else _of_other_size(content, size)

        return tf.cond(tf.equal(reason, ""), tried, lambda: reason)

    found = _each(decode, (contents, found), tf.constant(_TEXTS[_OTHER]))
    numbers = tf.strings.as_string(tf.range(tf.size(found)))
    return tf.where(tf.equal(found, ""), "", tf.strings.join(["image ", numbers, " ", found]))


def _of_other_size(content, size):
    height, width, _ = tf.unstack(tf.shape(decoded(content)))
    found = tf.strings.join([tf.strings.as_string(height), " x ", tf.strings.as_string(width)])
    wanted = f"{size[0]} x {size[1]}"
    other = tf.strings.join(["has ", found, f" pixels: {wanted} are expected"])
    return tf.where(tf.equal(found, wanted), "", other)


def _each(function, inputs, default):
    """`function` of each element of the inputs (B, ...); `default` where it raises."""
    # a signature cannot catch an error; a data set can leave out the elements that raise
    count = tf.size(inputs[0])
    elements = tf.data.Dataset.from_tensor_slices((tf.range(count), *inputs))
    found = elements.map(lambda number, *element: (number, function(*element))).ignore_errors()
    found = found.concatenate(tf.data.Dataset.from_tensors((count, default)))  # one is always there
    # as one batch: `reduce` would optimize the data set anew for each request
    numbers, values = found.batch(tf.cast(count + 1, tf.int64)).get_single_element()
    results = tf.repeat(default[None], count + 1, axis=0)
    return tf.tensor_scatter_nd_update(results, numbers[:, None], values)[:count]


def _refused(headers, max_pixels):
    """(B, 3) kind, height and width -> (B,) why a file is refused unseen, "" for nothing."""
    sizes = headers[:, 1:]
    work = tf.reduce_prod(tf.maximum(sizes, _LEAST_SIDE), -1)
    height, width = (tf.strings.as_string(side) for side in tf.unstack(sizes, axis=-1))
    large = tf.strings.join(["has ", height, " x ", width, " pixels: at most "])
    large += f"{max_pixels} in all are accepted"
    narrow = tf.reduce_prod(sizes, -1) <= max_pixels
    large = tf.where(narrow, large + f", and a side counts as {_LEAST_SIDE} or more", large)
    total = tf.cumsum(tf.where(work <= max_pixels, work, 0))
    many = f"exceeds the {4 * max_pixels} pixels of a request: send fewer images at a time"
    found = tf.gather(list(_TEXTS.values()), headers[:, 0])
    found = tf.where(tf.equal(found, "") & (total > 4 * max_pixels), many, found)
    return tf.where(tf.equal(headers[:, 0], _FINE) & (work > max_pixels), large, found)


def _header(content):
    """(3,) what the first bytes of a file say: a key of `_TEXTS`, height and width."""
    data = tf.io.decode_raw(tf.strings.substr(content, 0, 2048), tf.uint8)
    data = tf.pad(tf.cast(data, tf.int64), [(0, 64)])

    def number(place, size, little=True):
        order = range(size) if little else reversed(range(size))
        return tf.add_n([data[place + i] * 256**n for n, i in enumerate(order)])

    def jpeg():  # raises where it finds no size
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(content, tf.int64))
        return tf.stack([tf.constant(_FINE, tf.int64), height, width])

    def png():
        height, width = (number(place, 4, little=False) for place in (20, 16))
        return tf.stack([tf.constant(_FINE, tf.int64), height, width])

    def gif():
        place = _find(data, b"\x21\xf9\x04")  # what belongs to the first picture
        clear = (place < 0) | tf.equal(data[place + 3] % 2, 0)
        return tf.stack([_kind(clear, _GIF), number(8, 2), number(6, 2)])

    def bmp():
        height, width = (tf.cast(number(place, 4), tf.int32) for place in (22, 18))
        plain = (number(28, 2) >= 24) & tf.equal(number(30, 4), 0)
        height, width = (tf.cast(tf.abs(side), tf.int64) for side in (height, width))
        return tf.stack([_kind(plain, _BMP), height, width])

    def begins(text):
        return tf.reduce_all(tf.equal(data[: len(text)], list(text)))

    kinds = ((b"\xff\xd8\xff", jpeg), (b"\x89PNG", png), (b"GIF8", gif), (b"BM", bmp))
    cases = [(begins(text), size) for text, size in kinds]
    return tf.case(cases, default=lambda: tf.constant([_OTHER, 0, 0], tf.int64))


def _kind(fine, kind):
    return tf.cast(tf.where(fine, _FINE, kind), tf.int64)
