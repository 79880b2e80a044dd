"""Which decoder gets most out of the same features: the encoder stays as ImageNet left it. CamVid.

    KERAS_DUP_DATA=... python -m research.decoder_frozen CACHE thin64:0 thin64:1 two:0 ...

A small neck stands in place of ASPP; neck and decoder are trained for 600 steps of 4 crops of
240 x 320 and measured on val. CACHE is a file of 0.7 GB that is made where it is missing. Results:
research/results/decoders_frozen/TRIAL_SEED.json; what stands there is not measured again.
"""

import json
import pathlib
import sys
import time

import keras
import numpy as np
from keras import layers, ops

from keras_dup import models
from keras_dup.layers import AdaptiveTemperatureSoftmax
from keras_dup.training import datasets, load_recipe, provenance
from research import decoder_measure, decoder_trials

__all__ = ["RESULTS", "network", "train"]

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results" / "decoders_frozen"
RECIPE = HERE.parent / "training" / "recipes" / "camvid_efficientnet_lite0.py"
STEPS, RATE, BATCH, CROP = 600, 0.05, 4, (15, 20)  # the crop in features of stride 16


def _encoder(recipe, decoder):
    model = models.build(
        recipe.backbone, recipe.num_classes, 16, ("b2u2c3",), decoder=decoder, weights="imagenet"
    )
    step = "subsampling" if decoder == "dupsampling" else "projection_conv"
    low = model.get_layer(f"fuse_b2u2c3_{step}").input
    return keras.Model(model.input, [model.get_layer("aspp0_conv").input, low])


def features(recipe, path):
    """{"train_centred", "train_plain", "train_low", "train_labels", the same of val}."""
    if not path.exists():
        found = {}
        for split, files in zip(("train", "val"), datasets(recipe), strict=True):
            found[f"{split}_labels"] = np.stack(list(files.label_maps()))
            images = np.stack([files.image(i) for i in range(len(files))]).astype("float32")
            for name, decoder in (("centred", "dupsampling"), ("plain", "bilinear")):
                last, low = _encoder(recipe, decoder).predict(images, batch_size=8, verbose=0)
                found[f"{split}_{name}"] = last.astype("float16")
                found[f"{split}_low"] = low.astype("float16")
        np.savez(path, **found)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def network(trial, classes, projections, channels):
    """Neck and decoder: [(B, h, w, channels), (B, 4h, 4w, 24)] -> probabilities, and its start."""
    head, _ = decoder_trials.TRIALS[trial]
    x, low = keras.Input((None, None, channels)), keras.Input((None, None, 24))
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
    pooled = decoder_trials.convolution(pooled, 128, name="neck_pooling")
    parts = [pooled + ops.zeros_like(x[..., :1]), decoder_trials.convolution(x, 128, name="neck0")]
    parts.append(decoder_trials.separable_convolution(x, 128, "neck1", rate=6))
    y = decoder_trials.convolution(layers.Concatenate()(parts), 256, name="neck_projection")
    found = head(decoder_trials.Tensors(y, low, classes, projections))
    softmax = layers.Softmax()
    if found.temperature is not None:
        softmax = AdaptiveTemperatureSoftmax(found.temperature)
    model = keras.Model([x, low], softmax(found.scores))
    if found.start:
        found.start(model)
    return model


def train(model, last, low, labels, seed):
    """Returns the mean loss of the last 50 steps."""
    rng = np.random.default_rng(seed)
    rate = keras.optimizers.schedules.PolynomialDecay(RATE, STEPS, 0, 0.9)
    sgd = keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=5.0)
    model.compile(sgd, keras.losses.SparseCategoricalCrossentropy(ignore_class=255))
    losses, (height, width) = [], CROP
    for _ in range(STEPS):
        i = rng.integers(0, len(labels), BATCH)
        top, left = (
            rng.integers(0, 1 + side // 16 - n) for side, n in zip((360, 480), CROP, strict=True)
        )
        a = last[i, top : top + height, left : left + width].astype("float32")
        rows, columns = (slice(4 * n, 4 * (n + m)) for n, m in ((top, height), (left, width)))
        b = low[i, rows, columns].astype("float32")
        rows, columns = (slice(16 * n, 16 * (n + m)) for n, m in ((top, height), (left, width)))
        losses.append(float(model.train_on_batch([a, b], labels[i, rows, columns].astype("int32"))))
    return float(np.mean(losses[-50:]))


def main(cache, *runs):
    recipe = load_recipe(RECIPE)
    known = features(recipe, pathlib.Path(cache))
    maps = [m for m in known["train_labels"]]
    projections = decoder_trials.fit_projections(maps, recipe.num_classes)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for run in runs:
        trial, seed = run.split(":")
        path = RESULTS / f"{trial}_{seed}.json"
        if path.exists():
            continue
        keras.utils.set_random_seed(int(seed))
        encoder = "centred" if decoder_trials.TRIALS[trial][1] else "plain"
        last, low, labels = (known[f"train_{part}"] for part in (encoder, "low", "labels"))
        model, started = (
            network(trial, recipe.num_classes, projections, last.shape[-1]),
            time.time(),
        )
        loss = train(model, last, low, labels, int(seed))
        seconds, found = time.time() - started, []
        for a, b, truth in zip(
            known[f"val_{encoder}"], known["val_low"], known["val_labels"], strict=True
        ):
            b = np.pad(b, ((0, 2), (0, 0), (0, 0)), mode="edge")
            scores = model.predict_on_batch([a[None].astype("float32"), b[None].astype("float32")])
            found.append(scores[0].argmax(-1).astype("uint8")[: truth.shape[0], : truth.shape[1]])
        truths = known["val_labels"]
        sizes = [truth.shape for truth in truths]
        report = decoder_measure.measure(truths, sizes, found, recipe.num_classes)
        facts = {"trial": trial, "seed": int(seed), "loss": loss, "seconds": seconds}
        path.write_text(json.dumps({**facts, **report, "run": provenance()}) + "\n")
        print(run, round(loss, 4), round(100 * report["miou"], 2), round(seconds), flush=True)
        keras.backend.clear_session()


if __name__ == "__main__":
    main(*sys.argv[1:])
