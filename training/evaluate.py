"""Evaluates a run's model.keras on the validation data of its recipe.json again.

python -m training.evaluate training/runs/NAME
"""

import argparse
import json
import pathlib

import keras
import tensorflow as tf

from keras_dup.evaluation import evaluate, table


def predictor(model):
    """Image (H, W, 3) -> (H, W) class ids, traced once for all sizes.

    Not `model.predict`, which under `MirroredStrategy` fails on batches of one image.
    """
    signature = [tf.TensorSpec((1, None, None, 3), tf.float32)]
    run = tf.function(lambda image: tf.argmax(model(image), -1), input_signature=signature)
    return lambda image: run(image[None].astype("float32")).numpy()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    run = parser.parse_args().run
    from training.recipe import Recipe, datasets

    recipe = Recipe(**json.loads((run / "recipe.json").read_text()))
    model = keras.models.load_model(run / "model.keras", compile=False)
    print(table(evaluate(predictor(model), datasets(recipe)[1])))


if __name__ == "__main__":
    main()
