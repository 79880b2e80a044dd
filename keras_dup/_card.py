"""The model card: README.md of a saved model, with the front matter that hubs read."""

import json
import re
from collections.abc import Mapping
from typing import Any

import keras

from keras_dup._hub import WRITTEN, is_handle
from keras_dup.inference import one_size

__all__ = ["card", "check"]

_METRICS = {"miou": "mean_iou", "pixel_accuracy": "accuracy"}  # ours -> Hugging Face's names
_FILES = {
    "config.json": "the layers, the names and the colours of the classes; written by Keras",
    "model.weights.h5": "the weights; written by Keras",
    "metadata.json": "the version of Keras",
    "projection.npz": "W and the mean; `keras_dup.projection.load` reads them",
    "classes.txt": "the names of the classes, one per line",
    "colours.txt": "name, red, green and blue of each class",
    "metrics.json": "all figures of the evaluation",
}


def check(
    dataset: str | None, license: str | None, metrics: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns what a card tells of a model beside its layers; ValueError for what a hub refuses."""
    if license is not None and not re.fullmatch(r"[a-z0-9.-]+", license):
        raise ValueError(
            f"save: license={license!r}; expected is a licence's id on the hub, such as "
            "'apache-2.0', 'cc-by-4.0' or 'other'"
        )
    if metrics and not dataset:
        raise ValueError("save: metrics without dataset; name the data that they were measured on")
    try:
        json.dumps(metrics, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"save: metrics cannot be written as JSON ({error})") from error
    return {"dataset": dataset, "license": license, "metrics": dict(metrics or {})}


def card(model: keras.Model, source: str, files: set[str], told: dict[str, Any]) -> str:
    """The text of README.md.

    Args:
        model: (B, H, W, 3) -> (B, H, W, K).
        source: the folder's name, or the handle.
        files: the names of the files beside it.
        told: what `check` returns, and "description".
    """
    name = source.split("/")[3] if is_handle(source) else source
    metrics, dataset = told["metrics"], told["dataset"]
    parts = [
        _front_matter(name, told),
        WRITTEN,
        f"# {name}",
        told["description"] or "Semantic segmentation: each pixel of an image gets a class.",
        _use(source),
        f"Input: (B, H, W, 3), 0..255{_size(model)}; preprocessing is inside. Output: (B, H, W, "
        f"{model.output_shape[-1]}), probabilities. {model.count_params():,} parameters.",
    ]
    if names := getattr(model, "class_names", ()):
        parts += ["## Classes", ", ".join(f"{i} {one}" for i, one in enumerate(names))]
    if figures := _figures(metrics):
        rows = [(f"`{key}`", f"{value:.4f}") for key, value in figures.items()]
        parts += [f"## Figures on {dataset}", _table(("figure", "value"), rows)]
    if ious := {k: v for k, v in metrics.get("iou", {}).items() if v is not None}:
        parts += [_table(("class", "IoU"), [(k, f"{v:.4f}") for k, v in ious.items()])]
    rows = [(f"`{file}`", what) for file, what in _FILES.items() if file in files]
    parts += ["## Files", _table(("file", "what"), rows)]
    return "\n\n".join(parts) + "\n"


def _front_matter(name, told):
    """YAML; its values are JSON, which is YAML too."""
    slug = re.sub(r"[^\w./-]+", "-", told["dataset"] or "").strip("-").lower()
    figures = {_METRICS.get(key, key): v for key, v in _figures(told["metrics"]).items()}
    fields = {
        "library_name": "keras",
        "pipeline_tag": "image-segmentation",
        "tags": ["keras-dup", "semantic-segmentation"],
        "license": told["license"],
        "datasets": slug and [slug],
        "metrics": list(figures),
    }
    if figures:
        result = {
            "task": {"type": "image-segmentation"},
            "dataset": {"type": slug, "name": told["dataset"]},
            "metrics": [{"type": key, "value": value} for key, value in figures.items()],
        }
        fields["model-index"] = [{"name": name, "results": [result]}]
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in fields.items()
        if value
    }
    lines = [f"{key}: {text}" for key, text in texts.items()]
    return "\n".join(["---", *lines, "---"])


def _figures(metrics):
    """The numbers of a report, without counts."""
    return {key: value for key, value in metrics.items() if isinstance(value, float)}


def _use(source):
    extra = {"hf": "[huggingface]", "kaggle": "[kaggle]"}.get(source.partition("://")[0], "")
    return (
        f"```python\nfrom keras_dup import inference  # pip install 'keras-dup{extra}'\n\n"
        f'label_map = inference.predict("{source}", "photo.jpg")  # (H, W), class ids\n```'
    )


def _size(model):
    size = one_size(model)
    return "" if size is None else f", of {size[0]} x {size[1]} pixels"


def _table(head, rows):
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)
