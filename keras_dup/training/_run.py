"""A run: check the data, fit W, train, validate, keep the best, report, whatever interrupts it."""

import dataclasses
import importlib.util
import math
import os
import pathlib
import sys
import time
from typing import Any

import keras

from keras_dup import data, evaluation, flops, pictures, projection
from keras_dup._lists import write_lines
from keras_dup._whole import write_json, write_picture, writing
from keras_dup.models import load_projection
from keras_dup.projection import _label_projection
from keras_dup.projection._report import flat_classes
from keras_dup.training import _callbacks, _distribution, _folder
from keras_dup.training._checkpoint import Checkpoint, restore
from keras_dup.training._datasets import datasets
from keras_dup.training._errors import Interrupted, WorkerLost
from keras_dup.training._log import Log, read_log
from keras_dup.training._network import build_network
from keras_dup.training._predictor import predictor
from keras_dup.training._recipe import Recipe
from keras_dup.training._training_copy import TrainingModel, pretraining_copy, training_copy

_MAPS_PER_WORKER = 200  # to fit W: for fewer a process is not worth its start


def train(recipe: Recipe, output: str | os.PathLike) -> dict[str, Any] | None:
    """Runs a recipe to its end in a folder; goes on with what is there.

    The folder gets classes.txt, recipe.json, runs.json (commit, versions, machine of each start),
    split.json (the files to train and to validate on), projection.npz, log.csv, curves.png,
    TensorBoard's files, checkpoints, and best.keras; at the end model.keras, report.json and
    predictions.png. After a kill at any instant the same call goes on from the last checkpoint, to
    the weights of an uninterrupted run. Ctrl-C and SIGTERM write a checkpoint first.

    Over several processes ($TF_CONFIG) all call this with the same folder, in which the first
    writes.

    Args:
        recipe: the recipe.
        output: the folder.

    Returns: the report of `keras_dup.evaluation.evaluate` and more; None in a process that is not
        the first of several.

    Raises:
        ImportError: the extra `train` is missing.
        ValueError: files that cannot be used, all of them named; a class that occurs in no mask;
            another run is at work in the folder, or it holds a run of another recipe, of other
            files, or on another Keras backend.
        OSError: the disk is full, read-only or gone: one line that says what to do.
        FloatingPointError: the loss is NaN.
        Interrupted: after Ctrl-C or SIGTERM.
        WorkerLost: of several processes another one ended; start again.
    """
    strategy = _distribution.strategy(recipe.devices)  # first: it must find TensorFlow untouched
    _check_extras()  # now, not after hours
    output = pathlib.Path(output)
    if not _distribution.is_chief():
        return _train(recipe, output, strategy)
    with _folder.locked(output):
        return _train(recipe, output, strategy)


def train_or_exit(recipe: Recipe, output: str | os.PathLike) -> dict[str, Any] | None:
    """`train` for a command: an error becomes one line and an exit status.

    130 after Ctrl-C, 143 after SIGTERM, 1 after another error. After `WorkerLost` this process
    starts itself again, by its own command line.
    """
    try:
        return train(recipe, output)
    except WorkerLost as error:
        return _distribution.start_again(error)
    except Interrupted as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.status) from error
    except (ImportError, ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"train: {error}") from error


def _train(recipe, output, strategy):
    train_data, val_data = datasets(recipe, output)
    if not _folder.has_begun(output):
        _check_files(recipe, train_data, val_data)
    if _distribution.is_chief():
        _folder.keep_recipe(recipe, output)
        _folder.keep_split(train_data, val_data, output)
        write_lines(output / "classes.txt", train_data.class_names)
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.dtype_policy)
    fitted = _projection(recipe, train_data, output)
    predicting = build_network(recipe, fitted)
    with strategy.scope():
        training = training_copy(predicting, recipe, strategy.num_replicas_in_sync)
    run = _Run(recipe, output, strategy, predicting, training, train_data, val_data)
    with _distribution.noticing_lost_workers():
        if recipe.pretraining_steps:
            run.pretrain(fitted)
        validation = run.train()
        training.update_network()
        report = run.finish(validation) if _distribution.is_chief() else None
        _distribution.barrier(strategy)
    return report


@dataclasses.dataclass
class _Run:
    recipe: Recipe
    output: pathlib.Path
    strategy: Any
    predicting: keras.Model  # the network, as it is saved
    training: TrainingModel  # its copy that is trained
    train_data: Any
    val_data: Any

    def pretrain(self, fitted):
        """Regression of the features to the compressed labels (Eq. 4)."""
        if (self.output / _folder.CHECKPOINT).exists():
            return  # it is over
        with self.strategy.scope():
            features = pretraining_copy(self.training, self.recipe, fitted)
        checkpoint = self.output / _folder.PRETRAINED
        restore(features, checkpoint)
        self._fit(features, "pretraining", self.recipe.pretraining_steps, checkpoint, [])

    def train(self):
        """Returns the report of the last validation, if there was one."""
        recipe, output = self.recipe, self.output
        checkpoint = output / _folder.CHECKPOINT
        restore(self.training, checkpoint)
        step, log = self.training.done, output / "log.csv"
        best = [float(row["val_miou"]) for row in read_log(log, step)]
        validation = _callbacks.Validation(
            self.predicting, self.val_data, output, max(best, default=-math.inf)
        )
        extra = [validation]
        if _distribution.is_chief():
            extra.append(Log(output, self.predicting, self.val_data, step))
        self._fit(self.training, "training", recipe.steps, checkpoint, extra)
        return validation.report

    def _fit(self, model, title, steps, checkpoint, extra):
        """Trains from the step that the model is at to the last step; each call is an epoch."""
        recipe = self.recipe
        if model.done >= steps:
            return
        around = [
            _callbacks.Count(),
            _callbacks.NotANumber(recipe, self.train_data),
            _callbacks.Speed(recipe.batch_size),
            *extra,
            _callbacks.Progress(title, steps, model.done),
            Checkpoint(checkpoint, recipe.checkpoint_steps),
        ]
        while model.done < steps:
            step, epoch = model.done, model.done // recipe.steps_per_epoch
            end = min((epoch + 1) * recipe.steps_per_epoch, steps)
            model.fit(
                _distribution.train_batches(
                    self.strategy,
                    self.train_data,
                    recipe.batch_size,
                    crop_size=recipe.crop_size,
                    seed=recipe.seed,
                    start_step=step,
                    scale_range=recipe.scale_range,
                ),
                steps_per_epoch=end - step,
                initial_epoch=epoch,
                epochs=epoch + 1,
                callbacks=around,
                shuffle=False,  # done
                verbose=0,
            )

    def finish(self, validated):
        """Saves, evaluates and draws the trained network; returns the report."""
        output, recipe = self.output, self.recipe
        predict = predictor(self.predicting)
        with writing(output / "model.keras") as path:
            self.predicting.save(path)
        report = validated or evaluation.evaluate(predict, self.val_data, warn=False)
        report = {**report, "steps": recipe.steps}
        report["multiply_adds"] = _multiply_adds(self.predicting, recipe.crop_size)
        rows = read_log(output / "log.csv", recipe.steps)
        if rows:
            best = max(rows, key=lambda row: float(row["val_miou"]))
            report["best"] = {"step": int(best["step"]), "miou": float(best["val_miou"])}
            if "temperature" in rows[-1]:
                report["temperature"] = float(rows[-1]["temperature"])
        write_json(report, output / "report.json")
        picture = pictures.comparison(self.val_data, {"prediction": predict}, 6, 240)
        write_picture(picture, output / "predictions.png")
        print(evaluation.table(report))
        if rows:
            found = report["best"]
            print(f"best validation: {100 * found['miou']:.2f} % at step {found['step']}")
        print(f"model.keras, best.keras, report.json, predictions.png, curves.png: {output}")
        return report


def _multiply_adds(model, size):
    """`flops.count`, or None, and a line that says why: no reason to lose a trained network."""
    try:
        return flops.count(model, size)
    except (ValueError, TypeError) as error:  # of layers of one's own, which may hide their sizes
        print(f"multiply-adds not counted: {error}")
        return None


def _check_extras():
    for module in ("tensorboard", "matplotlib"):
        if importlib.util.find_spec(module) is None:
            raise ImportError(f"training needs {module}: pip install 'keras-dup[train]'")


def _check_files(recipe, *splits):
    """Reads every file of folders: names all that are bad, or leaves them out; all classes occur.

    Raises ValueError for bad files, and for a class that occurs in no mask to train on.
    """
    faults = []
    for split in splits:
        if isinstance(split, data.Folder):
            try:
                split.check(on_error="skip" if recipe.skip_bad else "raise")
            except ValueError as error:
                faults.append(str(error))
    if faults:
        raise ValueError("\n".join(faults))
    train_data = splits[0]
    if isinstance(train_data, data.Folder):
        complaint = train_data.id_counts.complaint(recipe.num_classes, train_data.class_names)
        if complaint and not recipe.allow_absent_classes:
            raise ValueError(f"{complaint}; to train all the same, set allow_absent_classes=true")
        if complaint:
            print(complaint)


def _projection(recipe, train_data, output):
    """The projection of the recipe, fitted to the training label maps where none is named."""
    if recipe.decoder != "dupsampling" or recipe.projection == "random":
        return None
    if recipe.projection == "nearest":
        return _label_projection.nearest(recipe.num_classes, recipe.window_ratio)
    if recipe.projection:
        return load_projection(recipe.projection)
    path, made_of = output / _folder.PROJECTION, _folder.fitted_on(recipe, train_data)
    while not _folder.is_fitted_on(output, made_of):
        if _distribution.is_chief():
            _fit_projection(recipe, train_data, path)
            write_json(made_of, output / "projection.json")
        else:
            time.sleep(1)  # the first process is at it
    return projection.load(path)


def _fit_projection(recipe, train_data, path):
    path.with_suffix(".json").unlink(missing_ok=True)  # until the new W is whole
    many = len(train_data) // _MAPS_PER_WORKER if isinstance(train_data, data.Folder) else 1
    fitted = projection.fit(
        train_data.label_maps(),
        num_classes=recipe.num_classes,
        ratio=recipe.window_ratio,
        channels=recipe.channels,
        ignore_class=data.VOID,
        verbose=True,
        class_balance=recipe.class_balance,
        workers=max(1, min(os.cpu_count() or 1, many)),
    )
    fitted.save(path)
    explained = 100 * fitted.explained_variance_ratio.sum()
    print(f"{path}: {recipe.channels} channels, {explained:.2f} % of the labels' variance")
    if flat := flat_classes(fitted, recipe.class_names):
        print(flat)
