"""DeepLab's variables as its sources define them, and checkpoints written with their names.

Written from tensorflow/models, research/deeplab (core/resnet_v1_beta.py, core/xception.py,
model.py), apart from `keras_dup._deeplab`, which it tests.
"""

import numpy as np


def variables(network, num_classes=None, low_level_channels=None):
    """{name: shape} of a checkpoint of ImageNet or, with num_classes, of a whole DeepLabv3+."""
    shapes = {}
    last = (_resnet if network.startswith("resnet") else _xception)(shapes, network)
    if num_classes is None:
        shapes[f"{network}/logits/weights"] = (1, 1, last, 1001)
        shapes[f"{network}/logits/biases"] = (1001,)
    else:
        _segmentation(shapes, last, num_classes, low_level_channels)
    weights = next(name for name in shapes if name.endswith("/weights"))
    shapes[f"{weights}/Momentum"] = shapes[weights]
    shapes["global_step"] = ()
    return shapes


def write(prefix, shapes, seed=0):
    """Writes a checkpoint of random values (that keep activations near one) and returns them."""
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    values = {name: _value(name, shape, rng) for name, shape in shapes.items()}
    names = sorted(values)
    tensors = [values[name] for name in names]
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=tensors,
    )
    return values


def _value(name, shape, rng):
    if name == "global_step":
        return np.int64(30000)
    if name.endswith("weights"):
        fan_in = np.prod(shape[:2]) * (1 if "depthwise" in name else shape[2])
        values = rng.normal(0, fan_in**-0.5, shape)
    elif name.endswith(("gamma", "moving_variance")):
        values = rng.uniform(0.5, 1.5, shape)
    else:
        values = rng.normal(0, 0.3, shape)
    return np.asarray(values, "float32")


def _convolution(shapes, scope, kernel, filters_in, filters):
    shapes[f"{scope}/weights"] = (kernel, kernel, filters_in, filters)
    _batch_norm(shapes, scope, filters)


def _depthwise(shapes, scope, filters):
    shapes[f"{scope}/depthwise_weights"] = (3, 3, filters, 1)
    _batch_norm(shapes, scope, filters)


def _batch_norm(shapes, scope, filters):
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        shapes[f"{scope}/BatchNorm/{name}"] = (filters,)


def _resnet(shapes, network):
    _convolution(shapes, f"{network}/conv1_1", 3, 3, 64)
    _convolution(shapes, f"{network}/conv1_2", 3, 64, 64)
    _convolution(shapes, f"{network}/conv1_3", 3, 64, 128)
    depth_in = 128
    units = {"resnet_v1_50": (3, 4, 6, 3), "resnet_v1_101": (3, 4, 23, 3)}[network]
    for block, count in enumerate(units, 1):
        base = 32 * 2**block
        for unit in range(1, count + 1):
            scope = f"{network}/block{block}/unit_{unit}/bottleneck_v1"
            if depth_in != 4 * base:
                _convolution(shapes, f"{scope}/shortcut", 1, depth_in, 4 * base)
            _convolution(shapes, f"{scope}/conv1", 1, depth_in, base)
            _convolution(shapes, f"{scope}/conv2", 3, base, base)
            _convolution(shapes, f"{scope}/conv3", 1, base, 4 * base)
            depth_in = 4 * base
    return depth_in


def _xception(shapes, network):
    _convolution(shapes, f"{network}/entry_flow/conv1_1", 3, 3, 32)
    _convolution(shapes, f"{network}/entry_flow/conv1_2", 3, 32, 64)
    entry = {"xception_65": (128, 256, 728), "xception_71": (128, 256, 256, 728, 728)}[network]
    modules = [
        (f"entry_flow/block{i}/unit_1", (depth,) * 3, True) for i, depth in enumerate(entry, 1)
    ]
    modules += [(f"middle_flow/block1/unit_{i}", (728,) * 3, False) for i in range(1, 17)]
    modules += [("exit_flow/block1/unit_1", (728, 1024, 1024), True)]
    modules += [("exit_flow/block2/unit_1", (1536, 1536, 2048), False)]
    depth_in = 64
    for module, depths, has_shortcut in modules:
        scope = f"{network}/{module}/xception_module"
        if has_shortcut:
            _convolution(shapes, f"{scope}/shortcut", 1, depth_in, depths[-1])
        for i, depth in enumerate(depths, 1):
            _depthwise(shapes, f"{scope}/separable_conv{i}_depthwise", depth_in)
            _convolution(shapes, f"{scope}/separable_conv{i}_pointwise", 1, depth_in, depth)
            depth_in = depth
    return depth_in


def _segmentation(shapes, last, num_classes, low_level_channels):
    _convolution(shapes, "image_pooling", 1, last, 256)
    _convolution(shapes, "aspp0", 1, last, 256)
    for i in (1, 2, 3):
        _depthwise(shapes, f"aspp{i}_depthwise", last)
        _convolution(shapes, f"aspp{i}_pointwise", 1, last, 256)
    _convolution(shapes, "concat_projection", 1, 5 * 256, 256)
    _convolution(shapes, "decoder/feature_projection0", 1, low_level_channels, 48)
    for i, filters_in in enumerate((256 + 48, 256)):
        _depthwise(shapes, f"decoder/decoder_conv{i}_depthwise", filters_in)
        _convolution(shapes, f"decoder/decoder_conv{i}_pointwise", 1, filters_in, 256)
    shapes["logits/semantic/weights"] = (1, 1, 256, num_classes)
    shapes["logits/semantic/biases"] = (num_classes,)
