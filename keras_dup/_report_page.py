"""A report of `keras_dup.evaluation.evaluate` as one HTML page, with all pictures inside."""

import base64
import html
import io
import typing
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from keras_dup import pictures
from keras_dup._bootstrap import DRAWS

if typing.TYPE_CHECKING:  # it imports TensorFlow
    from keras_dup.data._protocol import Dataset

__all__ = ["report_page"]

_WIDTH = 480  # pixels of an image in the page, at most
_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  margin: 0 auto; padding: 1rem; max-width: 72rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem; }
.tile { border: 1px solid #ccc; border-radius: .4rem; padding: .6rem 1rem; }
.tile b { display: block; font-size: 1.5rem; }
.warning { background: #fff3cd; border-left: .3rem solid #d90; padding: .5rem 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; } th[scope=row], th.left { text-align: left; }
.classes tr { border-bottom: 1px solid #e5e5e5; }
.swatch { display: inline-block; width: .9rem; height: .9rem; margin-right: .4rem;
  vertical-align: -.1rem; border: 1px solid #888; }
.bar { min-width: 6rem; } .bar i { display: block; height: .7rem; background: #3b76b8; }
.wide th[scope=row] { position: sticky; left: 0; background: #fff; }
.matrix td { min-width: 1.9rem; padding: .2rem; text-align: center; font-size: .8rem; }
.matrix th { font-size: .8rem; font-weight: 400; }
figure { margin: 0 0 1.5rem; }
.row div { display: flex; flex-direction: column; justify-content: flex-end; }
figcaption { font-size: .9rem; margin-bottom: .3rem; overflow-wrap: anywhere; }
.row { display: grid; gap: .5rem; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); }
.row div { font-size: .85rem; } .row img { width: 100%; display: block; }
.note { color: #555; font-size: .9rem; max-width: 46rem; }
"""

_Predict = Callable[[np.ndarray], np.ndarray]


def report_page(
    report: Mapping[str, typing.Any],
    dataset: "Dataset",
    predictors: Mapping[str, _Predict],
    colours: Sequence[Sequence[int]] | None = None,
    facts: Sequence[str] = (),
    count: int = 6,
) -> str:
    """Returns the page: scores, classes, confusion matrix, the worst and the best images.

    It is one file that needs no network: pictures are inside as data.

    Args:
        report: of `evaluate`, on this data set.
        dataset: with one of `image_files`, where its images have names.
        predictors: {title: function}, of the model and of the one that it is compared with.
        colours: (K, 3), of the classes.
        facts: lines for the head of the page.
        count: the number of images of either kind.
    """
    names, first = list(dataset.class_names), next(iter(predictors))
    scored = [(value, i) for i, value in enumerate(report["image_miou"]) if value is not None]
    order = [i for _, i in sorted(scored)]
    worst = order[:count]
    best = order[count:][-count:][::-1]
    draw = _Images(report, dataset, predictors, colours)
    parts = [
        _head(report, first, facts),
        _scores(report, list(predictors)),
        "<h2>Classes</h2>",
        _classes(report, names, colours),
        "<h2>Confusion matrix</h2>",
        _confusion(np.asarray(report["confusion"]), names),
        '<h2>The worst images</h2><p class="note">Red is wrong, white is void.</p>',
        *map(draw.figure, worst),
        "<h2>The best images</h2>" if best else "",
        *map(draw.figure, best),
    ]
    title = html.escape(f"Evaluation of {first}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _head(report, title, facts):
    lines = "<br>".join(html.escape(fact) for fact in facts)
    warnings = "".join(f'<p class="warning">{html.escape(w)}</p>' for w in report["warnings"])
    return f"<h1>Evaluation of {html.escape(title)}</h1><p>{lines}</p>{warnings}"


def _scores(report, titles):
    """The scores of all classes together as tiles, and what a difference means."""
    scores = [("mIoU", "miou"), ("pixel accuracy", "pixel_accuracy"), ("mean Dice", "mean_dice")]
    tiles = [(name, report[key], report.get("against", {}).get(key)) for name, key in scores]
    if "boundary_iou" in report:
        theirs = report.get("against", {}).get("boundary_iou", {}).get("mean")
        tiles.append(("boundary IoU", report["boundary_iou"]["mean"], theirs))
    shown = "".join(
        f'<div class="tile">{name}<b>{_percent(ours)}</b>'
        + (f"{html.escape(titles[1])}: {_percent(theirs)}" if len(titles) > 1 else "")
        + "</div>"
        for name, ours, theirs in tiles
    )
    text = f'<div class="tiles">{shown}</div>'
    if len(titles) < 2:
        return text
    value, low, high = (100 * bound for bound in report["difference"]["miou"])
    within = low <= 0 <= high
    where = "lies" if within else "does not lie"
    order = "could" if within else "would hardly"
    ours, theirs = map(html.escape, titles)
    return text + (
        f"<p><b>{ours} minus {theirs}: {value:+.2f} points of mIoU, {low:+.2f} to {high:+.2f}</b> "
        f"in 95 % of {DRAWS} draws of the images with replacement. 0 {where} between them: other "
        f'images of this kind {order} turn the order round.</p><p class="note">This holds the '
        "chance of the images alone. Another training of either model adds its own, and frames of "
        "one film are more alike than such draws suppose.</p>"
    )


def _classes(report, names, colours):
    """A row per class: colour, name, scores, share of the pixels, difference."""
    true = np.asarray(report["confusion"]).sum(1)
    compared = "against" in report
    head = ["class", "IoU", "", "Dice", "precision", "recall", "share of pixels"]
    head += ["IoU of the other", "difference, 95 % of the draws"] if compared else []
    cells = "".join(f'<th class="left">{t}</th>' if t == "class" else f"<th>{t}</th>" for t in head)
    rows = []
    table = pictures.class_colours(colours)
    for k, key in enumerate(report["iou"]):
        red, green, blue = table[k % len(table)].tolist()
        iou = report["iou"][key]
        row = [
            f'<th scope="row"><span class="swatch" style="background:rgb({red},{green},{blue})">'
            f"</span>{html.escape(key)}</th>",
            f"<td>{_percent(iou)}</td>",
            f'<td class="bar"><i style="width:{100 * (iou or 0):.1f}%"></i></td>',
            *(f"<td>{_percent(report[n][key], '-')}</td>" for n in ("dice", "precision", "recall")),
            f"<td>{_percent(true[k] / max(1, true.sum()))}</td>",
        ]
        if compared:
            row.append(f"<td>{_percent(report['against']['iou'][key])}</td>")
            row.append(f"<td>{_points(report['difference']['iou'][key])}</td>")
        rows.append(f"<tr>{''.join(row)}</tr>")
    return f'<div class="wide"><table class="classes"><tr>{cells}</tr>{"".join(rows)}</table></div>'


def _confusion(counts, names):
    """A cell per pair of classes: the share of the true class, darker where larger."""
    true = counts.sum(1)
    shares = counts / np.maximum(true[:, None], 1)
    head = "".join(
        f'<th title="{html.escape(name, quote=True)}">{k}</th>' for k, name in enumerate(names)
    )
    rows = []
    for k, name in enumerate(names):
        cells = []
        for j, share in enumerate(shares[k].tolist()):
            colour = "34,120,60" if j == k else "190,30,30"
            words = f"{name} taken for {names[j]}: {counts[k, j]} pixels, {100 * share:.1f} %"
            style = f"background:rgba({colour},{share:.3f})" + (
                ";color:#fff" if share > 0.8 else ""
            )
            shown = f"{100 * share:.0f}" if share >= 0.005 else ""
            given = f' style="{style}" title="{html.escape(words, quote=True)}"' if share else ""
            cells.append(f"<td{given}>{shown}</td>")
        rows.append(
            f'<tr><th scope="row">{html.escape(name)}</th><th>{k}</th>{"".join(cells)}</tr>'
        )
    return (
        '<p class="note">A row is a true class, a column a predicted one; numbers are per cent of '
        "the pixels of the true class.</p>"
        f'<div class="wide"><table class="matrix"><tr><th></th><th></th>{head}</tr>'
        f"{''.join(rows)}</table></div>"
    )


class _Images:
    """Draws an image with its truth, its predictions and what is wrong in them."""

    def __init__(self, report, dataset, predictors, colours):
        self.report, self.dataset, self.predictors = report, dataset, predictors
        self.colours = colours

    def figure(self, i):
        image, truth = self.dataset.image(i), self.dataset.label_map(i)
        shown = {"image": image, "truth": self._over(image, truth)}
        for title, predict in self.predictors.items():
            found = np.asarray(predict(image))
            name = title if len(self.predictors) > 1 else "prediction"
            shown[name] = self._over(image, found)
            shown[f"wrong in {name}"] = pictures.difference(truth, found)
        miou = self.report["image_miou"][i]
        files = getattr(self.dataset, "image_files", None)
        name = files[i].name if files else f"image {i}"
        caption = f"{html.escape(name)}: mIoU {_percent(miou)}"
        if "against" in self.report:
            caption += f", the other {_percent(self.report['against']['image_miou'][i])}"
        cells = ""
        for title, picture in shown.items():
            words = html.escape(title, quote=True)
            text = "wrong" if title.startswith("wrong in ") else words
            cells += f'<div>{text}<img src="{_data(picture)}" alt="{words}"></div>'
        return f'<figure><figcaption>{caption}</figcaption><div class="row">{cells}</div></figure>'

    def _over(self, image, label_map):
        names = list(self.dataset.class_names)
        return pictures.mixed(image, label_map, 0.6, names, self.colours)


def _data(picture):
    """A picture as the address of itself."""
    image = Image.fromarray(picture)
    if image.width > _WIDTH:
        image = image.resize((_WIDTH, max(1, round(image.height * _WIDTH / image.width))))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _percent(value, otherwise="absent"):
    return otherwise if value is None else f"{100 * value:.2f} %"


def _points(bounds):
    if bounds is None:
        return ""
    value, low, high = (100 * bound for bound in bounds)
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
