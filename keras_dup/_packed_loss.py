"""The cross-entropy of a DUpsampling network, computed without the scores of all pixels at once.

The scores of a batch, one number per pixel and class, fill the memory in training: 158 MB per image
at 150 classes and 513 x 513, several times over. But DUpsampling is linear and works window by
window, so scores, loss and gradient are computed for some windows at a time. Only the gradient with
respect to the features is kept: C~ numbers per window.
"""

from typing import Any

from keras import ops

from keras_dup.layers import AdaptiveTemperatureSoftmax, DUpsampling
from keras_dup.losses import PixelCrossentropy, over_replicas

__all__ = ["packed_crossentropy"]

SCORES = 2**20  # the number of scores that exist at the same time


def packed_crossentropy(
    loss: PixelCrossentropy,
    upsampling: DUpsampling,
    softmax: AdaptiveTemperatureSoftmax,
    labels: Any,
    features: Any,
) -> Any:
    """Equals `loss(labels, softmax(upsampling(features)))`, cropped to the labels, up to rounding.

    Args:
        loss: a `PixelCrossentropy`.
        upsampling: the `DUpsampling` layer.
        softmax: the `AdaptiveTemperatureSoftmax` layer.
        labels: (B, H, W) class ids, H and W known.
        features: (B, ceil(H/r), ceil(W/r), C~) or more of them; B may be unknown.

    Returns: a scalar, with gradients for features, T and, where `upsampling` is trainable, W and
        the mean.
    """
    ratio, classes, (height, width) = upsampling.ratio, upsampling.num_classes, labels.shape[1:]
    pixels = height * width
    labels, valid = loss.valid(_packed(ops.cast(labels, "int32"), ratio))  # (B, h*w, r*r)
    features = features[:, : -(-height // ratio), : -(-width // ratio)]
    features = ops.reshape(features, (-1, labels.shape[1], features.shape[-1]))
    variables = (softmax.log_temperature, upsampling.kernel[0, 0], upsampling.bias)
    temperature, kernel, mean = (ops.cast(variable, "float32") for variable in variables)
    windows = _Windows(features.shape, ratio**2, classes, loss.label_smoothing)
    losses = None
    if loss.mines:
        known = map(ops.stop_gradient, (features, temperature, kernel, mean))
        losses = windows.losses(labels, *known)
    weights = loss.weights(labels, valid, losses, classes, pixels)
    weights = ops.divide_no_nan(weights, over_replicas(ops.sum(weights)))
    return windows.total(labels, weights, features, temperature, kernel, mean, upsampling.trainable)


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

    def __init__(self, shape, pixels, classes, smoothing):
        batch, self.count, self.channels = shape
        self.pixels, self.classes, self.smoothing = pixels, classes, smoothing
        at_once = SCORES // (pixels * classes * (batch or 1))
        self.parts = -(-self.count // max(1, at_once))
        self.size = -(-self.count // self.parts)

    def losses(self, labels, features, log_temperature, kernel, bias):
        """(B, N, r*r): the cross-entropy of every pixel."""

        def of_part(part):
            return self._losses(*self._scores(*part, log_temperature, kernel, bias))[0]

        return self._joined(ops.map(of_part, tuple(map(self._split, (features, labels)))))

    def total(self, labels, weights, features, log_temperature, kernel, bias, trainable):
        """The sum of weights * losses; its gradient is computed in the same pass."""
        variables = [features, log_temperature]
        variables += [kernel, bias] if trainable else []

        @ops.custom_gradient
        def weighted(features, log_temperature, kernel=kernel, bias=bias):
            def of_part(part):
                x, y, w = part
                scores, targets = self._scores(x, y, log_temperature, kernel, bias)
                losses, slopes = self._losses(scores, targets)
                slopes = slopes * w[..., None]
                unscaled = slopes * ops.exp(-log_temperature)
                unscaled = ops.reshape(unscaled, (-1, self.size, self.pixels * self.classes))
                found = [ops.sum(losses * w), ops.matmul(unscaled, ops.transpose(kernel))]
                found.append(-ops.sum(slopes * scores))
                if trainable:
                    flat = ops.reshape(unscaled, (-1, self.pixels * self.classes))
                    x = ops.reshape(ops.cast(x, "float32"), (-1, self.channels))
                    found += [ops.matmul(ops.transpose(x), flat), ops.sum(flat, axis=0)]
                return tuple(found)

            parts = tuple(map(self._split, (features, labels, weights)))
            total, slopes, *others = ops.map(of_part, parts)
            found = [self._joined(slopes), *(ops.sum(other, axis=0) for other in others)]

            def gradient(upstream):
                # float32 times the loss scale first: float16 would lose small gradients before it
                upstream = ops.cast(upstream, "float32")
                return [
                    ops.cast(upstream * slope, variable.dtype)
                    for slope, variable in zip(found, variables, strict=True)
                ]

            return ops.sum(total), gradient

        return weighted(*variables)

    def _scores(self, features, labels, log_temperature, kernel, bias):
        """Scores / T and one-hot labels of n windows per image, each (B, n, r*r, K)."""
        scores = ops.matmul(features, ops.cast(kernel, features.dtype))
        scores = (ops.cast(scores, "float32") + bias) * ops.exp(-log_temperature)
        scores = ops.reshape(scores, (-1, *labels.shape[1:], self.classes))
        return scores, ops.one_hot(labels, self.classes, dtype="float32")

    def _losses(self, scores, targets):
        """The losses (B, n, r*r) and their derivatives with respect to each score / T."""
        if self.smoothing:
            targets = (1 - self.smoothing) * targets + self.smoothing / self.classes
        largest = ops.max(scores, axis=-1, keepdims=True)
        exponentials = ops.exp(scores - largest)
        sums = ops.sum(exponentials, axis=-1, keepdims=True)
        losses = (ops.log(sums) + largest)[..., 0] - ops.sum(scores * targets, axis=-1)
        return losses, exponentials / sums - targets

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
