"""Tables of ids and names of outputs: what must hold whatever is asked."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mutations import watched

from keras_dup._cli import outputs
from keras_dup._label_maps import IdCounts, IdTable, check_ids, doubt
from keras_dup.data import _tables

IDS = st.one_of(st.integers(-3, 6), st.sampled_from([255, 256, -1, 65535, 2**31 - 1]))
TABLES = st.dictionaries(IDS, st.one_of(st.integers(0, 3), st.just(255)), min_size=1)
NAME = st.text(st.sampled_from("aAbß_.ü" + "u\u0308"), min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..")  # folders
)
ENDING = st.sampled_from([".png", ".PNG", ".jpg", ""])


@given(table=TABLES, data=st.data())
def test_ids_become_what_the_table_says_or_are_refused(table, data):
    ids = np.array(data.draw(st.lists(st.sampled_from([*table]), min_size=1, max_size=9)))[None]
    found = watched(IdTable(table, 4), ids, "a")
    assert found.dtype == np.uint8 and found.tolist() == [[table[i] for i in ids[0].tolist()]]
    other = data.draw(IDS)
    assume(other not in table)
    assert isinstance(watched(IdTable(table, 4), np.append(ids[0], other)[None], "a"), ValueError)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.int64])
def test_ids_at_the_ends_of_their_type_are_looked_up(dtype):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    for ids in ([low, high, high // 2], [high - 1, high], [low, low + 1]):
        table = {i: k for k, i in enumerate(ids)}
        found = IdTable(table, 3)(np.array([ids], dtype), "a")
        assert found.tolist() == [list(range(len(ids)))]


@given(ids=st.dictionaries(IDS, IDS, min_size=1), num_classes=st.integers(1, 255))
def test_a_table_hands_out_no_other_classes(ids, num_classes):
    built = watched(IdTable, ids, num_classes)
    right = all(0 <= k < num_classes or k == 255 for k in ids.values())
    assert isinstance(built, IdTable if right else ValueError)


@given(ids=st.lists(IDS, min_size=1), void=st.one_of(st.none(), IDS), num_classes=st.integers(1, 5))
def test_ids_outside_the_classes_are_refused_and_counted(ids, void, num_classes):
    array = np.array(ids)[None]
    right = all(0 <= i < num_classes or i == void for i in ids)
    assert (watched(check_ids, array, num_classes, void, "a") is None) == right
    counts = IdCounts()
    counts.add(array)
    assert counts.pixels == {i: ids.count(i) for i in set(ids)}
    absent = [k for k in range(num_classes) if k not in ids]
    assert counts.absent(num_classes) == absent
    assert bool(counts.complaint(num_classes, void=void)) == bool(absent)


@given(confusion=st.lists(st.integers(0, 2**40), min_size=9, max_size=9))
def test_a_doubt_needs_no_luck(confusion):
    assert isinstance(doubt(np.reshape(confusion, (3, 3))), str)


@given(pairs=st.lists(st.from_regex(r"-?\d{0,3}:?-?\d{0,3}", fullmatch=True), max_size=4))
def test_ids_of_the_command_line(pairs):
    found = watched(_tables.read_table, ",".join(pairs), None)
    if isinstance(found, _tables.Table):
        assert found.classes == {int(a): int(b) for a, b in (pair.split(":") for pair in pairs)}


@given(
    lines=st.lists(
        st.one_of(
            st.from_regex(r"[a#, ]{0,3}[\s,]{0,2}\d{0,3}[ ,]{1,2}\d{0,3} \d{0,3}[a:,]{0,2}"),
            st.sampled_from(["void 0 0 0", "a 1 2 3", "a 4 5 6", "b,7,8,9", "name,r,g,b", "# x"]),
        ),
        max_size=5,
    )
)
def test_a_table_of_colours_is_one_or_is_refused(lines):
    table = watched(_tables.read_table, None, lines)
    if isinstance(table, _tables.Table):
        classes = set(table.classes.values())
        assert classes - {255} == set(range(len(table.names))) and classes - {255}
        again = _tables.read_table(None, _tables.colour_lines(lines))
        assert (again.classes, again.names) == (table.classes, table.names)


def identity(path):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


@given(
    files=st.lists(st.tuples(st.sampled_from(["", "x/", "y/", "y/x/"]), NAME, ENDING), max_size=6),
    into=st.sampled_from(["out", "x", "y"]),
    endings=st.sampled_from([[".png"], [".png", "_overlay.png"]]),
    data=st.data(),
)
def test_results_meet_neither_each_other_nor_an_input(files, into, endings, data):
    """`plan_results` gives as many outputs as files, or says what would be lost."""
    root = Path(os.sep) / "nowhere"
    files = [root / folder / (name + ending) for folder, name, ending in files]
    planned = watched(outputs.plan_results, files, root / into, lambda _: endings)
    assume(not isinstance(planned, Exception))
    distinct = {os.path.abspath(file) for file in files}
    assert len(planned) == len(distinct)
    writes = [identity(path) for _, paths in planned for path in paths]
    assert len(set(writes)) == len(writes) == len(planned) * len(endings)
    assert not set(writes) & {identity(os.path.abspath(file)) for file in files}
    shuffled = data.draw(st.permutations(files))
    again = outputs.plan_results(shuffled, root / into, lambda _: endings)
    assert dict(again) == dict(planned)


@given(names=st.tuples(*[st.lists(NAME, max_size=4, unique=True)] * 2))
def test_a_plan_refuses_what_would_be_lost(names):
    writes, reads = ([os.path.normpath(f"/nowhere/{name}") for name in part] for part in names)
    found = watched(outputs.plan, writes, reads)
    kept, read = ({identity(path) for path in part} for part in (writes, reads))
    lost = len(kept) < len({*writes}) or kept & read
    assert isinstance(found, ValueError) or not lost
