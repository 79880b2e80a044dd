"""What the features of the networks of a table hold for upsampling, each kind trained to its end.

    python -m research.probes.heads animals_stride --rows bilinear32 --seeds 0

ASPP's outputs of finished runs stay as they are. On them, four kinds of upsampling are trained by
Adam, from zero, on the same images of train: class scores repeated over their windows; class scores
interpolated; W with 64 channels, fitted to the labels of train; interpolated scores plus W. Each
sees one feature, or 3 x 3. Writes research/results/TABLE/heads.json: cross-entropy on these images,
mIoU and pixel accuracy on val. Rows that the file has are not measured again: delete it to start
anew.
"""

import itertools
import json

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_dup import evaluation, models, projection
from keras_dup.data import VOID
from keras_dup.training import datasets, provenance
from research.experiments import tables
from research.experiments.runs import finished_run, parse, recipe_of
from research.files import write_json

TRAIN = 400  # images
CHANNELS = 64  # of W
EPOCHS = 12
BATCH = 8
RATE = 0.003  # of Adam, falling to zero along a cosine
KINDS = "repeated", "interpolated", "W", "interpolated + W"


class Head:
    """A linear map of features and an upsampling of what it gives.

    Args:
        kind: of `KINDS`.
        size: of the linear map's kernel, 1 or 3.
        start: the pixel that the first feature is at: 0, or half a window.
        fitted: a `LabelProjection`, of which ratio, number of classes and W are taken.
        shape: (h, w, depth) of the features.
    """

    def __init__(self, kind, size, start, fitted, shape):
        self.fitted, self.kind = fitted, kind
        self.outside = fitted.ratio // 2 - start  # pixels of the first window
        self.scores = 0 if kind == "W" else fitted.num_classes
        outputs = self.scores + ("W" in kind) * fitted.channels
        self.kernel = tf.Variable(tf.zeros((size, size, shape[-1], outputs)))
        self.bias = tf.Variable(tf.zeros(outputs))
        self.axes = [self._shares(positions, start) for positions in shape[:2]]

    def _shares(self, positions, start):
        """(pixels, positions): of what each pixel is made."""
        pixels = np.arange(positions * self.fitted.ratio)
        places = np.clip((pixels - start) / self.fitted.ratio, 0, positions - 1)
        if self.kind == "repeated":
            places = np.minimum((pixels + self.outside) // self.fitted.ratio, positions - 1)
        return tf.constant(np.maximum(0, 1 - np.abs(places[:, None] - range(positions))), "float32")

    def __call__(self, features):
        """(B, h, w, depth) -> (B, h*r, w*r, K) scores."""
        x = tf.nn.conv2d(features, self.kernel, 1, "SAME") + self.bias
        scores, x = x[..., : self.scores], x[..., self.scores :]
        found = 0
        if self.scores:
            found = tf.einsum("Hh,bhwk,Ww->bHWk", self.axes[0], scores, self.axes[1])
        if "W" in self.kind:
            # T = 1 / r; without W's mean, which would favour frequent classes
            x = tf.nn.depth_to_space(x @ self.fitted.matrix * self.fitted.ratio, self.fitted.ratio)
            missing = [[0, self.outside]] * 2
            x = x[:, self.outside :, self.outside :]
            found += tf.pad(x, [[0, 0], *missing, [0, 0]])
        return found


def train(head, features, labels, seed, steps=None):
    """Trains a head for `steps`, or for `EPOCHS`."""
    batches = max(1, len(features) // BATCH)
    steps = steps or EPOCHS * batches
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps))
    variables = [head.kernel, head.bias]
    optimizer.build(variables)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            total, count = losses(head, x, y)
            loss = total / tf.cast(count, "float32")
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    rng = np.random.default_rng(seed)
    for k in tqdm(range(steps), unit=" steps"):
        if k % batches == 0:
            order = rng.permutation(len(features))
        chosen = order[k % batches * BATCH :][:BATCH]
        step(features[chosen], labels[chosen].astype("int32"))


def losses(head, x, y):
    """The cross-entropy of a batch's pixels, added up, and how many there are, without void."""
    valid, scores = y != VOID, head(x)
    found = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(valid, y, 0), scores)
    return tf.reduce_sum(tf.where(valid, found, 0.0)), tf.math.count_nonzero(valid)


def cross_entropy(head, features, labels):
    """The mean over all pixels of `labels`."""
    parts = [slice(i, i + BATCH) for i in range(0, len(features), BATCH)]
    found = [losses(head, features[part], labels[part].astype("int32")) for part in parts]
    return float(sum(total for total, _ in found)) / float(sum(count for _, count in found))


def features_of(model, dataset, chosen, positions, ratio):
    """ASPP's outputs (n, h, w, 256), the last ones repeated, and labels (n, H, W), void beyond."""
    output = keras.Model(model.input, model.get_layer("aspp_projection_relu").output)
    found, labels = [], []
    for i in tqdm(chosen, unit=" images"):
        x = output.predict_on_batch(dataset.image(i)[None].astype("float32"))[0]
        found.append(np.pad(x, [*((0, positions - n) for n in x.shape[:2]), (0, 0)], mode="edge"))
        y = dataset.label_map(i).astype("uint8")
        missing = [(0, positions * ratio - n) for n in y.shape]
        labels.append(np.pad(y, missing, constant_values=VOID))
    return np.array(found), np.array(labels)


def measure(head, features, labels):
    """mIoU and pixel accuracy."""
    confusion = 0
    for x, y in zip(features, labels, strict=True):
        found = head(x[None]).numpy()[0].argmax(-1)
        confusion = confusion + evaluation.confusion(y, found, head.fitted.num_classes)
    miou = np.nanmean(evaluation.ious(confusion))
    return {"miou": float(miou), "pixel_accuracy": float(np.trace(confusion) / confusion.sum())}


def measured_on(table, row, seed, count):
    """W, the place of the first feature, features and labels of `count` of train, and of val."""
    recipe = recipe_of(table, row, seed)
    model = models.load(finished_run(table, row, seed) / "model.keras")
    train_data, val = datasets(recipe)
    ratio = recipe.output_stride
    shape = recipe.num_classes, ratio, CHANNELS
    fitted = projection.fit(train_data.label_maps(), *shape, verbose=True)
    every = max(1, len(train_data) // count)
    splits = (train_data, range(0, len(train_data), every)[:count]), (val, range(len(val)))
    sides = [n for d, chosen in splits for i in chosen for n in d.label_map(i).shape]
    positions = max(sides) // ratio + 1
    start = ratio // 2 if recipe.decoder == "dupsampling" else 0
    return fitted, start, *(features_of(model, *split, positions, ratio) for split in splits)


def probe(fitted, start, ours, theirs, seed, size, kind):
    """Trains a head on `ours`, the images of train, and measures it on `theirs`."""
    head = Head(kind, size, start, fitted, ours[0].shape[1:])
    train(head, *ours, seed)
    return {"loss": cross_entropy(head, *ours), **measure(head, *theirs)}


def measure_each(arguments, path, keys, heads, probe, count, **facts):
    """Measures `heads`, tuples that begin with row and seed; writes `path` after each.

    What stands there already is not measured again.
    """
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    found = {tuple(one[key] for key in keys): one for one in before}
    for (row, seed), several in itertools.groupby(heads, lambda head: head[:2]):
        missing = [head for head in several if head not in found]
        if missing:
            measured = measured_on(arguments.table, row, seed, count)
        for head in missing:
            found[head] = dict(zip(keys, head, strict=True)) | probe(*measured, *head[1:])
            print(*found[head].values(), flush=True)
            rows = [found[head] for head in heads if head in found]
            write_json(facts | {"rows": rows, "run": provenance()}, path)


def main(arguments=None):
    arguments, command = parse(__doc__, "heads", arguments)
    path = tables.RESULTS / arguments.table / "heads.json"
    heads = list(itertools.product(arguments.rows, arguments.seeds, (1, 3), KINDS))
    keys = "row", "seed", "size", "head"
    measure_each(arguments, path, keys, heads, probe, TRAIN, command=command, pictures=TRAIN)


if __name__ == "__main__":
    main()
