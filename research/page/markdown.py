"""Cells, tables and commands of RESULTS.md."""

import re
import statistics

# where the scripts that old results name lie today
MODULES = {
    "bootstrap": "probes.bootstrap",
    "class_priors": "probes.class_priors",
    "edges": "probes.edges",
    "feature_probe": "probes.features",
    "head_probe": "probes.heads",
    "label_bounds": "projections.label_bounds",
    "one_class": "probes.one_class",
    "peer": "peers.animals",
    "picture_probe": "probes.learning_curve",
}


def table(columns, rows):
    """The lines of a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(map(str, cells))} |" for cells in lines]


def percent(values):
    """The mean of shares in %; of several also the lowest and the highest."""
    text = f"{100 * statistics.mean(values):.2f} %"
    if len(values) > 1:
        text += f" ({100 * min(values):.2f} to {100 * max(values):.2f})"
    return text


def bounds(difference, digits=1):
    """A difference and its bounds, in points."""
    middle, low, high = (f"{100 * x:+.{digits}f}" for x in difference)
    return f"{middle} ({low} to {high})"


def command(words):
    """The command that a result names, by the module's name of today."""
    return re.sub(r"(?<=-m )training\.(\w+)", lambda found: _module(found[1]), words)


def _module(name):
    return f"research.{MODULES[name]}" if name in MODULES else f"training.{name}"


def where(runs):
    """Machines, versions and commits of the parts of a run, one after the other."""
    last = runs[-1]
    versions, backend = last["versions"], last["backend"]
    commits = dict.fromkeys(one["commit"][:7] for one in runs)
    processors = dict.fromkeys(one["processor"] for one in runs)
    return (
        f"- {', then '.join(processors)}; Keras {versions['keras']} on {backend} "
        f"{versions[backend]}; commit {', then '.join(commits)}"
    )


def measured_by(result):
    """The lines that end a section made of one file: its command and where it ran."""
    return ["", "```sh", command(result["command"]), "```", "", where([result["run"]]), ""]
