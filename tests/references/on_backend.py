"""What the networks in a folder answer on another backend.

    KERAS_BACKEND=jax python tests/references/on_backend.py FOLDER

A process of its own, since the backend is settled when Keras starts; PyTorch runs where TensorFlow
is not installed. FOLDER has image.npy, networks as .keras files and models of `models.save` in
folders "saved_on_...". It gets BACKEND.npz, the label maps of the models and the probabilities of
the networks by name, and the model saved_on_torch again, saved here. The process on TensorFlow then
says so, waits for a line, and answers what the others have saved in the meantime.
"""

import os
import pathlib
import sys

from without_tensorflow import hide


def answers(folder):
    """{name: probabilities of a .keras file, or the label map of a model in a folder}."""
    import keras
    import numpy as np

    from keras_dup import inference

    image = np.load(folder / "image.npy")
    found = {path.name: inference.predict(path, image) for path in folder.glob("saved_on_*")}
    for path in folder.glob("*.keras"):
        network = keras.models.load_model(path, compile=False)
        y = network(image[None].astype("float32"), training=False)
        found[path.stem] = keras.ops.convert_to_numpy(y)[0]
    return found


def main(folder, backend):
    """Writes what `answers` gives, and the model."""
    import numpy as np

    from keras_dup import models

    found = answers(folder)
    if backend == "torch":
        assert "tensorflow" not in sys.modules
    else:
        models.save(models.load(folder / "saved_on_torch"), folder / f"saved_on_{backend}")
    if backend == "tensorflow":
        print("saved", flush=True)
        sys.stdin.readline()
        found |= answers(folder)
    np.savez(folder / f"{backend}.npz", **found)


if __name__ == "__main__":
    if os.environ["KERAS_BACKEND"] == "torch":
        hide()
    main(pathlib.Path(sys.argv[1]), os.environ["KERAS_BACKEND"])
