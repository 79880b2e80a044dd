"""Slow references in float64, written from the definitions: what the tests compare with."""

import numpy as np


def dupsampling(x, matrix, mean, ratio, num_classes):
    """(B, h, w, C~) -> (B, h*r, w*r, K): every score by itself."""
    batch, height, width, _ = x.shape
    y = np.zeros((batch, height * ratio, width * ratio, num_classes))
    for b, i, j in np.ndindex(batch, height, width):
        for p, q, k in np.ndindex(ratio, ratio, num_classes):
            column = (p * ratio + q) * num_classes + k
            score = sum(
                float(v) * float(m) for v, m in zip(x[b, i, j], matrix[:, column], strict=True)
            )
            y[b, i * ratio + p, j * ratio + q, k] = score + mean[column]
    return y


def softmax(x, temperature):
    """Eq. 6 over the last axis, float64."""
    e = np.exp(np.asarray(x, float) / temperature)
    return e / e.sum(-1, keepdims=True)


def bilinear_upsampling(x, ratio, centred=False):
    """(B, h, w, C) -> (B, h*r, w*r, C): interpolates between pixels i*r, edges repeated.

    Between the centres of windows with `centred`.
    """
    batch, height, width, channels = x.shape
    y = np.zeros((batch, height * ratio, width * ratio, channels))
    middle = (ratio - 1) / 2 if centred else 0
    for row, column in np.ndindex(height * ratio, width * ratio):
        (i, p), (j, q) = (divmod(max(0, place - middle), ratio) for place in (row, column))
        i, j = int(i), int(j)
        below, right = min(i + 1, height - 1), min(j + 1, width - 1)
        p, q = p / ratio, q / ratio
        upper = (1 - q) * x[:, i, j] + q * x[:, i, right]
        lower = (1 - q) * x[:, below, j] + q * x[:, below, right]
        y[:, row, column] = (1 - p) * upper + p * lower
    return y


def label_windows(label_map, ratio, num_classes, ignore_class):
    """(H, W) -> list of ((r*r*C,) one-hot, is it void throughout), void taken from the nearest."""
    valid = [p for p in np.ndindex(label_map.shape) if label_map[p] != ignore_class]
    (height, width), windows = label_map.shape, []
    for top, left in np.ndindex(-(-height // ratio), -(-width // ratio)):
        v, void = np.zeros((ratio, ratio, num_classes)), True
        for p, q in np.ndindex(ratio, ratio):
            i, j = top * ratio + p, left * ratio + q
            void = void and (i >= height or j >= width or label_map[i, j] == ignore_class)
            i, j = min(i, height - 1), min(j, width - 1)
            nearest = min(valid, key=lambda at: (at[0] - i) ** 2 + (at[1] - j) ** 2)
            v[p, q, label_map[nearest]] = 1
        windows.append((v.ravel(), void))
    return windows


def label_pca(label_maps, ratio, num_classes, ignore_class):
    """Tian et al. 2019, Eq. 3, dense -> eigenvalues (falling), eigenvectors as rows, mean."""
    windows = [w for y in label_maps for w in label_windows(y, ratio, num_classes, ignore_class)]
    v = np.array([one_hot for one_hot, void in windows if not void])
    mean = v.mean(0)
    values, vectors = np.linalg.eigh((v - mean).T @ (v - mean) / len(v))
    return values[::-1], vectors.T[::-1], mean


def mean_iou(label_maps, predicted, ignore_class):
    """Over the classes that occur in the label maps, void pixels left out."""
    pairs = np.array(
        [
            (true[p], guess[p])
            for true, guess in zip(label_maps, predicted, strict=True)
            for p in np.ndindex(true.shape)
            if true[p] != ignore_class
        ]
    )
    true, guess = pairs.T
    return np.mean(
        [np.sum((true == k) & (guess == k)) / np.sum((true == k) | (guess == k)) for k in set(true)]
    )


def iou(pairs, num_classes, void):
    """IoU per class over (truth, prediction) label maps, None where the class is in neither."""
    result = []
    for k in range(num_classes):
        both = either = 0
        for truth, prediction in pairs:
            for t, p in zip(truth.ravel(), prediction.ravel(), strict=True):
                if t != void:
                    both += t == k and p == k
                    either += t == k or p == k
        result.append(both / either if either else None)
    return result


def convolution(x, kernel, stride=1, rate=1):
    """(H, W, C) * (k, k, C, F) -> (ceil(H/s), ceil(W/s), F), float64: position by position.

    Output i is centred on input i * stride; what lies outside is zero (`conv2d_same`, DeepLab).
    """
    (height, width, _), half = x.shape, kernel.shape[0] // 2
    y = np.zeros((-(-height // stride), -(-width // stride), kernel.shape[3]))
    for i, j, p, q in np.ndindex(*y.shape[:2], *kernel.shape[:2]):
        row, column = i * stride + (p - half) * rate, j * stride + (q - half) * rate
        if 0 <= row < height and 0 <= column < width:
            y[i, j] += x[row, column].astype(float) @ kernel[p, q].astype(float)
    return y


def depthwise_convolution(x, kernel, stride=1, rate=1):
    """(H, W, C) with (k, k, C, 1): each channel by itself, positions as in `convolution`."""
    full = np.zeros((*kernel.shape[:2], x.shape[2], x.shape[2]))
    full[..., range(x.shape[2]), range(x.shape[2])] = kernel[..., 0]
    return convolution(x, full, stride, rate)


def normalized(x, values, scope, epsilon):
    """Batch norm of inference with the variables of `scope` in a DeepLab checkpoint."""
    of = {n: values[f"{scope}/BatchNorm/{n}"].astype(float) for n in _BATCH_NORM}
    scale = of["gamma"] / np.sqrt(of["moving_variance"] + epsilon)
    return (x - of["moving_mean"]) * scale + of["beta"]


_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def relu(x):
    return np.maximum(x, 0)


def convolved(x, values, scope, epsilon, stride=1, rate=1):
    """Convolution and batch norm of a DeepLab scope, no activation."""
    if f"{scope}/depthwise_weights" in values:
        x = depthwise_convolution(x, values[f"{scope}/depthwise_weights"], stride, rate)
    else:
        x = convolution(x, values[f"{scope}/weights"], stride, rate)
    return normalized(x, values, scope, epsilon)


def bottleneck(x, values, scope, stride=1, rate=1):
    """`bottleneck` of resnet_v1_beta.py -> its conv3 (without shortcut) and its output."""
    if f"{scope}/shortcut/weights" in values:
        shortcut = convolved(x, values, f"{scope}/shortcut", 1e-5, stride)
    else:
        shortcut = x[::stride, ::stride]
    x = relu(convolved(x, values, f"{scope}/conv1", 1e-5))
    x = relu(convolved(x, values, f"{scope}/conv2", 1e-5, stride, rate))
    x = convolved(x, values, f"{scope}/conv3", 1e-5)
    return x, relu(shortcut + x)


def xception_module(x, values, scope, skip, stride=1, rate=1):
    """`xception_module` of xception.py -> its three separable convolutions and its output.

    skip: "conv", "sum" or "none", as there; "none" is the block with activations inside.
    """
    residual, separable = x, []
    for i in (1, 2, 3):
        inside = relu if skip == "none" else (lambda y: y)
        residual = residual if skip == "none" else relu(residual)
        for part in ("depthwise", "pointwise"):
            s, r = (stride if i == 3 else 1, rate) if part == "depthwise" else (1, 1)
            residual = inside(
                convolved(residual, values, f"{scope}/separable_conv{i}_{part}", 1e-3, s, r)
            )
        separable.append(residual)
    if skip == "conv":
        return separable, residual + convolved(x, values, f"{scope}/shortcut", 1e-3, stride)
    return separable, residual + x if skip == "sum" else residual


def aspp(x, values, rates):
    """ASPP of DeepLab's model.py: (h, w, C) -> (h, w, 256)."""
    pooled = relu(convolved(x.mean((0, 1), keepdims=True), values, "image_pooling", 1e-5))
    branches = [np.broadcast_to(pooled, (*x.shape[:2], 256))]
    branches.append(relu(convolved(x, values, "aspp0", 1e-5)))
    for i, rate in enumerate(rates, 1):
        y = relu(convolved(x, values, f"aspp{i}_depthwise", 1e-5, 1, rate))
        branches.append(relu(convolved(y, values, f"aspp{i}_pointwise", 1e-5)))
    return relu(convolved(np.concatenate(branches, -1), values, "concat_projection", 1e-5))


def deeplab_decoder(x, feature, values, ratio):
    """`refine_by_decoder` and logits of model.py: x at 1/ratio of the feature's size."""
    x = bilinear_upsampling(x[None], ratio)[0][: feature.shape[0], : feature.shape[1]]
    feature = relu(convolved(feature, values, "decoder/feature_projection0", 1e-5))
    x = np.concatenate([x, feature], -1)
    for i in (0, 1):
        for part in ("depthwise", "pointwise"):
            x = relu(convolved(x, values, f"decoder/decoder_conv{i}_{part}", 1e-5))
    return convolution(x, values["logits/semantic/weights"]) + values["logits/semantic/biases"]


def resampled(label_map, ratio, num_classes, ignore_class, method):
    """(H, W) -> (H, W): labels at 1 / r of the size and up again, pixel by pixel."""
    (height, width), result = label_map.shape, np.zeros(label_map.shape, int)
    h, w = -(-height // ratio), -(-width // ratio)
    windows = label_windows(label_map, ratio, num_classes, ignore_class)
    windows = [v.reshape(ratio, ratio, num_classes) * (not void) for v, void in windows]
    windows = np.array(windows).reshape(h, w, ratio, ratio, num_classes)
    for i, j in np.ndindex(height, width):
        if method == "nearest":
            centre = windows[i // ratio, j // ratio, ratio // 2, ratio // 2]
            result[i, j] = centre.argmax()
            continue
        y, x = (i + 0.5) / ratio - 0.5, (j + 0.5) / ratio - 0.5  # in windows, from centre to centre
        score = np.zeros(num_classes, np.float32)
        for top, left in np.ndindex(2, 2):
            row, column = int(np.floor(y)) + top, int(np.floor(x)) + left
            weight = (1 - abs(y - row)) * (1 - abs(x - column))
            row, column = np.clip(row, 0, h - 1), np.clip(column, 0, w - 1)
            score += np.float32(weight * windows[row, column].mean((0, 1)))
        result[i, j] = score.argmax()
    return result


def fused(x, feature, values, name, ratio):
    """x at 1/ratio of the feature's size goes up to it and is fused with it -> (H, W, filters).

    The scopes in `values` are those of `keras_dup._decoders`; a projection kernel of k x k reads
    the k x k values that `space_to_depth` puts into channels.
    """
    kernel = values[f"fuse_{name}_projection/weights"]
    if len(kernel) > 1:
        feature = space_to_depth(feature, len(kernel))
        kernel = kernel.reshape(1, 1, -1, kernel.shape[-1])
    detail = convolved(feature, {**values, f"fuse_{name}_projection/weights": kernel},
                       f"fuse_{name}_projection", 1e-5)  # fmt: skip
    if f"fuse_{name}_context/weights" in values:
        x = relu(convolved(x, values, f"fuse_{name}_context", 1e-5))
    if ratio > 1:
        x = bilinear_upsampling(x[None], ratio)[0][: detail.shape[0], : detail.shape[1]]
    x = np.concatenate([x, relu(detail)], -1)
    for i in (1, 2):
        for part in ("depthwise", "pointwise"):
            x = relu(convolved(x, values, f"fuse_{name}_{i}_{part}", 1e-5))
    return x


def space_to_depth(x, ratio):
    """(H, W, C) -> (ceil(H/r), ceil(W/r), r*r*C), the last row and column repeated."""
    height, width, channels = x.shape
    y = np.zeros((-(-height // ratio), -(-width // ratio), ratio, ratio, channels))
    for i, j, p, q in np.ndindex(y.shape[:4]):
        row, column = min(i * ratio + p, height - 1), min(j * ratio + q, width - 1)
        y[i, j, p, q] = x[row, column]
    return y.reshape(*y.shape[:2], -1)
