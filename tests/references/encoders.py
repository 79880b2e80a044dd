"""keras-hub's backbones with random weights, few layers and narrow ones, and the published strides.

Each is a function without arguments; its name is the first column of the table in docs/networks.md.
"""

import keras_hub

SIZE = 64  # of backbones that take one size
backbones = keras_hub.models


def resnet():
    return backbones.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 8, 8, 8],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        use_pre_activation=False,
    )


def cspnet():
    return backbones.CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1] * 5,
        stackwise_strides=[2] * 5,
        stackwise_num_filters=[8] * 5,
        block_type="dark_block",
        stage_type="csp",
        bottle_ratio=[0.5, 1.0],
        block_ratio=[1.0, 0.5],
        expand_ratio=[2.0, 1.0],
        stem_padding="same",
    )


def densenet():
    return backbones.DenseNetBackbone([1, 1, 1, 1], growth_rate=4)


def efficientnet():
    stages = 5
    return backbones.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * stages,
        stackwise_depth_coefficients=[1.0] * stages,
        stackwise_kernel_sizes=[3] * stages,
        stackwise_num_repeats=[1] * stages,
        stackwise_input_filters=[8] * stages,
        stackwise_output_filters=[8] * stages,
        stackwise_expansion_ratios=[1, 2, 2, 2, 2],
        stackwise_squeeze_and_excite_ratios=[0.25] * stages,
        stackwise_strides=[1, 2, 2, 2, 2],
        stackwise_block_types=["v1"] * stages,
        stackwise_force_input_filters=[0] * stages,
        stackwise_nores_option=[False] * stages,
        num_features=16,
    )


def mobilenet():
    stages = 4
    return backbones.MobileNetBackbone(
        stackwise_expansion=[[16]] * stages,
        stackwise_num_blocks=[1] * stages,
        stackwise_num_filters=[[8]] * stages,
        stackwise_kernel_size=[[3]] * stages,
        stackwise_num_strides=[[2]] * stages,
        stackwise_se_ratio=[[None]] * stages,
        stackwise_activation=[["relu"]] * stages,
        stackwise_padding=[[1]] * stages,
        output_num_filters=16,
        depthwise_filters=16,
        depthwise_stride=1,
        depthwise_residual=True,
        last_layer_filter=16,
    )


def vgg():
    return backbones.VGGBackbone([1] * 5, [8] * 5)


def xception():
    filters = [[width, width] for width in (8, 10, 12, 14, 16, 18)]
    return backbones.XceptionBackbone(filters, [False, True, True, True, True, False])


def hgnetv2():
    return backbones.HGNetV2Backbone(
        depths=[1, 1, 1, 1],
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=False,
        stackwise_stage_filters=[(8, 8, 8, 1, 1, 3)] * 4,
        apply_downsample=[False, True, True, True],
        use_lightweight_conv_block=[False] * 4,
    )


def mit():
    return backbones.MiTBackbone(
        image_shape=(SIZE, SIZE, 3),
        layerwise_depths=[1, 1, 1, 1],
        num_layers=4,
        layerwise_num_heads=[1, 1, 1, 1],
        layerwise_sr_ratios=[8, 4, 2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        hidden_dims=[8, 10, 12, 14],  # SegFormer names its layers by them
    )


def swin():
    return backbones.SwinTransformerBackbone(
        image_shape=(SIZE, SIZE, 3),
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=2,
    )


def vit():
    return backbones.ViTBackbone(
        image_shape=(SIZE, SIZE, 3),
        patch_size=16,
        num_layers=1,
        num_heads=1,
        hidden_dim=8,
        mlp_dim=8,
    )


def deit():
    return backbones.DeiTBackbone(
        image_shape=(SIZE, SIZE, 3),
        patch_size=16,
        num_layers=1,
        num_heads=1,
        hidden_dim=8,
        intermediate_dim=8,
    )


def dinov3():
    return backbones.DINOV3Backbone(
        image_shape=(SIZE, SIZE, 3),
        patch_size=16,
        num_layers=1,
        num_heads=1,
        hidden_dim=8,
        intermediate_dim=8,
    )


def dinov2():
    return backbones.DINOV2Backbone(
        image_shape=(56, 56, 3),
        position_embedding_shape=(56, 56, 3),
        patch_size=14,
        num_layers=1,
        num_heads=1,
        hidden_dim=8,
        intermediate_dim=8,
    )


def vit_det():
    return backbones.ViTDetBackbone(
        image_shape=(SIZE, SIZE, 3),
        patch_size=16,
        num_layers=1,
        num_heads=1,
        hidden_size=8,
        intermediate_dim=8,
        global_attention_layer_indices=[0],
        window_size=2,
        num_output_channels=8,
    )
