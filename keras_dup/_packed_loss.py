"""The loss of a DUpsampling network, computed without the scores of all pixels at once.

The scores of a batch, one number per pixel and class, fill the memory in training: 158 MB per image
at 150 classes and 513 x 513, several times over. But DUpsampling is linear and works window by
window, so scores, loss and gradient are computed for some windows at a time. Only the gradient with
respect to the features is kept: C~ numbers per window. A loss of regions needs the sums over all
pixels first, so there the scores are computed twice.
"""

import functools
from typing import Any

import keras
from keras import ops

from keras_dup._loss_terms import Term, over_replicas, replicas, valid_labels, weighted
from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling
from keras_dup.losses import PixelCrossentropy, RegionLoss, focal_factor

__all__ = ["packed_loss", "packs"]

SCORES = 2**20  # the number of scores that exist at the same time


def packs(loss: Term) -> bool:
    """Whether `packed_loss` can compute a loss: at most one of pixels, and of regions any but
    Lovasz, which sorts all pixels; with one id of void.
    """
    terms = [term for _, term in weighted(loss)]
    of_pixels = [isinstance(term, PixelCrossentropy) for term in terms]
    lovasz = any(isinstance(term, RegionLoss) and term.region == "lovasz" for term in terms)
    return sum(of_pixels) <= 1 and not lovasz and len({term.ignore_class for term in terms}) == 1


def packed_loss(
    loss: Term,
    upsampling: DUpsampling,
    softmax: AdaptiveTemperatureSoftmax,
    labels: Any,
    features: Any,
) -> Any:
    """Equals `loss(labels, softmax(upsampling(features)))`, cropped to the labels, up to rounding.

    Args:
        loss: a loss of `keras_dup.losses` that `packs`.
        upsampling: the `DUpsampling` layer.
        softmax: the `AdaptiveTemperatureSoftmax` layer.
        labels: (B, H, W) class ids, H and W known.
        features: (B, ceil(H/r), ceil(W/r), C~) or more of them; B may be unknown.

    Returns: a scalar, with gradients for features, T and, where `upsampling` is trainable, W and
        the mean.
    """
    ratio, classes, (height, width) = upsampling.ratio, upsampling.num_classes, labels.shape[1:]
    terms = weighted(loss)
    labels = _packed(ops.cast(labels, "int32"), ratio)  # (B, h*w, r*r)
    labels, valid = valid_labels(labels, terms[0][1].ignore_class)
    features = features[:, : -(-height // ratio), : -(-width // ratio)]
    features = ops.reshape(features, (-1, labels.shape[1], features.shape[-1]))
    head = (softmax.log_temperature, upsampling.kernel[0, 0], upsampling.bias)
    variables = [features, *(ops.cast(variable, "float32") for variable in head)]
    known = [ops.stop_gradient(variable) for variable in variables]
    of_pixels = [(share, term) for share, term in terms if isinstance(term, PixelCrossentropy)]
    of_regions = [(share, term) for share, term in terms if isinstance(term, RegionLoss)]
    windows = _Windows(features.shape, ratio**2, classes, of_pixels[0][1] if of_pixels else None)
    weights, slopes, total = ops.zeros_like(valid), None, 0.0
    for share, term in of_pixels:
        losses = windows.losses(labels, *known) if term.mines else None
        weights = term.weights(labels, valid, losses, classes, height * width)
        weights = share * ops.divide_no_nan(weights, over_replicas(ops.sum(weights)))
    if of_regions:
        areas = over_replicas(windows.areas(labels, valid, *known))
        total = sum(share * term.value(areas) for share, term in of_regions) / replicas()
        slopes = [share * ops.stack(term.slopes(areas)) for share, term in of_regions]
        slopes = sum(slopes)  # (2, K)
    parts = (labels, valid, weights, slopes)
    return total + windows.total(parts, variables, upsampling.trainable)


def _packed(labels, ratio):
    """(B, H, W) -> (B, h*w, r*r) in the order of W; positions beyond the edge become -1."""
    missing = [(0, -side % ratio) for side in labels.shape[1:]]
    labels = ops.pad(labels, ((0, 0), *missing), constant_values=-1)
    height, width = (side // ratio for side in labels.shape[1:])
    windows = ops.reshape(labels, (-1, height, ratio, width, ratio))
    windows = ops.transpose(windows, (0, 1, 3, 2, 4))
    return ops.reshape(windows, (-1, height * width, ratio**2))


class _Windows:
    """The windows (B, N, ...) of a batch, processed in parts of n windows per image."""

    def __init__(self, shape, pixels, classes, crossentropy):
        batch, self.count, self.channels = shape
        self.pixels, self.classes, self.crossentropy = pixels, classes, crossentropy
        at_once = SCORES // (pixels * classes * (batch or 1))
        self.parts = -(-self.count // max(1, at_once))
        self.size = -(-self.count // self.parts)

    def losses(self, labels, features, log_temperature, kernel, bias):
        """(B, N, r*r): the cross-entropy of every pixel."""

        def of_part(part):
            return self._losses(*self._scores(*part, log_temperature, kernel, bias))[0]

        return self._joined(ops.map(of_part, tuple(map(self._split, (features, labels)))))

    def areas(self, labels, valid, features, log_temperature, kernel, bias):
        """(3, K): sums of t p, of p and of t over the labelled pixels, as in `RegionLoss`."""

        def of_part(part):
            *part, mask = part
            scores, truth = self._scores(*part, log_temperature, kernel, bias)
            p, truth = ops.softmax(scores, axis=-1) * mask[..., None], truth * mask[..., None]
            return ops.stack([ops.sum(x, axis=(0, 1, 2)) for x in (truth * p, p, truth)])

        parts = tuple(map(self._split, (features, labels, valid)))
        return ops.sum(ops.map(of_part, parts), axis=0)

    def total(self, parts, variables, trainable):
        """The sum of weights * losses; its gradient is computed in the same pass.

        Args:
            parts: labels, valid, weights and slopes. The last are the derivatives of the loss of
                regions with respect to the sums of t p and of p, (2, K), or None; they are added to
                the gradient only.
            variables: features, log_temperature, kernel, bias.
            trainable: whether kernel and bias have gradients.
        """
        _, _, kernel, bias = variables
        variables = variables if trainable else variables[:2]

        @ops.custom_gradient
        def weighted(features, log_temperature, kernel=kernel, bias=bias):
            given = parts, (features, log_temperature, kernel, bias)
            in_parts = functools.partial(self._in_parts, *given, trainable)
            if not trainable and self._tiles(features, parts[-1]):
                from keras_dup._jax import head

                in_tiles = functools.partial(self._in_tiles, *given, head.loss_and_slopes)
                total, *found = head.on_gpu(in_tiles, in_parts)
            else:
                total, *found = in_parts()

            def gradient(*arguments, upstream=None):  # on PyTorch by its name, after `variables`
                upstream = arguments[0] if upstream is None else upstream
                # float32 times the loss scale first: float16 would lose small gradients before it
                upstream = ops.cast(upstream, "float32")
                return tuple(
                    ops.cast(upstream * slope, variable.dtype)
                    for slope, variable in zip(found, variables, strict=True)
                )

            return total, gradient

        return weighted(*variables)

    def _in_parts(self, parts, variables, trainable):
        """The sum of weights * losses and its derivative by each variable, some windows at a time.

        Without `trainable` there is none by kernel and bias. Arguments as in `total`.
        """
        labels, valid, weights, slopes = parts
        features, log_temperature, kernel, bias = variables

        def of_part(part):
            x, y, v, w = part
            scores, truth = self._scores(x, y, log_temperature, kernel, bias)
            losses, slope, p = self._losses(scores, truth)
            slope = slope * w[..., None]
            if slopes is not None:
                of_p = v[..., None] * (slopes[0] * truth + slopes[1])
                slope += p * (of_p - ops.sum(p * of_p, axis=-1, keepdims=True))
            unscaled = slope * ops.exp(-log_temperature)
            unscaled = ops.reshape(unscaled, (-1, self.size, self.pixels * self.classes))
            found = [ops.sum(losses * w), ops.matmul(unscaled, ops.transpose(kernel))]
            found.append(-ops.sum(slope * scores))
            if trainable:
                flat = ops.reshape(unscaled, (-1, self.pixels * self.classes))
                x = ops.reshape(ops.cast(x, "float32"), (-1, self.channels))
                found += [ops.matmul(ops.transpose(x), flat), ops.sum(flat, axis=0)]
            return tuple(found)

        parts = tuple(map(self._split, (features, labels, valid, weights)))
        total, of_features, *others = ops.map(of_part, parts)
        others = (ops.sum(other, axis=0) for other in others)
        return (ops.sum(total), self._joined(of_features), *others)

    def _tiles(self, features, slopes):
        """Whether the kernel of `keras_dup._jax.head` computes this loss: plain cross-entropy."""
        if keras.backend.backend() != "jax" or slopes is not None:
            return False
        from keras_dup._jax import head

        return bool(self.crossentropy) and not self.crossentropy.gamma and head.fits(features)

    def _in_tiles(self, parts, variables, loss_and_slopes):
        """`_in_parts` by `loss_and_slopes` of `keras_dup._jax.head`."""
        labels, _, weights, _ = parts
        features, log_temperature, kernel, bias = variables
        total, of_features, of_temperature = loss_and_slopes(
            ops.reshape(features, (-1, self.channels)),
            log_temperature,
            ops.transpose(
                ops.reshape(kernel, (self.channels, self.pixels, self.classes)), (2, 0, 1)
            ),
            ops.transpose(ops.reshape(bias, (self.pixels, self.classes))),
            ops.reshape(labels, (-1, self.pixels)),
            ops.reshape(weights, (-1, self.pixels)),
            self.crossentropy.label_smoothing,
        )
        return total, ops.reshape(of_features, features.shape), of_temperature

    def _scores(self, features, labels, log_temperature, kernel, bias):
        """Scores / T and one-hot labels of n windows per image, each (B, n, r*r, K)."""
        scores = ops.matmul(features, ops.cast(kernel, features.dtype))
        scores = (ops.cast(scores, "float32") + bias) * ops.exp(-log_temperature)
        scores = ops.reshape(scores, (-1, *labels.shape[1:], self.classes))
        return scores, ops.one_hot(labels, self.classes, dtype="float32")

    def _losses(self, scores, targets):
        """The losses (B, n, r*r) of pixels, their derivatives with respect to each score / T, and
        the probabilities.
        """
        smoothing = self.crossentropy.label_smoothing if self.crossentropy else 0
        gamma = self.crossentropy.gamma if self.crossentropy else 0
        if smoothing:
            targets = (1 - smoothing) * targets + smoothing / self.classes
        largest = ops.max(scores, axis=-1, keepdims=True)
        exponentials = ops.exp(scores - largest)
        sums = ops.sum(exponentials, axis=-1, keepdims=True)
        losses = (ops.log(sums) + largest)[..., 0] - ops.sum(scores * targets, axis=-1)
        p = exponentials / sums
        slopes = p - targets
        if gamma:
            factor = focal_factor(losses, gamma)
            of_factor = gamma * focal_factor(losses, gamma - 1) * ops.exp(-losses) * losses
            losses, slopes = losses * factor, slopes * (factor + of_factor)[..., None]
        return losses, slopes, p

    def _split(self, x):
        """(B, N, ...) -> (parts, B, n, ...), padded with zeros."""
        missing = self.parts * self.size - self.count
        x = ops.pad(x, ((0, 0), (0, missing), *[(0, 0)] * (len(x.shape) - 2)))
        x = ops.reshape(x, (-1, self.parts, self.size, *x.shape[2:]))
        return ops.moveaxis(x, 1, 0)

    def _joined(self, parts):
        """The inverse of `_split`."""
        x = ops.moveaxis(parts, 0, 1)
        return ops.reshape(x, (-1, self.parts * self.size, *x.shape[3:]))[:, : self.count]
