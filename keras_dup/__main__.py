"""`python -m keras_dup`: the command `keras-dup`."""

from keras_dup._cli import main

if __name__ == "__main__":  # processes that read masks import this file again
    main()
