"""A run: check the data, fit W, train, validate, keep the best, report, whatever interrupts it."""

import contextlib
import dataclasses
import math
import os
import pathlib
import sys
from typing import Any

import keras

from keras_dup import evaluation, flops, pictures
from keras_dup._backend import need_backend
from keras_dup._labelled import labelled
from keras_dup._lists import write_lines
from keras_dup._whole import write_json, write_picture, writing
from keras_dup.training import _callbacks, _distribution, _folder
from keras_dup.training._checkpoint import Checkpoint, restore
from keras_dup.training._compile_cache import keep_compiled
from keras_dup.training._datasets import check_files, datasets
from keras_dup.training._errors import Interrupted, WorkerLost
from keras_dup.training._log import Log, number, read_log
from keras_dup.training._network import build_network
from keras_dup.training._predictor import predictor
from keras_dup.training._projection import run_projection
from keras_dup.training._recipe import Recipe
from keras_dup.training._samples import Predictions, draw_samples
from keras_dup.training._training_copy import TrainingModel, pretraining_copy, training_copy


def train(recipe: Recipe, output: str | os.PathLike) -> dict[str, Any] | None:
    """Runs a recipe to its end in a folder; goes on with what is there.

    The folder gets classes.txt, recipe.json, runs.json (commit, versions, machine of each start),
    split.json (the files to train and to validate on), projection.npz, samples.png (the first
    batch as the network sees it), log.csv, checkpoints and best.keras, and at each validation
    predictions/step_000400.png of the same four images; with the extra `train` also curves.png and
    TensorBoard's files; at the end model.keras, report.json and predictions.png.

    After a kill at any instant the same call goes on from the last checkpoint, to the weights of
    an uninterrupted run. Ctrl-C and SIGTERM write a checkpoint first. More steps make a run longer:
    the learning rate then is that of a run of so many steps. The folder may be moved and renamed,
    and so may the data: names and checksums of the files say whether they are the same.

    Over several processes ($TF_CONFIG) all call this with the same folder, in which the first
    writes.

    Args:
        recipe: the recipe.
        output: the folder.

    Returns: the report of `keras_dup.evaluation.evaluate` and more; None in a process that is not
        the first of several.

    Raises:
        ValueError: files that cannot be used, all of them named; a class that occurs in no mask;
            another run is at work in the folder, or it holds a run of another recipe, of other
            files, or on another Keras backend; the backend is PyTorch.
        OSError: the disk is full, read-only or gone: one line that says what to do.
        FloatingPointError: the loss is NaN.
        Interrupted: after Ctrl-C or SIGTERM.
        RuntimeError: of several processes another one ended; start again.
    """
    need_backend("train", "tensorflow", "jax")
    strategy = _distribution.strategy(recipe.devices)  # first: it must find TensorFlow untouched
    keep_compiled()
    output, is_chief = pathlib.Path(output), _distribution.is_chief()
    with _folder.locked(output) if is_chief else contextlib.nullcontext():
        train_data, val_data = datasets(recipe, output)
        if not _folder.has_begun(output):
            check_files(recipe, train_data, val_data)
        contents = {"train": _folder.contents(train_data), "val": _folder.contents(val_data)}
        if is_chief:
            _folder.keep_recipe(recipe, output)
            _folder.keep_split(contents, output)
            write_lines(output / "classes.txt", train_data.class_names)
        recipe = recipe.located()
        keras.utils.set_random_seed(recipe.seed)
        keras.config.set_dtype_policy(recipe.dtype_policy)
        fitted = run_projection(recipe, train_data, output, contents["train"])
        colours = getattr(train_data, "palette", None)
        predicting = labelled(build_network(recipe, fitted), train_data.class_names, colours)
        with strategy.scope():
            training = training_copy(predicting, recipe, strategy.num_replicas_in_sync)
        run = _Run(recipe, output, strategy, predicting, training, train_data, val_data)
        with _distribution.noticing_lost_workers():
            if recipe.pretraining_steps:
                run.pretrain(fitted)
            validation = run.train()
            training.update_network()
            report = run.finish(validation) if is_chief else None
        _leave_together(strategy, recipe, output)
    return report


def _leave_together(strategy, recipe, output):
    """The last wait for the other workers; one that has left after the report is not lost."""
    try:
        with _distribution.noticing_lost_workers():
            _distribution.barrier(strategy)
    except WorkerLost:
        if not _folder.is_finished(output, recipe.steps):
            raise


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
        step = self.training.done
        rows = [(float(x["val_miou"]), int(x["step"])) for x in read_log(output / "log.csv", step)]
        best = max(rows, key=lambda row: row[0], default=(-math.inf, step))
        validation = _callbacks.Validation(self.predicting, self.val_data, output, best[0])
        extra = [validation]
        if _distribution.is_chief():
            if not step:
                first = next(iter(_distribution.batches(self.train_data, **self._stream(0))))
                draw_samples(*first, self.train_data, output / "samples.png")
            elif step < recipe.steps:
                rate = number(self.training.optimizer.learning_rate)
                print(f"step {step} of {recipe.steps}: learning rate {rate:.2g}, which falls to 0")
            predictions = Predictions(self.predicting, self.val_data, output)
            extra += [predictions, Log(output, self.predicting, predictions, step)]
        self._fit(self.training, "training", recipe.steps, checkpoint, extra, best)
        return validation.report

    def _fit(self, model, title, steps, checkpoint, extra, best=None):
        """Trains from the step that the model is at to the last step; each call is an epoch."""
        recipe = self.recipe
        if model.done >= steps:
            return
        around = [
            _callbacks.Count(),
            _callbacks.NotANumber(recipe, self.train_data),
            _callbacks.Speed(recipe.batch_size),
            *extra,
            _callbacks.Progress(title, steps, model.done, best),
            Checkpoint(checkpoint, recipe.checkpoint_steps),
        ]
        while model.done < steps:
            step, epoch = model.done, model.done // recipe.steps_per_epoch
            end = min((epoch + 1) * recipe.steps_per_epoch, steps)
            model.fit(
                _distribution.train_batches(self.strategy, self.train_data, **self._stream(step)),
                steps_per_epoch=end - step,
                initial_epoch=epoch,
                epochs=epoch + 1,
                callbacks=around,
                shuffle=False,  # done
                verbose=0,
            )

    def _stream(self, step):
        """What the batches from a step on are made by."""
        names = "batch_size", "crop_size", "seed", "scale_range", "augmentation"
        return {name: getattr(self.recipe, name) for name in names} | {"start_step": step}

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
        print(f"model.keras, best.keras, report.json, predictions.png: {output}")
        return report


def _multiply_adds(model, size):
    """`flops.count`, or None, and a line that says why: no reason to lose a trained network."""
    try:
        return flops.count(model, size)
    except (ValueError, TypeError) as error:  # of layers of one's own, which may hide their sizes
        print(f"multiply-adds not counted: {error}")
        return None
