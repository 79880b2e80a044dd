"""A run: check the data, fit W, train, validate, keep the best, report, whatever interrupts it."""

import contextlib
import dataclasses
import datetime
import importlib.util
import json
import math
import os
import pathlib
import platform
import subprocess
import time
from importlib import metadata

import keras
import tensorflow as tf

from keras_dup import data, evaluation, flops, pictures, projection
from keras_dup.lists import write_lines
from keras_dup.models import load_projection
from keras_dup.projection.report import flat_classes
from keras_dup.training import callbacks, distribution, upper_bound
from keras_dup.training.network import build_network, regressing, training_copy
from keras_dup.training.recipe import Recipe, datasets
from keras_dup.whole import write_json, writing

CHECKPOINT = "checkpoint.weights.h5"
PRETRAINED = "pretraining.weights.h5"
_VERSIONS = ("keras-dup", "keras", "tensorflow", "jax", "numpy")


def train(recipe, output, restart=False):
    """Runs a recipe to its end, or to Ctrl-C, in a folder; goes on with what is there.

    The folder gets classes.txt, recipe.json, runs.json (commit, versions, machine of each start),
    projection.npz, log.csv, curves.png, TensorBoard's files, checkpoints, and best.keras; at the
    end model.keras, report.json and predictions.png. After a kill at any instant the same call goes
    on from the last checkpoint, to the weights of an uninterrupted run.

    Over several processes ($TF_CONFIG) all call this with the same folder, in which the first
    writes.

    Args:
        recipe: a `Recipe`.
        output: the folder.
        restart: of several processes, whether this one starts itself again, by its own command
            line, when another one ended.

    Returns: the report of `keras_dup.evaluation.evaluate` and more, or None where the run was
        interrupted, or this process is not the first of several.

    Raises:
        ImportError: the extra `train` is missing.
        ValueError: pictures that cannot be used, all of them named; or the folder holds a run of
            another recipe, or on another Keras backend.
        FloatingPointError: the loss is NaN.
        WorkerLost: of several processes another one ended; start again, or pass `restart`.
    """
    try:
        return _train(recipe, output)
    except distribution.WorkerLost as error:
        if not restart:
            raise
        return distribution.start_again(error)


def _train(recipe, output):
    strategy = distribution.strategy(recipe.devices)  # first: it must find TensorFlow untouched
    _check_extras()  # now, not after hours
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    train_data, val_data = datasets(recipe)
    if distribution.is_chief():
        _save_recipe(recipe, output)
        write_lines(output / "classes.txt", train_data.class_names)
    if recipe.skip_bad or not (output / CHECKPOINT).exists():
        _check_files(recipe, train_data, val_data)
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.dtype_policy)
    fitted = _projection(recipe, train_data, output)
    predicting = build_network(recipe, fitted)
    with strategy.scope():
        training = training_copy(predicting, recipe, strategy.num_replicas_in_sync)
    run = _Run(recipe, output, strategy, predicting, training, train_data, val_data)
    try:
        with distribution.noticing_lost_workers():
            if recipe.pretraining_steps:
                run.pretrain(fitted)
            validation = run.train()
            callbacks.copy_weights(training, predicting)
            report = run.finish(validation) if distribution.is_chief() else None
            distribution.barrier(strategy)
    except callbacks.Interrupted:
        print(f"stopped; the same command goes on from {output / CHECKPOINT}")
        return None
    return report


@dataclasses.dataclass
class _Run:
    recipe: object
    output: pathlib.Path
    strategy: object
    predicting: keras.Model  # the network, as it is saved
    training: keras.Model  # its copy that is trained
    train_data: object
    val_data: object

    def pretrain(self, fitted):
        """Regression of the features to the compressed labels (Eq. 4)."""
        if (self.output / CHECKPOINT).exists():
            return  # it is over
        with self.strategy.scope():
            features = regressing(self.training, self.recipe, fitted)
        checkpoint = self.output / PRETRAINED
        callbacks.restore(features, checkpoint)
        self._fit(features, "pretraining", self.recipe.pretraining_steps, checkpoint, [])

    def train(self):
        """Returns what the last validation found, if there was one."""
        recipe, output = self.recipe, self.output
        checkpoint = output / CHECKPOINT
        callbacks.restore(self.training, checkpoint)
        step, log = self.training.done, output / "log.csv"
        best = [float(row["val_miou"]) for row in callbacks.read_log(log, step)]
        validation = callbacks.Validation(
            self.predicting, self.val_data, output, max(best, default=-math.inf)
        )
        extra = [validation]
        if distribution.is_chief():
            extra.append(callbacks.Log(output, self.predicting, self.val_data, step))
        self._fit(self.training, "training", recipe.steps, checkpoint, extra)
        return validation.report

    def _fit(self, model, title, steps, checkpoint, extra):
        """Trains from the step that the model is at to the last step, an epoch a call."""
        recipe = self.recipe
        if model.done >= steps:
            return
        is_upper_bound = recipe.backbone == upper_bound.NAME
        around = [
            callbacks.Count(),
            callbacks.NotANumber(recipe, self.train_data),
            callbacks.Speed(recipe.batch_size),
            *extra,
            callbacks.Progress(title, steps, model.done),
            callbacks.Checkpoint(checkpoint, recipe.checkpoint_steps),
        ]
        while model.done < steps:
            step, epoch = model.done, model.done // recipe.steps_per_epoch
            end = min((epoch + 1) * recipe.steps_per_epoch, steps)
            model.fit(
                distribution.train_batches(
                    self.strategy,
                    self.train_data,
                    recipe.batch_size,
                    crop_size=recipe.crop_size,
                    seed=recipe.seed,
                    start_step=step,
                    scale_range=recipe.scale_range,
                    change=upper_bound.label_input if is_upper_bound else None,
                ),
                steps_per_epoch=end - step,
                initial_epoch=epoch,
                epochs=epoch + 1,
                callbacks=around,
                shuffle=False,  # done
                verbose=0,
            )

    def finish(self, found):
        """Saves, evaluates and draws the trained network; returns the report."""
        output, recipe = self.output, self.recipe
        predict = callbacks.predictor(self.predicting)
        with writing(output / "model.keras") as path:
            self.predicting.save(path)
        rows = callbacks.read_log(output / "log.csv", recipe.steps)
        best = max(rows, key=lambda row: float(row["val_miou"]))
        report = {
            **(found or evaluation.evaluate(predict, self.val_data)),
            "steps": recipe.steps,
            "best": {"step": int(best["step"]), "miou": float(best["val_miou"])},
            "multiply_adds": _multiply_adds(self.predicting, recipe.crop_size),
        }
        if "temperature" in rows[-1]:
            report["temperature"] = float(rows[-1]["temperature"])
        write_json(report, output / "report.json")
        picture = pictures.comparison(self.val_data, {"prediction": predict}, 6, 240)
        pictures.save(picture, output / "predictions.png")
        print(evaluation.table(report))
        print(f"best validation: {100 * report['best']['miou']:.2f} % at step {best['step']}")
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
    """Reads every file of folders, and names all that are bad, or leaves them out."""
    faults = []
    for split in splits:
        if isinstance(split, data.Folder):
            try:
                split.check(on_error="skip" if recipe.skip_bad else "raise")
            except ValueError as error:
                faults.append(str(error))
    if faults:
        raise ValueError("\n".join(faults))


def _projection(recipe, train_data, output):
    """The projection of the recipe, fitted to the training label maps where none is named."""
    if recipe.decoder != "dupsampling" or recipe.projection == "random":
        return None
    if recipe.projection == "nearest":
        return projection.nearest(recipe.num_classes, recipe.window_ratio)
    if recipe.projection:
        return load_projection(recipe.projection)
    path = output / "projection.npz"
    while not path.exists() and not distribution.is_chief():
        time.sleep(1)  # the first process is at it
    if not path.exists():
        fitted = projection.fit(
            train_data.label_maps(),
            num_classes=recipe.num_classes,
            ratio=recipe.window_ratio,
            channels=recipe.channels,
            ignore_class=data.VOID,
            verbose=True,
            class_balance=recipe.class_balance,
        )
        fitted.save(path)
        explained = 100 * fitted.explained_variance_ratio.sum()
        print(f"{path}: {recipe.channels} channels, {explained:.2f} % of the labels' variance")
        flat = flat_classes(fitted, recipe.class_names)
        if flat:
            print(flat)
    return projection.load(path)


def _save_recipe(recipe, output):
    """Writes recipe.json and runs.json; a run goes on with the same recipe and backend."""
    path, new = output / "recipe.json", json.loads(json.dumps(dataclasses.asdict(recipe)))
    runs = output / "runs.json"
    starts = json.loads(runs.read_text(encoding="utf-8")) if runs.exists() else []
    if path.exists() and (output / CHECKPOINT).exists():
        plain = json.loads(json.dumps(dataclasses.asdict(Recipe(recipe.name, recipe.num_classes))))
        old = {
            **plain,
            **json.loads(path.read_text(encoding="utf-8")),
        }  # of a version that had fewer fields
        changed = [f"{k}: {old[k]} -> {new[k]}" for k in new if old[k] != new[k]]
        if changed:
            raise ValueError(
                f"{output} holds a run of another recipe ({'; '.join(changed)}); give another "
                "--output, or delete the folder to start anew"
            )
        backend, now = starts[-1]["backend"] if starts else None, keras.backend.backend()
        if backend not in (None, now):
            raise ValueError(
                f"{output} holds a run on the backend {backend}, whose checkpoint does not fit "
                f"{now}'s layers; go on with KERAS_BACKEND={backend}, give another --output, or "
                "delete the folder to start anew"
            )
    write_json(new, path)
    write_json([*starts, provenance()], runs)


def provenance():
    """When, with what and where a run starts or goes on."""
    versions = {"python": platform.python_version()}
    for package in _VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
        cwd=pathlib.Path(__file__).parent,
    )
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip() or None,
        "versions": versions,
        "backend": keras.backend.backend(),
        "machine": platform.platform(),
        "processor": processor(),
    }


def processor():
    """The names of the GPUs, else of the CPU and how many of its cores this process may use."""
    if keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return ", ".join(device.device_kind for device in jax.devices())
    if gpus := tf.config.list_physical_devices("GPU"):
        details = map(tf.config.experimental.get_device_details, gpus)
        return ", ".join(detail.get("device_name", "GPU") for detail in details)
    name, cores = platform.processor() or platform.machine(), os.cpu_count()
    if hasattr(os, "sched_getaffinity"):  # Linux
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
        name, cores = (names or [name])[0], len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores"
