"""Do the windows of the shipped model show? How many of its borders lie on their grid.

    python -m research.probes.blocks

Predicts the val images of training/recipes/voc_animals_efficientnet_lite0.py in $KERAS_DUP_DATA
with `voc_animals` and counts the borders between labels that lie on the grid of 16 x 16 pixels, one
for each of its coarsest features: of the predictions, and of the label maps, whose borders know
nothing of a grid. Writes research/results/blocks.json; rows of other networks stay there.
"""

import json

from tqdm import tqdm

from keras_dup import export, inference, models, training
from keras_dup.evaluation import block_borders
from research.experiments.tables import RESULTS, ROOT
from research.files import write_json

MODEL, RATIO = "voc_animals", 16
RECIPE = ROOT / "training/recipes/voc_animals_efficientnet_lite0.py"


def share(label_maps):
    """The share of the borders of all label maps together that lie on the grid."""
    on_grid, borders = zip(*(block_borders(y, RATIO) for y in label_maps), strict=True)
    return {"on_grid": sum(on_grid), "borders": sum(borders), "share": sum(on_grid) / sum(borders)}


def main():
    _, val = training.datasets(training.load_recipe(RECIPE))
    network = export.fold(models.load(MODEL), "probabilities")
    indices = tqdm(range(len(val)), unit=" images")
    path = RESULTS / "blocks.json"
    rows = json.loads(path.read_text())["rows"] | {
        f"{MODEL}, predictions": share(inference.predict(network, val.image(i)) for i in indices),
        "label maps": share(val.label_maps()),
    }
    result = {"command": "python -m research.probes.blocks", "ratio": RATIO, "images": len(val)}
    write_json({**result, "rows": rows, "run": training.provenance()}, path)


if __name__ == "__main__":
    main()
