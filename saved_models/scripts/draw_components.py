"""Draws the first components of a projection as windows per class, the picture of the README.

    python -m saved_models.scripts.draw_components voc2012_r16_c64 \
        -o saved_models/voc2012_components.png \
        --class-names saved_models/voc2012_classes.txt --columns 6 --rows 1 2 3 8 22 24 27 30 40 55
"""

import argparse
import pathlib

from keras_dup.projection import _figures, load


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("projection", help="a name that `build` knows, or the path of an .npz")
    parser.add_argument("-o", "--output", required=True, help="the picture, a PNG")
    parser.add_argument("--class-names", type=pathlib.Path, help="text file, one name per line")
    parser.add_argument("--rows", type=int, nargs="+", default=range(1, 9), help="from 1 on")
    parser.add_argument("--columns", type=int, default=8, help="how many classes")
    arguments = parser.parse_args()
    names = arguments.class_names and arguments.class_names.read_text().splitlines()
    projection = load(arguments.projection)
    _figures.components(arguments.output, projection, arguments.rows, arguments.columns, names)


if __name__ == "__main__":
    main()
