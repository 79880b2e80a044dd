"""A whole data set in the memory of a device, and the project's augmentation of it, in JAX.

The same windows, scales and fills as `keras_dup.data`, which is made for a stream of files.
"""

import concurrent.futures
import io

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["crops", "decoded", "draw_window", "epoch_order", "scaled_crop"]

VOID, GREY = 255, 127


def decoded(images, masks, size, ids=None):
    """Encoded pictures -> {"images", "labels", "sizes"}, padded to `size` at the bottom and right.

    Args:
        images, masks: bytes of files.
        size: (height, width).
        ids: {id in a mask: class id}, others stay.
    """
    from PIL import Image

    count = len(images)
    pictures = np.full((count, *size, 3), GREY, np.uint8)
    labels = np.full((count, *size), VOID, np.uint8)
    sizes = np.zeros((count, 2), np.int32)

    def one(i):
        image = np.asarray(Image.open(io.BytesIO(images[i])).convert("RGB"))
        mask = np.array(Image.open(io.BytesIO(masks[i])))
        for old, new in (ids or {}).items():
            mask[mask == old] = new
        height, width = sizes[i] = mask.shape
        pictures[i, :height, :width], labels[i, :height, :width] = image, mask

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(count)))
    return {"images": pictures, "labels": labels, "sizes": sizes}


def epoch_order(count, batch, steps, seed):
    """(steps, batch) item numbers: as `keras_dup.data.train_batches` reads them."""
    epochs = -(-steps * batch // count)
    orders = [np.random.default_rng((seed, epoch)).permutation(count) for epoch in range(epochs)]
    return np.concatenate(orders)[: steps * batch].reshape(steps, batch).astype(np.int32)


def crops(data, items, seed, step, crop, scale_range):
    """A batch: -> images float32 (B, height, width, 3) in 0..255, label maps (B, height, width)."""

    def one(item, k):
        draws = jax.random.uniform(jax.random.fold_in(jax.random.key(seed), k), (4,))
        window = draw_window(draws, data["sizes"][item], crop, scale_range)
        return scaled_crop(data["images"], data["labels"], item, window, crop)

    return jax.vmap(one)(items, step * len(items) + jnp.arange(len(items)))


def draw_window(draws, size, crop, scale_range):
    """Four draws of [0, 1) -> begin, size, scaled_size, padding (2,) each, and flipped."""
    scale = scale_range[0] + draws[0] * (scale_range[1] - scale_range[0])
    size, crop = size.astype(jnp.float32), jnp.array(crop, jnp.float32)
    whole = jnp.maximum(1.0, jnp.round(size * scale))
    scaled = jnp.minimum(whole, crop)
    taken = jnp.maximum(1.0, jnp.round(scaled * size / whole))
    places = (_place(size - taken, draws[1:3]), taken, scaled, _place(crop - scaled, draws[1:3]))
    return *(place.astype(jnp.int32) for place in places), draws[3] < 0.5


def _place(slack, draws):
    return jnp.minimum(jnp.floor(draws * (slack + 1.0)), slack)


def scaled_crop(images, labels, item, window, crop):
    """The window of a picture, scaled bilinearly (its label map by nearest), flipped and filled."""
    begin, size, scaled, padding, flipped = window
    lower, upper, shares, nearest, inside = [], [], [], [], []
    for axis in (0, 1):
        place = jnp.arange(crop[axis]) - padding[axis]
        inside.append((place >= 0) & (place < scaled[axis]))
        step = size[axis].astype(jnp.float32) / scaled[axis].astype(jnp.float32)
        at = (place.astype(jnp.float32) + 0.5) * step
        last = size[axis] - 1
        low = jnp.floor(at - 0.5)
        shares.append(at - 0.5 - low)
        found = [low, low + 1, jnp.floor(at)]
        found = [jnp.clip(f.astype(jnp.int32), 0, last) for f in found]
        if axis == 1:
            found = [jnp.where(flipped, last - f, f) for f in found]
        for places, f in zip((lower, upper, nearest), found, strict=True):
            places.append(f + begin[axis])

    def pick(rows, columns):
        return images[item, rows[:, None], columns[None]].astype(jnp.float32)

    x, y = shares[1][None, :, None], shares[0][:, None, None]
    top = pick(lower[0], lower[1]) * (1 - x) + pick(lower[0], upper[1]) * x
    bottom = pick(upper[0], lower[1]) * (1 - x) + pick(upper[0], upper[1]) * x
    within = inside[0][:, None] & inside[1][None]
    image = jnp.where(within[..., None], top * (1 - y) + bottom * y, float(GREY))
    label_map = labels[item, nearest[0][:, None], nearest[1][None]].astype(jnp.int32)
    return image, jnp.where(within, label_map, VOID)
