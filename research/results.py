"""Writes research/RESULTS.md and its pictures from research/results/: `python -m research.results`.

Nothing on that page is typed by hand but the titles and sentences of the tables of experiments.
"""

from research.experiments import tables
from research.experiments.runs import results
from research.page import curves, experiments, files, learning

HEAD = """# Results

Written by `python -m research.results` from the files in [results/](results/); what was found is on
one page, [FINDINGS.md](FINDINGS.md). Each file has the command, the recipe, commit, versions,
machine and log of one run. mIoU is over the classes that occur, at the size of the images, on all
images of val, after the last step. With several seeds: the mean, and lowest to highest. "Paper" is
what the paper has for its own networks, with ResNet-50 on all of PASCAL VOC. Of the animals of VOC
seven classes are frequent; the other nine are in 1 to 11 images of val each, so their IoU, and with
it mIoU, depends on few images; the mean of the seven stands beside it. "Bilinear start" and
"nearest-neighbour start" are what DUpsampling computes before the first step. Trained networks:
`python -m research.experiments`; measured on them: `research/probes/`.
"""


def main():
    folder, sections = tables.RESULTS, [HEAD]
    found = {name: results(name) for name in tables.TABLES}
    for name, runs in found.items():
        if runs:
            if logs := experiments.logged(runs):
                curves.draw_logs(tables.TABLES[name], logs, folder / f"{name}.png")
            sections.append(experiments.section(name, runs))
    if changes := learning.probed():
        runs = learning.trained()
        curves.draw_learning(changes, runs, folder / "pictures.png")
        sections.append(learning.section(changes, runs))
    page = folder.parent / "RESULTS.md"
    page.write_text("\n".join([*sections, *files.sections(), experiments.not_run(found)]))
    print(page)


if __name__ == "__main__":
    main()
