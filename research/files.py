"""How results are written."""

import json
import os


def write_json(content, path):
    """Writes `path`, whole or not at all, and prints its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)
    print(path, flush=True)
