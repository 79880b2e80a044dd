"""Models on a hub by their handles: "hf://ORG/NAME" and "kaggle://ORG/MODEL/keras/VARIATION"."""

import importlib.util
import os
import pathlib
import re
import typing

__all__ = ["WRITTEN", "check", "fetch", "is_handle", "locate", "model_in", "send", "weights_of"]

# a card with this line was made by `send`'s callers, and may be replaced
WRITTEN = (
    "<!-- Written by keras_dup.models.save. Without this line the card is yours and stays. -->"
)
CONFIG, WEIGHTS = "config.json", "model.weights.h5"  # Keras's names of what it saves in a folder


class _Hub(typing.NamedTuple):
    pattern: str  # of what comes after "://"
    form: str
    client: str  # its module
    extra: str
    login: str


_HUBS = {
    "hf": _Hub(
        r"[\w.-]+/[\w.-]+", "hf://ORG/NAME", "huggingface_hub", "huggingface", "hf auth login"
    ),
    "kaggle": _Hub(
        r"[\w.-]+/[\w.-]+/[Kk]eras/[\w.-]+(/[1-9]\d*)?",
        "kaggle://ORG/MODEL/keras/VARIATION",
        "kagglehub",
        "kaggle",
        "kagglehub.login()",
    ),
}
_KAGGLES_NAMES = {"apache-2.0": "Apache 2.0", "mit": "MIT"}  # of licences


def is_handle(path_or_handle: object) -> bool:
    """Whether this is meant as a handle, right or not."""
    return isinstance(path_or_handle, str) and bool(re.match(r"\w+://", path_or_handle))


def check(handle: str, to_send: bool = False) -> None:
    """Raises ValueError for no handle of a hub, ImportError where its extra is missing."""
    scheme, _, name = handle.partition("://")
    hub = _HUBS.get(scheme)
    if hub is None or not re.fullmatch(hub.pattern, name):
        forms = " or ".join(known.form for known in _HUBS.values())
        raise ValueError(f"{handle}: a model on a hub is {forms}")
    if to_send and scheme == "kaggle" and name.count("/") > 3:
        raise ValueError(f"{handle}: the hub numbers versions itself; leave the last part out")
    if importlib.util.find_spec(hub.client) is None:
        raise ImportError(f"{handle} needs {hub.client}: pip install 'keras-dup[{hub.extra}]'")


def fetch(handle: str) -> pathlib.Path:
    """The folder of a model on a hub, in the cache of the hub's client.

    Raises OSError where it cannot be had, with what to look at.
    """
    check(handle)
    scheme, _, name = handle.partition("://")
    try:
        if scheme == "hf":
            import huggingface_hub

            return pathlib.Path(huggingface_hub.snapshot_download(name))
        import kagglehub

        return pathlib.Path(kagglehub.model_download(name))
    except Exception as error:  # each client has its own kinds
        raise OSError(_failure(handle, "fetched", error)) from error


def send(folder: str | os.PathLike, handle: str, license: str | None = None) -> None:
    """Sends a folder that holds a model to a hub, as a new version of what is there.

    A card on the hub that was written by hand stays. Raises OSError where the hub refuses.
    """
    check(handle, to_send=True)
    scheme, _, name = handle.partition("://")
    try:
        if scheme == "hf":
            _send_to_hugging_face(folder, name)
        else:
            import kagglehub

            named = _KAGGLES_NAMES.get(license or "")
            kagglehub.model_upload(name, str(folder), license_name=named)
    except Exception as error:
        raise OSError(_failure(handle, "sent", error)) from error


def _send_to_hugging_face(folder, name):
    import huggingface_hub

    api = huggingface_hub.HfApi(library_name="keras-dup")
    api.create_repo(name, exist_ok=True)
    ignored = []
    if api.file_exists(name, "README.md"):
        card = pathlib.Path(api.hf_hub_download(name, "README.md")).read_text(encoding="utf-8")
        if WRITTEN not in card:
            ignored = ["README.md"]
            print(f"hf://{name}: its README.md is written by hand and stays as it is")
    api.upload_folder(
        repo_id=name,
        folder_path=folder,
        commit_message="Model saved by keras-dup",
        ignore_patterns=ignored,
    )


def _failure(handle, done, error):
    hub = _HUBS[handle.partition("://")[0]]
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return (
        f"{handle} could not be {done} ({type(error).__name__}: {reason}). Is the name right, is "
        f"there a network, and, if it is yours or not public, are you logged in ({hub.login})?"
    )


def locate(path_or_handle: str | os.PathLike) -> pathlib.Path:
    """What `keras.models.load_model` takes: a file, a folder; a model on a hub is fetched."""
    fetched = is_handle(path_or_handle)
    path = fetch(str(path_or_handle)) if fetched else pathlib.Path(path_or_handle)
    return model_in(path) if path.is_dir() else path


def model_in(folder: str | os.PathLike) -> pathlib.Path:
    """The folder itself, if Keras saved a model in it, or else the one .keras file there."""
    folder = pathlib.Path(folder)
    if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
        return folder
    files = sorted(folder.glob("*.keras"))
    if len(files) != 1:
        found = "none" if not files else ", ".join(file.name for file in files)
        raise ValueError(
            f"{folder}: no model; a folder of `models.save` ({CONFIG}, {WEIGHTS}) or with one "
            f".keras file is expected, found is {found}"
        )
    return files[0]


def weights_of(path_or_handle: str | os.PathLike) -> list[pathlib.Path]:
    """The files that decide what a model computes."""
    path = locate(path_or_handle)
    return [path / CONFIG, path / WEIGHTS] if path.is_dir() else [path]
