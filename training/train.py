"""Trains a recipe: `python -m training.train training/recipes/NAME.py [key=value ...]`.

Everything goes to training/runs/NAME (or --output), see `keras_dup.training.train`. The same
command goes on where a stopped run was, to the weights of an uninterrupted one. Over several
machines: the same command on each, with $TF_CONFIG and a shared --output; a worker that loses
another one starts itself again and waits for it.
"""

import argparse
import pathlib

from keras_dup import training

RUNS = pathlib.Path(__file__).parent / "runs"
RAW = argparse.RawDescriptionHelpFormatter


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("recipe", help="a file of training/recipes/")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--output", help="folder of the run; training/runs/NAME by default")
    arguments = parser.parse_args()
    recipe = training.load_recipe(arguments.recipe, arguments.overrides)
    training.train_or_exit(recipe, arguments.output or RUNS / recipe.name)


if __name__ == "__main__":
    main()
