"""Trains several networks at once on one device: decoders times seeds, each with its own encoder.

All encoders run as one program with a leading axis of networks, the decoders after it as one each.
A chunk of steps is one call: crops, forward, backward and SGD, with no Python in between.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from research import on_device, on_device_data
from research.on_device_layers import cross_entropy

__all__ = ["Group", "Settings"]


@dataclasses.dataclass(frozen=True)
class Settings:
    """What of a recipe decides a step."""

    crop_size: tuple
    scale_range: tuple = (0.5, 2.0)
    batch_size: int = 8
    learning_rate: float = 0.007
    backbone_rate: float = 1.0
    power: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_norm_momentum: float = 0.99
    train_temperature: bool = True

    @classmethod
    def of(cls, recipe):
        """Those of a `keras_dup.training.Recipe`."""
        return cls(**{f.name: getattr(recipe, f.name) for f in dataclasses.fields(cls)})


class Group:
    """Networks that are trained together.

    Args:
        plans: {name: (layers, whether its encoder is centred)}; they share their trunk.
        settings: a `Settings`.
        seeds: of the order, the crops and the draws of new layers.
        dtype: of features.
    """

    def __init__(self, plans, settings, seeds=(0, 1, 2), dtype=jnp.bfloat16):
        self.settings, self.seeds, self.dtype = settings, tuple(seeds), dtype
        parts = {name: on_device.split(layers) for name, (layers, _) in plans.items()}
        self.trunk = on_device.merge_centred(next(iter(parts.values()))[0])
        self.heads = {name: head for name, (_, head) in parts.items()}
        flags = [centred for _, centred in plans.values()]
        self.centred = jnp.repeat(jnp.array(flags, jnp.int32), len(self.seeds))
        inner = {layer["name"] for layer in self.trunk}
        read = {x for head in self.heads.values() for layer in head for x in layer["inputs"]}
        self.bridge = sorted((read & inner) - {"image"})
        self.facts = {
            f"{layer['name']}/{name}": facts
            for layers in (self.trunk, *self.heads.values())
            for layer in layers
            for name, facts in layer["variables"].items()
        }

    def start(self, trunk_arrays, head_arrays):
        """The state before training.

        Args:
            trunk_arrays: {layer/variable: value}.
            head_arrays: {name: [the same, for each seed]}.
        """
        count = len(self.heads)
        each = [on_device.initial(self.trunk, trunk_arrays, seed) for seed in self.seeds]
        trunk = [_stacked([pair[i] for pair in each] * count) for i in (0, 1)]
        heads = [{}, {}]
        for name, layers in self.heads.items():
            pairs = [
                on_device.initial(layers, arrays, seed)
                for arrays, seed in zip(head_arrays[name], self.seeds, strict=True)
            ]
            for i in (0, 1):
                heads[i][name] = _stacked([pair[i] for pair in pairs])
        trained, kept = ({"trunk": t, "heads": h} for t, h in zip(trunk, heads, strict=True))
        if not self.settings.train_temperature:
            for name, values in trained["heads"].items():
                moved = [path for path in values if path.endswith("log_temperature")]
                kept["heads"][name].update({path: values.pop(path) for path in moved})
        velocity = jax.tree.map(np.zeros_like, trained)
        return {"trained": trained, "kept": kept, "velocity": velocity}

    def scores(self, trained, kept, images, training=False, sizes=None):
        """{name: (S, B, H, W, K)} class scores of (S, B, H, W, 3) images, and batch moments."""
        count = len(self.heads)
        every = jnp.broadcast_to(images[None], (count, *images.shape))
        every = every.reshape(-1, *images.shape[1:])
        rest = (self.dtype, training, sizes)

        def trunk(values, image, centred):
            found = on_device.forward(self.trunk, values, {"image": image}, *rest, centred)
            return {name: found[0][name] for name in self.bridge}, found[1]

        values = {**trained["trunk"], **kept["trunk"]}
        features, moments = jax.vmap(trunk)(values, every, self.centred)
        scores, moments = {}, {"trunk": moments, "heads": {}}
        for i, (name, layers) in enumerate(self.heads.items()):

            def head(values, image, features, layers=layers):
                features = {**features, "image": image}
                found = on_device.forward(layers, values, features, *rest)
                return found[0][layers[-1]["name"]], found[1]

            part = slice(i * len(self.seeds), (i + 1) * len(self.seeds))
            mine = jax.tree.map(lambda x, part=part: x[part], features)
            values = {**trained["heads"][name], **kept["heads"][name]}
            scores[name], moments["heads"][name] = jax.vmap(head)(values, images, mine)
        return scores, moments

    def step(self, state, images, labels, rate):
        """One step on a batch of each seed: -> state, losses (names, seeds)."""

        def total(trained):
            scores, moments = self.scores(trained, state["kept"], images, training=True)
            losses = jnp.stack([jax.vmap(cross_entropy)(s, labels) for s in scores.values()])
            return losses.sum(), (losses, moments)

        gradient, (losses, moments) = jax.grad(total, has_aux=True)(state["trained"])
        settings = self.settings

        def velocity(path, old, weight, gradient):
            facts = self.facts[path[-1].key]
            decay = settings.weight_decay * facts["decayed"]
            share = 1.0 if facts["new"] else settings.backbone_rate
            return settings.momentum * old - share * rate * (gradient + decay * weight)

        moving = jax.tree_util.tree_map_with_path(
            velocity, state["velocity"], state["trained"], gradient
        )
        kept, m = state["kept"], settings.batch_norm_momentum
        new = {
            "trunk": _averaged(kept["trunk"], moments["trunk"], m),
            "heads": {k: _averaged(v, moments["heads"][k], m) for k, v in kept["heads"].items()},
        }
        trained = jax.tree.map(jnp.add, state["trained"], moving)
        return {"trained": trained, "kept": new, "velocity": moving}, losses

    def chunk(self, state, data, order, first, steps):
        """Trains for as many steps as `order` (steps, S, B) has: -> state, mean losses.

        Args:
            data: of `on_device_data.decoded`.
            order: item numbers.
            first: the number of its first step.
            steps: of the whole run.
        """
        settings, seeds = self.settings, jnp.array(self.seeds)

        def body(state, given):
            items, step = given
            images, labels = jax.vmap(
                lambda items, seed: on_device_data.crops(
                    data, items, seed, step, settings.crop_size, settings.scale_range
                )
            )(items, seeds)
            rate = settings.learning_rate * (1 - step / steps) ** settings.power
            return self.step(state, images, labels, rate)

        numbers = first + jnp.arange(len(order))
        state, losses = jax.lax.scan(body, state, (order, numbers))
        return state, losses.mean(0)

    def predict(self, state, images, sizes):
        """(M, B, H, W, 3) images and (M, B, 2) true sizes -> (M, names, S, B, H, W) class ids."""

        def batch(given):
            images, sizes = given
            images = jnp.broadcast_to(images.astype(jnp.float32), (len(self.seeds), *images.shape))
            scores, _ = self.scores(state["trained"], state["kept"], images, sizes=sizes)
            return jnp.stack([s.argmax(-1).astype(jnp.uint8) for s in scores.values()])

        return jax.lax.map(batch, (images, sizes))


def _stacked(values):
    return {name: np.stack([value[name] for value in values]) for name in values[0]}


def _averaged(kept, moments, momentum):
    return kept | {
        name: kept[name] * momentum + value * (1 - momentum) for name, value in moments.items()
    }
