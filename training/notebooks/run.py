"""Runs the notebooks from their first cell to their last and stores what they give.

    python -m training.notebooks.run [NOTEBOOK ...]

`make notebooks` does it for all of training/notebooks/. A notebook runs in an empty folder, so it
needs no file of the repository.
"""

import argparse
import base64
import io
import os
import pathlib
import re
import tempfile
import time

import nbclient
import nbformat
from PIL import Image

FOLDER = pathlib.Path(__file__).parent
# lines in which the C++ of TensorFlow and LiteRT tells about the machine
MACHINE = re.compile(
    r"(?m)^(WARNING: All log messages before absl|[IWE]\d{4} |INFO: Created TensorFlow Lite"
    r"|To enable the following instructions).*\n?"
)
# tqdm warns where Jupyter's widgets are not installed
ENVIRONMENT = {"PYTHONWARNINGS": "ignore:IProgress not found"}


def run(path, **parameters):
    """Returns the notebook at `path`, executed, with the outputs that are worth keeping.

    Args:
        path: an .ipynb file, which stays as it is.
        parameters: other values for variables of the first code cell, `STEPS=2` for `STEPS = 200`.

    Raises:
        ValueError: the first code cell does not set a parameter on a line of its own.
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for name, value in parameters.items():
        first.source, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", first.source)
        if found != 1:
            raise ValueError(f"{path}: {name} is set {found} times in the first code cell")
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook,
            kernel_name="python3",
            startup_timeout=300,  # seconds; a minute is little on a busy machine
            record_timing=False,  # times of the day would change with every run
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute(env={**os.environ, **ENVIRONMENT, "TMPDIR": folder})
    return _trimmed(notebook)


def _trimmed(notebook):
    """Without what depends on the machine, and with pictures as PNGs of 256 colours alone."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            pictures = output.get("data", {})
            pictures.pop("image/jpeg", None)  # Pillow gives both
            if "image/png" in pictures:
                pictures["image/png"] = _of_256_colours(pictures["image/png"])
            if output.get("name") == "stderr":
                output.text = MACHINE.sub("", output.text)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]
    return notebook


def _of_256_colours(png):
    file, picture = io.BytesIO(), Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    picture.quantize(256, kmeans=3).save(file, "PNG", optimize=True)  # keeps legends' colours
    return base64.b64encode(file.getvalue()).decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path, metavar="NOTEBOOK")
    for path in parser.parse_args().notebooks or sorted(FOLDER.glob("*.ipynb")):
        start = time.monotonic()
        notebook = run(path)
        nbformat.write(notebook, path)
        print(f"{path}: {time.monotonic() - start:.0f} s, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
