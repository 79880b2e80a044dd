"""Packages, and README.md as the page of a package index, where relative links break.

    KERAS_DUP_URL=https://github.com/OWNER/NAME python -m build

makes links and pictures absolute and names the repository in the metadata. Without that address
the page has no pictures, and its links are plain text.
"""

import os
import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
URL = os.environ.get("KERAS_DUP_URL", "").rstrip("/")
RELATIVE = r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)"


def version():
    text = (HERE / "keras_dup/__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"', text, re.M)[1]


def absolute(link):
    picture, text, path = link.groups()
    if not URL:
        return "" if picture else text
    return f"{picture}[{text}]({URL}/{'raw' if picture else 'blob'}/v{version()}/{path})"


def long_description():
    return re.sub(RELATIVE, absolute, (HERE / "README.md").read_text(encoding="utf-8"))


setup(
    # saved_models/ is installed as keras_dup.saved_models: weights="imagenet" works offline
    packages=[*find_packages(include=["keras_dup", "keras_dup.*"]), "keras_dup.saved_models"],
    package_dir={"keras_dup": "keras_dup", "keras_dup.saved_models": "saved_models"},
    license_expression="Apache-2.0",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    **({"url": URL} if URL else {}),
)
