"""The built-in data set: pictures of geometric shapes, drawn by code, nothing to download."""

from functools import lru_cache

import numpy as np

from keras_dup._label_maps import VOID, palette
from keras_dup.data._protocol import LabelMapsOf

__all__ = ["CLASS_NAMES", "Shapes"]

CLASS_NAMES = ("background", "disc", "box", "triangle", "ring", "star", "stripe")

# Share of a class's objects that wear its own colour and texture; the others wear any.
_TYPICAL = 0.9
_HUES = (0.28, 0.02, 0.6, 0.12, 0.8, 0.16, 0.45)
_TEXTURES = ("flat", "bands", "checks", "dots", "flat", "bands", "checks")
_VOID_HALF_WIDTH = 1.0  # pixels on either side of an object's edge


class Shapes:
    """Discs, boxes, triangles, rings, stars and stripes on a textured ground, 7 classes.

    Colour and texture hint at the class but do not decide it: one object in ten wears another's.
    Light falls off across the picture, there is noise, later objects cover earlier ones, and
    stripes, rings and the stars' points are thin, so that how scores are upsampled matters. A
    line of void, 2 pixels wide, follows every edge, as in PASCAL VOC.

    Item i is a pure function of (size, seed, i).

    Args:
        count: number of items.
        size: (height, width) in pixels, each at least 32.
        seed: an integer >= 0.
    """

    num_classes = len(CLASS_NAMES)
    class_names = CLASS_NAMES

    def __init__(self, count: int, size: tuple[int, int] = (128, 128), seed: int = 0):
        if count < 1 or min(size) < 32 or seed < 0:
            raise ValueError(
                f"count {count} must be at least 1, size {size} (32, 32), seed {seed} 0"
            )
        self.count = count
        self.size = tuple(map(int, size))
        self.seed = seed

    def __len__(self):
        return self.count

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """Returns item i as an example, for `Examples` and what reads examples."""
        return {"image": self.image(i), "segmentation_mask": self.label_map(i)}

    @property
    def palette(self) -> np.ndarray:
        """PASCAL VOC's colours, uint8 (256, 3)."""
        return palette()

    def image(self, i: int) -> np.ndarray:
        """Returns image i as uint8 (H, W, 3)."""
        return self._draw(i)[0].copy()

    def label_map(self, i: int) -> np.ndarray:
        """Returns label map i as uint8 (H, W), void 255."""
        return self._draw(i)[1].copy()

    def label_maps(self) -> LabelMapsOf:
        """Returns all label maps as a sequence, for `keras_dup.projection.fit`."""
        return LabelMapsOf(self)

    def _draw(self, i):
        if not 0 <= i < self.count:
            raise IndexError(f"item {i} of {self.count}")
        return _draw(self.size, self.seed, int(i))


@lru_cache(64)  # image and label map of one item are asked for one after the other
def _draw(size, seed, i):
    rng = np.random.default_rng((seed, i))
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    image = _paint(rng, 0, x, y)
    label_map = np.zeros(size, np.uint8)
    for _ in range(rng.integers(3, 7)):
        _add_object(rng, image, label_map, x, y)
    image = image * _light(rng, x, y)[..., None] + _noise(rng, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), label_map


def _add_object(rng, image, label_map, x, y):
    class_id = int(rng.integers(1, len(CLASS_NAMES)))
    height, width = label_map.shape
    radius = np.float32(rng.uniform(0.12, 0.3) * min(height, width))
    # Turned into the object's own axes, centre at the origin.
    angle = rng.uniform(0, 2 * np.pi)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(rng.uniform(0, width)), y - np.float32(rng.uniform(0, height))
    u, v = cosine * dx + sine * dy, cosine * dy - sine * dx
    distance = _signed_distance(rng, CLASS_NAMES[class_id], u, v, radius)
    cover = np.clip(0.5 - distance, 0, 1)[..., None]
    image += cover * (_paint(rng, class_id, u, v) - image)
    label_map[distance < 0] = class_id
    label_map[np.abs(distance) < _VOID_HALF_WIDTH] = VOID


def _signed_distance(rng, name, u, v, radius):
    """Distance to the shape's edge in pixels, negative within: (H, W) float32."""
    # Thin parts keep at least 3 labelled pixels between their two lines of void.
    thin = max(radius * np.float32(rng.uniform(0.07, 0.14)), np.float32(2.5))
    if name == "disc":
        return np.hypot(u, v) - radius
    if name == "box":
        return _rectangle(u, v, radius * 0.9, radius * rng.uniform(0.5, 0.9))
    if name == "triangle":
        return _star(u, v, 3, radius, radius * 0.5)
    if name == "ring":
        return np.abs(np.hypot(u, v) - (radius - thin)) - thin
    if name == "star":
        return _star(u, v, 5, radius, radius * 0.4)
    return _rectangle(u, v, radius * 1.8, thin)


def _rectangle(u, v, half_length, half_width):
    return np.maximum(np.abs(u) - np.float32(half_length), np.abs(v) - np.float32(half_width))


def _star(u, v, points, outer, inner):
    """A star's distance, up to its corners: one edge, repeated around the centre.

    The edge runs from a tip (radius `outer`, angle 0) to a notch (radius `inner`, angle
    pi / points); with inner = outer cos(pi / points) the star is a regular polygon.
    """
    sector = np.float32(np.pi / points)
    angle = np.arctan2(v, u) % (2 * sector)
    angle = np.minimum(angle, 2 * sector - angle)
    radius = np.hypot(u, v)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    edge_x, edge_y = inner * np.cos(sector) - outer, inner * np.sin(sector)
    return ((along - outer) * edge_y - across * edge_x) / np.hypot(edge_x, edge_y)


def _paint(rng, class_id, u, v):
    """Colours of a whole object, (H, W, 3) float32 in 0..255: two tones of a hue in a texture."""
    dressed_as = class_id
    if rng.random() > _TYPICAL:
        dressed_as = int(rng.integers(len(CLASS_NAMES)))
    hue = _HUES[dressed_as] + rng.normal(0, 0.05)
    light = _colour(hue, rng.uniform(0.2, 0.7), rng.uniform(110, 230))
    dark = _colour(hue + rng.normal(0, 0.04), rng.uniform(0.3, 0.8), rng.uniform(40, 150))
    mix = _texture(_TEXTURES[dressed_as], u, v, np.float32(2 * np.pi / rng.uniform(6, 14)))
    return dark + mix[..., None] * (light - dark)


def _texture(name, u, v, frequency):
    if name == "bands":
        return 0.5 + 0.5 * np.sin(frequency * u)
    if name == "checks":
        return 0.5 + 0.5 * np.sign(np.sin(frequency * u) * np.sin(frequency * v))
    if name == "dots":
        return np.clip(2 * np.cos(frequency * u) + 2 * np.cos(frequency * v) - 1, 0, 1)
    return np.full_like(u, 0.8)


def _colour(hue, saturation, value):
    """HSV (hue 0..1 and around, saturation 0..1, value 0..255) as RGB (3,) float32."""
    ramps = np.abs((hue + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1
    return (value * (1 - saturation + saturation * np.clip(ramps, 0, 1))).astype(np.float32)


def _light(rng, x, y):
    """A linear falloff across the picture, 0.65..1.35."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    ramp_x, ramp_y = 2 * x / x.max() - 1, 2 * y / y.max() - 1
    fall = (np.cos(angle) * ramp_x + np.sin(angle) * ramp_y) / np.sqrt(2)
    return (1 + strength * fall).astype(np.float32)


def _noise(rng, shape):
    return rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(4, 14))
