"""Trains a recipe: `python -m training.train training/recipes/NAME.py [key=value ...]`.

Everything goes to training/runs/NAME (or --output): recipe.json, projection.npz, log.csv,
TensorBoard logs, checkpoint.weights.h5 after every epoch and on Ctrl-C, and at the end
model.keras, report.json and pictures. The same command goes on where a stopped run was, to the
weights of an uninterrupted one.
"""

import argparse
import dataclasses
import functools
import importlib.util
import json
import math
import pathlib
import signal
import sys
import threading

import keras
import tensorflow as tf

import keras_dup
from keras_dup import data, evaluation
from training import draw
from training.evaluate import predictor
from training.recipe import datasets, load

CHECKPOINT = "checkpoint.weights.h5"
RUNS = pathlib.Path(__file__).parent / "runs"
RAW = argparse.RawDescriptionHelpFormatter


def train(recipe, output):
    """Runs a recipe to its end, or to Ctrl-C, in the folder `output`; goes on with what is there.

    Returns the report of `keras_dup.evaluation.evaluate`, or None where the run was interrupted.
    """
    _check_extras()  # now, not after hours
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    _save_recipe(recipe, output)
    train_data, val_data = datasets(recipe)
    for split in (train_data, val_data):
        if isinstance(split, data.Folder):
            split.check()
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.dtype_policy)
    projection = _projection(recipe, train_data, output)
    with strategy(recipe.devices).scope():
        model = compiled(recipe, projection)
        step = resume(model, output / CHECKPOINT)
    if step < recipe.steps and not fit(model, recipe, train_data, val_data, output, step):
        print(f"stopped; the same command goes on from {output / CHECKPOINT}")
        return None
    return finish(model, recipe, val_data, output)


@functools.cache
def strategy(devices):
    """MirroredStrategy over devices, () for all; one a process: two would mix up their messages."""
    return tf.distribute.MirroredStrategy(devices or None)


def compiled(recipe, projection=None):
    """The model of a recipe, compiled as the paper trains it (Sec. 4)."""
    model = keras_dup.models.build(
        backbone=recipe.backbone,
        num_classes=recipe.num_classes,
        output_stride=recipe.output_stride,
        low_level_features=recipe.low_level_features,
        channels=recipe.channels,
        projection=projection,
        decoder=recipe.decoder,
        weights=recipe.weights or None,
        temperature=recipe.temperature,
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True  # over the replicas
            layer.momentum = recipe.batch_norm_momentum
    model.compile(
        optimizer=optimizer(recipe),
        loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=data.VOID),
        metrics=[
            keras.metrics.MeanIoU(
                recipe.num_classes, ignore_class=data.VOID, sparse_y_pred=False, name="miou"
            )
        ],
        jit_compile=False,  # not under MirroredStrategy
    )
    return model


def optimizer(recipe):
    """SGD with momentum, "poly" learning rate, and weight decay on kernels alone.

    The paper's weight decay is an L2 loss, whose gradient passes through the momentum; Keras
    decays the weights directly. Dividing by (1 - momentum) gives the same decay in the long run.
    """
    schedule = keras.optimizers.schedules.PolynomialDecay(
        recipe.learning_rate, recipe.steps, end_learning_rate=0.0, power=recipe.power
    )
    sgd = keras.optimizers.SGD(
        schedule,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay / (1 - recipe.momentum) or None,
    )
    sgd.exclude_from_weight_decay(var_names=["gamma", "beta", "bias", "log_temperature"])
    return sgd


def resume(model, checkpoint):
    """Loads weights and optimizer state where there is a checkpoint; returns the steps done."""
    model.optimizer.build(model.trainable_variables)
    if checkpoint.exists():
        model.load_weights(checkpoint)
        print(f"resumed from {checkpoint} at step {_number(model.optimizer.iterations):.0f}")
    return int(_number(model.optimizer.iterations))


def fit(model, recipe, train_data, val_data, output, step):
    """Trains from `step` to the last step, an epoch a call; returns whether it got there."""
    callbacks = [
        Validation(predictor(model), val_data),  # first: the others log what it finds
        keras.callbacks.CSVLogger(output / "log.csv", append=True),
        keras.callbacks.TensorBoard(output / "tensorboard"),
        Checkpoint(output / CHECKPOINT),
    ]
    try:
        while step < recipe.steps:
            epoch = step // recipe.steps_per_epoch
            end = min((epoch + 1) * recipe.steps_per_epoch, recipe.steps)
            model.fit(
                data.train_batches(
                    train_data, recipe.batch_size, recipe.crop_size, recipe.seed, start_step=step
                ),
                steps_per_epoch=end - step,
                initial_epoch=epoch,
                epochs=epoch + 1,
                callbacks=callbacks,
                verbose=1 if sys.stdout.isatty() else 2,
            )
            step = end
    except Interrupted:
        return False
    return True


class Validation(keras.callbacks.Callback):
    """Adds val_miou and val_pixel_accuracy, at source size, to the logs of an epoch.

    Not `validation_data`: under `MirroredStrategy` that fails on batches of one image, and images
    of different sizes make no larger batch.
    """

    def __init__(self, predict, val_data):
        super().__init__()
        self.predict, self.val_data = predict, val_data

    def on_epoch_end(self, epoch, logs=None):
        report = evaluation.evaluate(self.predict, self.val_data)
        logs.update({f"val_{key}": report[key] for key in ("miou", "pixel_accuracy")})


class Interrupted(Exception):
    """Training was asked to stop and has written its checkpoint."""


class Checkpoint(keras.callbacks.Callback):
    """Writes weights and optimizer state after every epoch, and on Ctrl-C or SIGTERM, then stops.

    Raises:
        Interrupted: after a signal, once the running step is done and the checkpoint written.
        FloatingPointError: the loss is not a number; the last checkpoint stays as it is.
    """

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.interrupted = False

    def on_train_begin(self, logs=None):
        self.handlers = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.handlers[number] = signal.signal(number, self._interrupt)

    def on_train_end(self, logs=None):
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def on_train_batch_end(self, batch, logs=None):
        if math.isnan(logs["loss"]):
            step = _number(self.model.optimizer.iterations)
            raise FloatingPointError(f"loss is NaN at step {step:.0f}; try a lower learning_rate")
        if self.interrupted:
            self._save()
            self.on_train_end()
            raise Interrupted

    def on_epoch_end(self, epoch, logs=None):
        self._save()

    def _interrupt(self, number, frame):
        self.interrupted = True

    def _save(self):
        part = self.path.with_name(f"part.{self.path.name}")
        self.model.save_weights(part)
        part.replace(self.path)


def finish(model, recipe, val_data, output):
    """Evaluates and draws the trained model, writes model.keras and report.json."""
    model.save(output / "part.keras")
    (output / "part.keras").replace(output / "model.keras")
    predict = predictor(model)
    report = {
        **evaluation.evaluate(predict, val_data),
        "steps": recipe.steps,
        "multiply_adds": keras_dup.flops.count(model, recipe.crop_size),
    }
    if recipe.decoder == "dupsampling":
        report["temperature"] = math.exp(_number(model.get_layer("softmax").log_temperature))
    _write_json(report, output / "report.json")
    print(evaluation.table(report))
    draw.comparison({"prediction": predict}, val_data, output / "predictions.png")
    draw.curves(output / "log.csv", output / "curves.png")
    print(f"report.json, model.keras, predictions.png and curves.png are in {output}")
    return report


def _check_extras():
    for module in ("tensorboard", "matplotlib"):
        if importlib.util.find_spec(module) is None:
            raise ImportError(f"training needs {module}: pip install 'keras-dup[train]'")


def _projection(recipe, train_data, output):
    """The projection of the recipe, fitted to the training label maps where none is named."""
    if recipe.decoder != "dupsampling":
        return None
    if recipe.projection:
        return keras_dup.projection.load(recipe.projection)
    path = output / "projection.npz"
    if not path.exists():
        fitted = keras_dup.projection.fit(
            train_data.label_maps(),
            num_classes=recipe.num_classes,
            ratio=recipe.output_stride,
            channels=recipe.channels,
            ignore_class=data.VOID,
        )
        fitted.save(path)
        explained = 100 * fitted.explained_variance_ratio.sum()
        print(f"{path}: {recipe.channels} channels, {explained:.2f} % of the labels' variance")
    return keras_dup.projection.load(path)


def _save_recipe(recipe, output):
    """Writes recipe.json; a run that goes on has to go on with the same recipe."""
    path, new = output / "recipe.json", json.loads(json.dumps(dataclasses.asdict(recipe)))
    if path.exists() and (output / CHECKPOINT).exists():
        old = json.loads(path.read_text())
        changed = [f"{k}: {old.get(k)} -> {new[k]}" for k in new if old.get(k) != new[k]]
        if changed:
            raise ValueError(
                f"{output} holds a run of another recipe ({'; '.join(changed)}); give another "
                "--output, or delete the folder to start anew"
            )
    _write_json(new, path)


def _number(variable):
    return float(keras.ops.convert_to_numpy(variable))  # mirrored variables have no float()


def _write_json(content, path):
    part = path.with_name(f"part.{path.name}")
    part.write_text(json.dumps(content, indent=2) + "\n")
    part.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("recipe", help="a file of training/recipes/")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--output", help="folder of the run; training/runs/NAME by default")
    arguments = parser.parse_args()
    recipe = load(arguments.recipe, arguments.overrides)
    train(recipe, arguments.output or RUNS / recipe.name)


if __name__ == "__main__":
    main()
