"""A network as a list of its layers that plain JAX runs: on a GPU, for several networks at once.

`plan` reads a Keras model and gives JSON and arrays; nothing else here needs Keras. `forward` runs
the plan. A plan ends in logits: for training that is what `keras_dup.training` gives to its loss,
for predicting their argmax is that of the probabilities.
"""

import math
import zlib

import jax.numpy as jnp
import numpy as np

from research import on_device_layers as ops

__all__ = ["forward", "initial", "merge_centred", "plan", "split"]

_CEILINGS = {"relu": math.inf, "relu6": 6.0}
_UNDECAYED = ("gamma", "beta", "bias", "log_temperature")  # as in keras_dup.training
_NEW = ("aspp", "fuse_", "compressed", "scores", "dupsampling", "softmax", "interpolation")
_DRAWN = ("aspp", "fuse_", "scores", "compressed")


def plan(model, drawn=_DRAWN):
    """A functional model -> (list of layers as JSON, {layer/variable: value}).

    Batch norm takes the activation that follows it.

    Args:
        model: a functional `keras.Model`, each of its layers called once.
        drawn: how the names of layers begin whose kernels a seed draws; these have no value.
    """
    by_name, arrays, renamed, graph = {}, {}, {}, model.get_config()["layers"]
    sources = {facts["config"]["name"]: list(_sources(facts["inbound_nodes"])) for facts in graph}
    consumers = [source for several in sources.values() for source in several]
    for layer in model.layers:
        kind, config = type(layer).__name__, layer.get_config()
        before = by_name.get(sources[layer.name][0]) if sources[layer.name] else None
        if _is_activation_of(kind, before) and consumers.count(before["name"]) == 1:
            before["config"]["ceiling"] = _CEILINGS[config.get("activation", "relu")]
            renamed[layer.name] = before["name"]
            continue
        config = {k: v for k, v in config.items() if isinstance(v, (int, float, str, list, tuple))}
        by_name[layer.name] = {
            "name": layer.name,
            "kind": kind,
            "config": config,
            "inputs": [renamed.get(source, source) for source in sources[layer.name]],
            "variables": _variables(layer, drawn),
        }
        for variable in layer.variables:
            if not by_name[layer.name]["variables"][variable.name]["drawn"]:
                arrays[f"{layer.name}/{variable.name}"] = np.array(variable)
    return list(by_name.values()), arrays


def _sources(nodes):
    """The names of the layers whose outputs stand in a serialized call."""
    if isinstance(nodes, dict) and nodes.get("class_name") == "__keras_tensor__":
        yield nodes["config"]["keras_history"][0]
    elif isinstance(nodes, (dict, list, tuple)):
        for part in nodes.values() if isinstance(nodes, dict) else nodes:
            yield from _sources(part)


def _is_activation_of(kind, before):
    return kind in ("ReLU", "Activation") and before["kind"] == "BatchNormalization"


def _variables(layer, drawn):
    trainable, found = {variable.path for variable in layer.trainable_variables}, {}
    for variable in layer.variables:
        is_drawn = variable.name == "kernel" and layer.name.startswith(drawn)
        found[variable.name] = {
            "shape": list(variable.shape),
            "trainable": variable.path in trainable,
            "drawn": is_drawn and variable.path in trainable and not _is_zero(layer),
            "decayed": variable.name not in _UNDECAYED,
            "new": layer.name.startswith(_NEW),
        }
    return found


def _is_zero(layer):
    return type(getattr(layer, "kernel_initializer", None)).__name__ == "Zeros"


def split(layers, last="aspp_projection_bn"):
    """The layers that the one named `last` comes from, and the others."""
    wanted = {last}
    for layer in reversed(layers):
        if layer["name"] in wanted:
            wanted.update(layer["inputs"])
    trunk = [layer for layer in layers if layer["name"] in wanted]
    return trunk, [layer for layer in layers if layer["name"] not in wanted]


def merge_centred(trunk):
    """A trunk whose last strided layer is centred on windows or not, as a number says.

    Its depthwise kernel of 3 x 3 becomes one of 4 x 4 with zeros on either side, see `forward`.
    """
    strided = [layer for layer in trunk if layer["kind"] == "ZeroPadding2D"]
    name = strided[-1]["name"].removesuffix("_pad")
    merged = []
    for layer in trunk:
        config = layer["config"]
        if layer is strided[-1]:
            config = {**config, "padding": [[1, 2], [1, 2]]}
        if layer["name"] == f"{name}_conv":
            config = {**config, "switched": True}
        merged.append({**layer, "config": config})
    return merged


def initial(layers, arrays, seed):
    """({name/variable: value} of what is trained, the same of the rest); drawn ones by the seed.

    The draw of a kernel depends on its name and the seed alone: networks share their ASPP's.
    """
    trained, kept = {}, {}
    for layer in layers:
        for name, facts in layer["variables"].items():
            path = f"{layer['name']}/{name}"
            value = _glorot(path, facts["shape"], seed) if facts["drawn"] else arrays[path]
            (trained if facts["trainable"] else kept)[path] = np.asarray(value, np.float32)
    return trained, kept


def _glorot(path, shape, seed):
    rng = np.random.default_rng((seed, zlib.crc32(path.encode())))
    field = math.prod(shape[:-2])
    limit = math.sqrt(6 / (field * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape)


def forward(layers, values, features, dtype, training=False, sizes=None, centred=None):
    """Runs layers.

    Args:
        layers: of a plan.
        values: {name/variable: array}.
        features: {name: array} of what comes before; "image" (B, H, W, 3) in float32.
        dtype: of features, float32 or bfloat16. Class scores are float32.
        training: batch norm by the statistics of the batch.
        sizes: (B, 2) true heights and widths of images that were padded to multiples of 16, or
            None. The result inside them is that of images without padding.
        centred: 1 or 0, of a merged trunk.

    Returns: features with those of these layers, {name/variable: batch mean or variance}.
    """
    features, moments = dict(features), {}
    for layer in layers:
        if layer["kind"] == "InputLayer":
            continue
        inputs = [features[name] for name in layer["inputs"]]
        mine = {name: values[f"{layer['name']}/{name}"] for name in layer["variables"]}
        call = _Call(layer["config"], mine, dtype, training, sizes, centred)
        call.full = features["image"].shape[1]
        features[layer["name"]] = getattr(call, layer["kind"])(*inputs)
        for name, moment in call.moments.items():
            moments[f"{layer['name']}/{name}"] = moment
    return features, moments


class _Call:
    """One layer of a plan; a method for each kind of layer."""

    def __init__(self, config, values, dtype, training, sizes, centred):
        self.config, self.values, self.dtype, self.training = config, values, dtype, training
        self.sizes, self.centred, self.moments = sizes, centred, {}

    def _masked(self, x):
        return ops.masked(x, self.sizes, self.full)

    def _filled(self, x):
        return ops.edge_filled(x, self.sizes, self.full)

    def Rescaling(self, x):
        return (x * self.config["scale"] + self.config["offset"]).astype(self.dtype)

    def ZeroPadding2D(self, x):
        return jnp.pad(self._masked(x), [(0, 0), *self.config["padding"], (0, 0)])

    def DepthwiseConv2D(self, x):
        kernel, rate = self.values["kernel"][..., 0], self.config["dilation_rate"][0]
        if self.config.get("switched"):
            before, after = (jnp.pad(kernel, (p, p, (0, 0))) for p in ((1, 0), (0, 1)))
            kernel = jnp.where(self.centred, before, after)
        if self.config["padding"] == "same":
            pad = rate * (len(kernel) - 1) // 2
            x = jnp.pad(self._masked(x), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
        return ops.depthwise(x, kernel, self.config["strides"][0], rate)

    def Conv2D(self, x):
        kernel, size = self.values["kernel"], self.config["kernel_size"][0]
        if size > 1:
            if self.config["padding"] == "same":
                pad = (size - 1) // 2
                x = jnp.pad(self._masked(x), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
            x = ops.patches(x, size, self.config["strides"][0])
        kernel, x = kernel.reshape(-1, kernel.shape[-1]), x.astype(self.dtype)
        if "bias" not in self.values:
            return ops.pointwise(x, kernel)
        return ops.pointwise(x, kernel, jnp.dtype("float32")) + self.values["bias"]

    def BatchNormalization(self, x):
        gamma, beta = self.values["gamma"], self.values["beta"]
        rest = self.config["epsilon"], self.config.get("ceiling")
        if self.training:
            y, mean, variance = ops.batch_norm(x, gamma, beta, *rest)
            self.moments = {"moving_mean": mean, "moving_variance": variance}
            return y
        moving = self.values["moving_mean"], self.values["moving_variance"]
        return ops.normalize(x, gamma, beta, *moving, *rest)

    def GlobalAveragePooling2D(self, x):
        total = self._masked(x).astype(jnp.float32).sum((1, 2), keepdims=True)
        count = x.shape[1] * x.shape[2]
        if self.sizes is not None:
            count = jnp.prod(-(-self.sizes // (self.full // x.shape[1])), 1)[:, None, None, None]
        return (total / count).astype(x.dtype)

    def BroadcastLike(self, x, like):
        return jnp.broadcast_to(x, (*like.shape[:3], x.shape[-1]))

    def Concatenate(self, *inputs):
        return jnp.concatenate([x.astype(self.dtype) for x in inputs], axis=-1)

    def Add(self, *inputs):
        return sum(inputs[1:], inputs[0])

    def Subsampling(self, x):
        start, stride = self.config["start"], self.config["stride"]
        if start:
            x = jnp.pad(self._filled(x), [(0, 0), (0, start), (0, start), (0, 0)], mode="edge")
        return x[:, start::stride, start::stride]

    def BilinearUpsampling(self, x):
        return ops.bilinear(self._filled(x), self.config["ratio"])

    def Crop(self, x, like):
        return x[:, : like.shape[1], : like.shape[2]]

    def DUpsampling(self, x):
        kernel, x = self.values["kernel"][0, 0], x.astype(self.dtype)
        y = ops.pointwise(x, kernel, jnp.dtype("float32")) + self.values["bias"]
        return self._to_space(y, self.config["ratio"])

    def DepthToSpace(self, x):
        return self._to_space(x, self.config["ratio"])

    def EdgePadding(self, x):
        ends = [(0, -side % self.config["multiple"]) for side in x.shape[1:3]]
        return jnp.pad(self._filled(x), [(0, 0), *ends, (0, 0)], mode="edge")

    def SpaceToDepth(self, x):
        r, (batch, height, width, channels) = self.config["ratio"], x.shape
        x = x.reshape(batch, height // r, r, width // r, r, channels)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // r, width // r, -1)

    def PerWindow(self, weights, guides):
        ratio, (height, width) = self.config["ratio"], guides.shape[1:3]
        weights = jnp.repeat(jnp.repeat(weights, ratio, 1), ratio, 2)[:, :height, :width]
        weights = weights.reshape(*guides.shape[:3], guides.shape[-1], -1)
        return (weights * guides[..., None]).sum(3)

    def AdaptiveTemperatureSoftmax(self, x):
        return x.astype(jnp.float32) * jnp.exp(-self.values["log_temperature"])

    def Softmax(self, x):
        return x.astype(jnp.float32)

    @staticmethod
    def _to_space(x, r):
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height, width, r, r, channels // r**2)
        return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * r, width * r, -1)
