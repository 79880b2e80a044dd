"""Hook of MkDocs: adds what docs/browser.md runs to the site, the network and ONNX Runtime Web.

Both are made in build/browser/, not committed. Without npm nothing is added, and the page says so.
"""

import json
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
MADE = ROOT / "build/browser"
RUNTIME = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
NETWORK = "network.onnx", "network.json"


def on_post_build(config):
    """Called by MkDocs when the pages are written."""
    try:
        files = [*runtime(), *network()]
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"docs/browser.md is built without its network: {error}", file=sys.stderr)
        return
    for file in files:
        shutil.copy(file, pathlib.Path(config.site_dir) / "browser")


def runtime():
    """The files of ONNX Runtime Web, installed by npm as docs/browser/package-lock.json says."""
    files = [MADE / "node_modules/onnxruntime-web/dist" / name for name in RUNTIME]
    sources = sorted((ROOT / "docs/browser").glob("package*.json"))
    if is_older(files, sources):
        MADE.mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(source, MADE)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=MADE, check=True)
        for file in files:
            file.touch()
    return files


def network():
    """The model of the package as an ONNX file, with its names and colours beside it."""
    from keras_dup import export, models

    files = [MADE / name for name in NETWORK]
    sources = [*ROOT.glob("saved_models/voc_animals*.keras"), *ROOT.glob("keras_dup/export/*.py")]
    if is_older(files, sources):
        model = models.load("voc_animals")
        report = export.onnx(model, files[0], verbose=False)
        about = {
            "class_names": models.class_names(model),
            "colours": model.colours,
            "bytes": report["bytes"] + runtime()[1].stat().st_size,
        }
        files[1].write_text(json.dumps(about))
    return files


def is_older(files, sources):
    """Whether a file is missing, or a source was changed since."""
    if not all(file.exists() for file in files):
        return True
    return min(file.stat().st_mtime for file in files) < max(s.stat().st_mtime for s in sources)
