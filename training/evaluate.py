"""Evaluates a run's model.keras, or its best.keras, on the validation data of its recipe again.

python -m training.evaluate training/runs/NAME [best.keras]
"""

import argparse
import pathlib

from keras_dup import evaluation, models
from keras_dup.training import datasets, load_recipe, predictor


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("model", nargs="?", default="model.keras")
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.run / "recipe.json")
    predict = predictor(models.load(arguments.run / arguments.model))
    print(evaluation.table(evaluation.evaluate(predict, datasets(recipe)[1])))


if __name__ == "__main__":
    main()
