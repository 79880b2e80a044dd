"""Text files with a name per line, whatever wrote them."""

import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from PIL import Image

from keras_dup import data, models
from keras_dup._lists import read_lines, write_lines

NAMES = ["chaussée", "Müller 1", "猫"]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_is_read_by_its_byte_order_mark(tmp_path, encoding, end):
    text = end.join([NAMES[0], "", f" {NAMES[1]}\t", NAMES[2]])
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / "names.txt").write_bytes((mark + text).encode(encoding))
    assert read_lines(tmp_path / "names.txt") == NAMES


@pytest.mark.parametrize(
    ("encoding", "message"), [("latin-1", "save it as UTF-8"), ("utf-16-be", "zero bytes")]
)
def test_another_encoding_is_named_with_the_file(tmp_path, encoding, message):
    text = "caf\xe9\n" if encoding == "latin-1" else "abc\n"
    (tmp_path / "names.txt").write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=rf"names\.txt: .*{message}"):
        read_lines(tmp_path / "names.txt")


def test_names_of_classes_and_files_go_in_and_out_under_every_locale(tmp_path):
    (tmp_path / "masks").mkdir()
    for name in ("é", "b"):
        data.save_label_map(tmp_path / f"masks/{name}.png", np.eye(16, dtype=np.uint8).repeat(3, 0))
    write_lines(tmp_path / "classes.txt", ["chaussée", "b"])
    write_lines(tmp_path / "names.txt", ["é"])
    code = (
        "import sys\n"
        "from keras_dup import _cli, _lists, models\n"
        "_lists.write_lines('again.txt', models.class_names('x.keras'))\n"
        "_cli.main(sys.argv[1:])"
    )
    fit = ["fit", "masks", "-o", "w.npz", "--num-classes", "2", "--ratio", "8", "--channels", "1"]
    fit += ["--class-names", "classes.txt", "--names", "names.txt", "--val-names", "val.txt"]
    write_lines(tmp_path / "val.txt", ["b"])
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, *fit],
        **{"capture_output": True, "text": True, "env": os.environ | old, "cwd": tmp_path},
    )
    assert "chauss\\xe9e" in done.stdout, done.stderr
    assert (tmp_path / "again.txt").read_bytes() == "chaussée\nb\n".encode()


def test_class_names_in_utf_16_are_read_beside_a_model(tmp_path):
    (tmp_path / "classes.txt").write_bytes("a\r\nstraße\r\n".encode("utf-16"))
    assert models.class_names(tmp_path / "model.keras") == ["a", "straße"]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_pair_in_any_form_of_unicode(tmp_path, forms):
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir(), masks.mkdir()
    stems = [unicodedata.normalize(form, "Müller") for form in forms]
    Image.new("RGB", (3, 2)).save(images / f"{stems[0]}.png")
    data.save_label_map(masks / f"{stems[1]}.png", np.zeros((2, 3)))
    for names in (None, [stems[0]], [stems[1]]):
        assert len(data.Folder(images, masks, 2, names=names)) == 1
        assert len(data.LabelMaps(masks, 2, names=names)) == 1
    write_lines(tmp_path / "names.txt", [stems[0]])
    assert len(data.Folder(images, masks, 2, names=tmp_path / "names.txt")) == 1
