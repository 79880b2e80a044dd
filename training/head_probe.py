"""Which upsampling the features of the networks of a table bear, once it is trained to its end.

    python -m training.head_probe animals_stride --rows bilinear32 nearest32_fixed --seeds 0

Takes the runs of `python -m training.experiments`, whose models lie in training/runs/. What ASPP
gives stays as it is; on it are trained anew, by Adam from zero, on the same pictures of train,
linear maps: to class scores that are repeated over their windows, to class scores that are
interpolated, and to C~ for the W of the first row that has one, from a feature alone or from it and
its eight neighbours. Writes training/results/TABLE/heads.json, which training/RESULTS.md shows:
cross-entropy on these pictures, mIoU and pixel accuracy on val.
"""

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from keras_dup import evaluation, models, projection
from keras_dup.data import VOID
from keras_dup.training.recipe import datasets
from keras_dup.training.run import provenance
from keras_dup.whole import write_json
from training.experiments import RESULTS, finished_run, parse, recipe_of

TRAIN = 400  # pictures
EPOCHS = 12
BATCH = 8
RATE = 0.003  # of Adam, falling to zero along a cosine


class Head:
    """A linear map of features and an upsampling of its output, on maps of one size.

    Args:
        kind: "repeated", "interpolated" or a `LabelProjection`.
        size: of the kernel, 1 or 3.
        start: the pixel that the first feature is at: 0, or half a window.
    """

    def __init__(self, kind, size, start, ratio, classes, positions, depth):
        self.kind, self.ratio, self.classes = kind, ratio, classes
        self.first = ratio // 2 - start  # pixels of the first window that lie outside
        outputs = classes if isinstance(kind, str) else kind.channels
        self.kernel = tf.Variable(tf.zeros((size, size, depth, outputs)))
        self.bias = tf.Variable(tf.zeros(outputs))
        pixels = np.arange(positions * ratio)
        if kind == "interpolated":
            places = np.clip((pixels - start) / ratio, 0, positions - 1)
            steps = np.abs(places[:, None] - np.arange(positions))
            self.rows = tf.constant(np.maximum(0, 1 - steps), "float32")
        elif kind == "repeated":
            places = np.minimum((pixels + self.first) // ratio, positions - 1)
            self.rows = tf.one_hot(places, positions)

    def __call__(self, features):
        """(B, h, w, depth) -> (B, h*r, w*r, K) scores."""
        x = tf.nn.conv2d(features, self.kernel, 1, "SAME") + self.bias
        if isinstance(self.kind, str):
            x = tf.einsum("Hh,bhwk->bHwk", self.rows, x)
            return tf.einsum("Ww,bHwk->bHWk", self.rows, x)
        p = self.kind
        x = (x @ p.matrix) * self.ratio  # T = 1 / r; W's mean would favour frequent classes
        x = tf.nn.depth_to_space(x, self.ratio)
        side = tf.shape(x)[1]
        x = x[:, self.first :, self.first :]
        return tf.pad(x, [[0, 0], *[[0, side - tf.shape(x)[1]]] * 2, [0, 0]])


def train(head, features, labels, seed):
    """The cross-entropy over `labels` at the end, of the whole."""
    steps = EPOCHS * (len(features) // BATCH)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps))
    variables = [head.kernel, head.bias]
    optimizer.build(variables)

    def losses(x, y):
        valid = y != VOID
        scores = head(x)
        found = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(valid, y, 0), scores)
        return tf.where(valid, found, 0.0), tf.cast(tf.math.count_nonzero(valid), "float32")

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            found, count = losses(x, y)
            loss = tf.reduce_sum(found) / count
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    rng = np.random.default_rng(seed)
    bar = tqdm(range(steps), unit=" steps", desc="head")
    for k in bar:
        if k % (len(features) // BATCH) == 0:
            order = rng.permutation(len(features))
        chosen = order[k % (len(features) // BATCH) * BATCH :][:BATCH]
        loss = step(features[chosen], labels[chosen].astype("int32"))
        bar.set_postfix(loss=f"{float(loss):.3f}", refresh=False)
    total = count = 0.0
    for k in range(0, len(features), BATCH):
        found, pixels = losses(features[k : k + BATCH], labels[k : k + BATCH].astype("int32"))
        total, count = total + float(tf.reduce_sum(found)), count + float(pixels)
    return total / count


def features_of(model, pictures, chosen, positions, ratio):
    """ASPP's outputs (n, h, w, 256), the last repeated, and label maps (n, H, W), void beyond."""
    output = keras.Model(model.input, model.get_layer("aspp_projection_relu").output)
    found, labels = [], []
    for i in tqdm(chosen, unit=" images"):
        x = output.predict_on_batch(pictures.image(i)[None].astype("float32"))[0]
        found.append(np.pad(x, [*((0, positions - n) for n in x.shape[:2]), (0, 0)], mode="edge"))
        y = pictures.label_map(i)
        missing = [(0, positions * ratio - n) for n in y.shape]
        labels.append(np.pad(y.astype("uint8"), missing, constant_values=VOID))
    return np.array(found), np.array(labels)


def main(arguments=None):
    arguments, command = parse(__doc__, "head_probe", arguments)
    found, fitted = [], None
    for row in arguments.rows:
        path = finished_run(arguments.table, row, arguments.seeds[0]) / "projection.npz"
        if fitted is None and path.exists():
            fitted = projection.load(path)
    ways = {"repeated": "repeated", "interpolated": "interpolated", "W": fitted}
    kinds = {(name, size): ways[name] for size in (1, 3) for name in ways}
    for row in arguments.rows:
        for seed in arguments.seeds:
            recipe = recipe_of(arguments.table, row, seed)
            data = datasets(recipe)
            ratio = recipe.output_stride
            start = ratio // 2 if recipe.decoder == "dupsampling" else 0
            model = models.load(finished_run(arguments.table, row, seed) / "model.keras")
            sides = [n for d in data for i in range(len(d)) for n in d.label_map(i).shape]
            positions = max(sides) // ratio + 1
            every = max(1, len(data[0]) // TRAIN)
            chosen = range(0, len(data[0]), every)[:TRAIN], range(len(data[1]))
            ours, val = (
                features_of(model, d, c, positions, ratio)
                for d, c in zip(data, chosen, strict=True)
            )
            for (name, size), kind in kinds.items():
                shape = recipe.num_classes, positions, ours[0].shape[-1]
                head = Head(kind, size, start, ratio, *shape)
                loss = train(head, *ours, seed)
                confusion = 0
                for x, y in zip(*val, strict=True):
                    guess = head(x[None]).numpy()[0].argmax(-1)
                    confusion = confusion + evaluation.confusion(y, guess, recipe.num_classes)
                miou = float(np.nanmean(evaluation.ious(confusion)))
                accuracy = float(np.trace(confusion) / confusion.sum())
                numbers = {"loss": loss, "miou": miou, "pixel_accuracy": accuracy}
                found.append({"row": row, "seed": seed, "head": name, "size": size, **numbers})
                print(
                    f"{row} {seed}, {name} {size}x{size}: loss {loss:.4f}, "
                    f"mIoU {100 * miou:.2f} %, pixel accuracy {100 * accuracy:.2f} %",
                    flush=True,
                )
    path = RESULTS / arguments.table / "heads.json"
    write_json({"command": command, "rows": found, "run": provenance()}, path)
    print(path)


if __name__ == "__main__":
    main()
