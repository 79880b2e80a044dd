"""Which backend Keras runs on, settled before Keras is imported; without Keras."""

import importlib.util
import json
import os
import pathlib
import sys

__all__ = ["choose_backend", "is_installed", "need_backend", "need_tensorflow"]

BACKENDS = ("tensorflow", "jax", "torch")


def choose_backend() -> str:
    """Returns the backend; sets $KERAS_BACKEND where Keras would take one that is not installed.

    $KERAS_BACKEND decides. Without it Keras takes what keras.json names, into which Keras itself
    writes "tensorflow" when it is first imported: no choice of anyone's if there is no TensorFlow.

    Raises ImportError, with the extras to install, for a backend that is not installed.
    """
    asked = os.environ.get("KERAS_BACKEND")
    name = asked or _in_keras_json() or "tensorflow"
    if "keras" in sys.modules or name not in BACKENDS or is_installed(name):
        return name
    extras = " or ".join(f"pip install 'keras-dup[{backend}]'" for backend in BACKENDS)
    if asked:
        raise ImportError(f"KERAS_BACKEND={asked}, but {asked} is not installed: {extras}")
    for other in BACKENDS:
        if is_installed(other):
            os.environ["KERAS_BACKEND"] = other
            return other
    raise ImportError(f"Keras needs a backend, and none is installed: {extras}")


def need_tensorflow(what: str) -> None:
    """Raises ImportError, with the extra, if TensorFlow is not installed; `what` needs it."""
    if not is_installed("tensorflow"):
        raise ImportError(f"{what} needs TensorFlow: pip install 'keras-dup[tensorflow]'")


def need_backend(what: str, *backends: str) -> None:
    """Raises ValueError, with what to do, if Keras runs on none of `backends`; `what` does."""
    import keras

    now = keras.backend.backend()
    if now not in backends:
        raise ValueError(
            f"{what} runs on {' and '.join(backends)}, not on {now}: start again with "
            f"KERAS_BACKEND={backends[0]}, which loads the models of every backend"
        )


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not."""
    return importlib.util.find_spec(package) is not None


def _in_keras_json():
    folder = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    try:
        return json.loads(pathlib.Path(folder, "keras.json").read_text()).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
