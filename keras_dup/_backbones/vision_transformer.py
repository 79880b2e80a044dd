"""The vision transformer (Dosovitskiy et al. 2021), whose features all have the size of a patch.

Source of the definition: Table 1 and Eqs. 1-4 of the paper; `ViTBackbone` of keras-hub, whose
weights fit. Here it takes images of any size: position embeddings are interpolated to the patches
that there are, as the paper does for larger images (Sec. 3.2), and every layer but two is one of
Keras's. The input is image / 127.5 - 1.
"""

from typing import Any

import keras
from keras import layers, ops

from keras_dup.layers import EdgePadding

__all__ = ["PatchMap", "PatchTokens", "copy_vit", "vit_base_patch16"]

PATCH = 16  # pixels
VIT_BASE = {"blocks": 12, "heads": 12, "channels": 768, "grid": 24}  # 24 x 24 patches: 384 x 384


def vit_base_patch16(image: Any, output_stride: int = 16, centred: bool = True) -> dict[str, Any]:
    """ViT-B/16. Features: b1 ... b12, of the blocks, and the last one after layer norm, 768.

    All are at stride 16, at the centres of the patches: there is no finer one.
    """
    if output_stride != PATCH:
        raise ValueError(
            f"build: output_stride={output_stride}; a vision transformer has the stride of its "
            f"patches, {PATCH}"
        )
    return _vit(image, **VIT_BASE)


def _vit(image, blocks, heads, channels, grid):
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescaling")(image)
    x = EdgePadding(PATCH, name="patch_padding")(x)
    patches = layers.Conv2D(channels, PATCH, strides=PATCH, name="patch_embedding")(x)
    x, features = PatchTokens(grid, name="tokens")(patches), {}
    for name in (f"b{i}" for i in range(1, blocks + 1)):
        x = _block(x, heads, name)
        features[name] = PatchMap(name=f"{name}_map")([x, patches])
    x = _normalized(x, "last")
    return {**features, "last": PatchMap(name="last_map")([x, patches])}


def _block(x, heads, name):
    """Self-attention and two dense layers, each after layer norm and added to what it reads."""
    y, channels = _normalized(x, f"{name}_1"), x.shape[-1]
    y = layers.MultiHeadAttention(heads, channels // heads, name=f"{name}_attention")(y, y)
    x = layers.Add(name=f"{name}_1_add")([x, y])
    y = layers.Dense(4 * channels, "gelu", name=f"{name}_dense1")(_normalized(x, f"{name}_2"))
    y = layers.Dense(channels, name=f"{name}_dense2")(y)
    return layers.Add(name=f"{name}_2_add")([x, y])


def _normalized(x, name):
    return layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm")(x)


def copy_vit(source: keras.Model, model: keras.Model) -> None:
    """Gives a network with a ViT of this file the weights of a `keras_hub.models.ViTBackbone`."""
    embedding = source.get_layer("vit_patching_and_embedding")
    encoder = source.get_layer("vit_encoder")
    pairs = {"patch_embedding": embedding.patch_embedding, "last_norm": encoder.layer_norm}
    for i, block in enumerate(encoder.encoder_layers, 1):
        pairs |= {f"b{i}_1_norm": block.layer_norm_1, f"b{i}_attention": block.mha}
        pairs |= {f"b{i}_2_norm": block.layer_norm_2}
        pairs |= {f"b{i}_dense1": block.mlp.dense_1, f"b{i}_dense2": block.mlp.dense_2}
    for name, layer in pairs.items():
        model.get_layer(name).set_weights(layer.get_weights())
    tokens = model.get_layer("tokens")
    tokens.class_token.assign(embedding.class_token)
    tokens.position_embedding.assign(embedding.position_embedding.embeddings)


@keras.saving.register_keras_serializable(package="keras_dup")
class PatchTokens(keras.layers.Layer):
    """Patches as a sequence: a class token before them, and an embedding of its place on each.

    Embeddings are learned for grid x grid patches and bilinearly interpolated to h x w.

    Args:
        grid: side of the square of patches that the embeddings are of.

    Input: (B, h, w, C).  Output: (B, 1 + h*w, C).
    """

    def __init__(self, grid: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = grid

    def build(self, input_shape):
        channels, normal = input_shape[-1], keras.initializers.RandomNormal(stddev=0.02)
        self.class_token = self.add_weight(
            name="class_token", shape=(1, 1, channels), initializer=normal
        )
        self.position_embedding = self.add_weight(
            name="position_embedding", shape=(1 + self.grid**2, channels), initializer=normal
        )

    def call(self, x):
        batch, height, width, channels = ops.shape(x)
        embedding = ops.convert_to_tensor(self.position_embedding)
        places = ops.reshape(embedding[1:], (self.grid, self.grid, channels))
        places = ops.tensordot(self._shares(height), places, 1)  # (h, grid, C)
        places = ops.tensordot(self._shares(width), ops.transpose(places, (1, 0, 2)), 1)
        x = x + ops.transpose(places, (1, 0, 2))
        first = ops.broadcast_to(self.class_token + embedding[0], (batch, 1, channels))
        x = ops.reshape(x, (batch, height * width, channels))
        return ops.concatenate([first, x], axis=1)

    def _shares(self, size):
        """(size, grid): the weights of bilinear interpolation between the centres of patches."""
        ratio = self.grid / ops.cast(size, "float32")
        places = (ops.arange(size, dtype="float32") + 0.5) * ratio - 0.5
        places = ops.clip(places, 0, self.grid - 1)
        distances = places[:, None] - ops.arange(self.grid, dtype="float32")
        return ops.cast(ops.relu(1 - ops.abs(distances)), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, None if None in (height, width) else 1 + height * width, channels)

    def get_config(self):
        return {**super().get_config(), "grid": self.grid}


@keras.saving.register_keras_serializable(package="keras_dup")
class PatchMap(keras.layers.Layer):
    """The last h*w tokens as a map; the class token, which is before them, is left out.

    Input: [(B, any + h*w, C), (B, h, w, any)].  Output: (B, h, w, C).
    """

    def call(self, inputs):
        x, like = inputs
        batch, height, width, _ = ops.shape(like)
        return ops.reshape(x[:, -height * width :], (batch, height, width, x.shape[-1]))

    def compute_output_shape(self, input_shapes):
        tokens, like = input_shapes
        return (*like[:3], tokens[-1])
