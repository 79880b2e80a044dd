"""ResNet v1 "beta" as DeepLab modified it: three 3x3 convolutions in the root (Chen et al. 2018).

Source of the definition: tensorflow/models, research/deeplab/core/resnet_v1_beta.py. A block's
stride is in its *last* unit, batch norm has epsilon 1e-5, and past the output stride the rate of
the 3x3 convolutions grows instead of the stride. The input is image / 127.5 - 1, as
feature_extractor.py beside it has it for the beta variants.
"""

from keras import layers

# base depth, units, stride of the last unit
RESNET50 = ((64, 3, 2), (128, 4, 2), (256, 6, 2), (512, 3, 1))


def resnet50(image, output_stride=16):
    """ResNet-50 beta. Features: conv1_1..3 (stride 2) and b{block}u{unit}c{conv}, 2048 at the end.

    conv 3 of a unit is named before the shortcut is added, as DeepLab's decoder takes it
    (b1u2c3: 256 channels at stride 4).
    """
    return _resnet(image, RESNET50, output_stride)


def _resnet(image, blocks, output_stride):
    features = {}
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescaling")(image)
    for name, filters, stride in (("conv1_1", 64, 2), ("conv1_2", 64, 1), ("conv1_3", 128, 1)):
        x = features[name] = _convolution(x, filters, 3, stride, name=name)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # after ReLU, a zero never is the maximum
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    current_stride, rate = 4, 1
    for block, (depth, units, block_stride) in enumerate(blocks, start=1):
        for unit in range(1, units + 1):
            stride = block_stride if unit == units else 1
            if current_stride == output_stride:
                unit_stride, unit_rate, rate = 1, rate, rate * stride
            else:
                unit_stride, unit_rate, current_stride = stride, 1, current_stride * stride
            x = _bottleneck(x, depth, unit_stride, unit_rate, f"b{block}u{unit}", features)
    features["last"] = x
    return features


def _bottleneck(x, depth, stride, rate, name, features):
    if x.shape[-1] == 4 * depth:
        shortcut = layers.MaxPooling2D(1, stride, name=f"{name}_shortcut")(x) if stride > 1 else x
    else:
        shortcut = _convolution(x, 4 * depth, 1, stride, name=f"{name}_shortcut", relu=False)
    x = features[f"{name}c1"] = _convolution(x, depth, 1, name=f"{name}c1")
    x = features[f"{name}c2"] = _convolution(x, depth, 3, stride, rate, name=f"{name}c2")
    x = features[f"{name}c3"] = _convolution(x, 4 * depth, 1, name=f"{name}c3", relu=False)
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _convolution(x, filters, kernel_size, stride=1, rate=1, *, name, relu=True):
    if stride > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        dilation_rate=rate,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_conv_relu")(x) if relu else x
