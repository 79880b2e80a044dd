"""Files mutated at random, and calls that are watched: no crash, no hang.

`mutated(seeds)` is a Hypothesis strategy for the bytes of a file; `watched` calls a parser.
"""

import collections
import contextlib
import io
import resource
import signal
import struct
import zipfile
import zlib

from hypothesis import strategies as st

SECONDS = 10  # of processor time, of one call: what takes longer hangs
TRIED = collections.Counter()  # inputs, refused, crashes, hangs
_PNG = b"\x89PNG\r\n\x1a\n"
_NUMBERS = (0, 1, 2, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_TOKENS = b"\0 \n \r\n = : , - . \xff\xfe \xef\xbb\xbf nan inf -1 1e999 null {} [] \" ' \xc3"
_TOKENS = _TOKENS.split(b" ")
_KINDS = ("flip", "byte", "number", "number big-endian", "delete", "repeat", "cut", "token", "copy")


class Hang(BaseException):
    """A call took longer than `SECONDS`; no `except Exception` takes it."""


def watched(parse, *arguments, **options):
    """Calls a parser; what it may raise is returned: ValueError, OSError."""
    TRIED["inputs"] += 1
    try:
        with _limited():
            return parse(*arguments, **options)
    except (ValueError, OSError) as error:
        assert str(error), "an error that says nothing"
        TRIED["refused"] += 1
        return error
    except Hang:
        TRIED["hangs"] += 1
        raise
    except Exception:
        TRIED["crashes"] += 1
        raise


def peak():
    """The largest resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


BEFORE = peak()  # what Python, Keras and TensorFlow take without any input


@contextlib.contextmanager
def _limited():
    def stop(*_):
        raise Hang(f"no answer in {SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@st.composite
def mutated(draw, seeds, most=4):
    """One of the seeds (bytes) with a few changes; checksums are mended in one of two."""
    content, mended = draw(st.sampled_from(seeds)), draw(st.booleans())
    size = 7 * draw(st.integers(1, most))
    drawn = draw(st.binary(min_size=size, max_size=size))  # one draw: many take long
    changes = [
        (_KINDS[kind % len(_KINDS)], share / 2**16, number)
        for kind, share, number in struct.iter_unpack("<BHI", drawn)
    ]
    if mended and content.startswith(b"PK"):
        return _member_changed(content, changes)
    for change in changes:
        content = _changed(content, *change)
    return _png_mended(content) if mended and content.startswith(_PNG) else content


def _changed(content, kind, share, number):
    content, place = bytearray(content), int(share * len(content))
    size = 1 + number % 16
    if kind == "flip" and content:
        content[min(place, len(content) - 1)] ^= 1 << number % 8
    elif kind == "byte":
        content[place : place + 1] = bytes([number % 256])
    elif kind.startswith("number"):
        form = ">" if kind.endswith("big-endian") else "<"
        value, form = _NUMBERS[number % len(_NUMBERS)], form + "BHI"[number % 3]
        value %= 256 ** struct.calcsize(form)
        content[place : place + struct.calcsize(form)] = struct.pack(form, value)
    elif kind == "delete":
        del content[place : place + size]
    elif kind == "repeat":
        content[place:place] = content[place : place + size] * (1 + number % 50)
    elif kind == "cut":
        del content[place:]
    elif kind == "token":
        content[place:place] = _TOKENS[number % len(_TOKENS)]
    elif kind == "copy":
        start = number % (len(content) + 1)
        content[place : place + size] = content[start : start + size]
    return bytes(content)


def _png_mended(content):
    """With the checksum that each chunk should have, as far as there are chunks."""
    content, place = bytearray(content), len(_PNG)
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4])
        if end + 4 > len(content):
            break
        content[end : end + 4] = struct.pack(">I", zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return bytes(content)


def _member_changed(content, changes):
    """A zip file with one of its members changed, and the checksums that belong to that."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    for kind, share, number in changes:
        name = sorted(members)[number % len(members)]
        members[name] = _changed(members[name], kind, share, number // 7)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue()
