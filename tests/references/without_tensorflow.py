"""A process on JAX in which TensorFlow is not installed: build, fit, train twice, predict, fold.

    python tests/references/without_tensorflow.py OUTPUT

OUTPUT gets two runs, first/ and second/, and facts.json.
"""

import importlib.machinery
import json
import os
import pathlib
import sys
import time

HIDDEN = "tensorflow", "tensorflow_datasets"


class Finder:
    """Python's finder of packages, from which some are hidden."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            return None
        return importlib.machinery.PathFinder.find_spec(name, path, target)


def tiny(recipe, projection):
    """The network of a recipe, on an encoder that compiles in a second."""
    import keras

    from keras_dup import models

    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 16, 16, padding="same")(image)
    encoder = keras.Model(image, keras.layers.ReLU()(keras.layers.BatchNormalization()(x)))
    return models.build(encoder, recipe.num_classes, 16, channels=8, projection=projection)


def end_of(text):
    return lambda event: event.endswith(text)


def main(output):
    import jax
    import numpy as np

    import keras_dup
    from keras_dup import data, inference, models, training
    from keras_dup.export import fold
    from keras_dup.training import _run

    class Slow(data.Shapes):
        def image(self, i):
            time.sleep(0.2)
            return super().image(i)

    events = []
    jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
    _run.datasets = lambda *_: (Slow(8, (32, 32)), data.Shapes(2, (32, 32), seed=1))
    recipe = training.Recipe(
        name="tiny",
        num_classes=7,
        network="without_tensorflow:tiny",
        decoder="dupsampling",
        channels=8,
        crop_size=(32, 32),
        batch_size=4,
        augmentation=("color_jitter", "rotation"),
        steps=6,
        steps_per_epoch=3,
        learning_rate=0.01,
    )
    facts = {"compiled": []}
    for name in ("first", "second"):
        events.clear()
        training.train(recipe, output / name)
        ends = "/compile_requests_use_cache", "/cache_hits"
        facts["compiled"].append([sum(map(end_of(end), events)) for end in ends])
        jax.clear_caches()
    model = models.load(output / "second" / "best.keras")
    image = data.Shapes(1, (32, 48)).image(0)
    label_map = inference.predict(model, image)
    folded = np.asarray(fold(model)(image[None].astype("float32")))[0]
    facts["equal"] = float((label_map == folded).mean())
    try:
        facts["litert"] = str(keras_dup.export.litert)
    except ImportError as error:
        facts["litert"] = str(error)
    facts["tensorflow"] = "tensorflow" in sys.modules
    (output / "facts.json").write_text(json.dumps(facts))


def hide():
    """Hides the packages from what is imported after this."""
    sys.meta_path = [
        Finder if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path
    ]


if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    hide()
    main(pathlib.Path(sys.argv[1]))
