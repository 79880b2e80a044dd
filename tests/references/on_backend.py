"""What the networks in a folder answer on another backend.

    KERAS_BACKEND=jax python tests/references/on_backend.py FOLDER

A process of its own, since the backend is settled when Keras starts. FOLDER has image.npy,
networks as .keras files and models of `models.save` in folders "saved_on_...". It gets BACKEND.npz,
the label maps of the models and the probabilities of the networks by name, and the model
saved_on_torch again, saved here.
"""

import pathlib
import sys

import keras
import numpy as np

from keras_dup import inference, models


def answers(folder):
    """{name: probabilities of a .keras file, or the label map of a model in a folder}."""
    image = np.load(folder / "image.npy")
    found = {path.name: inference.predict(path, image) for path in folder.glob("saved_on_*")}
    for path in folder.glob("*.keras"):
        network = keras.models.load_model(path, compile=False)
        y = network(image[None].astype("float32"), training=False)
        found[path.stem] = keras.ops.convert_to_numpy(y)[0]
    return found


if __name__ == "__main__":
    folder, backend = pathlib.Path(sys.argv[1]), keras.backend.backend()
    np.savez(folder / f"{backend}.npz", **answers(folder))
    models.save(models.load(folder / "saved_on_torch"), folder / f"saved_on_{backend}")
