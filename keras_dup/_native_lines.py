"""Standard error without the lines that native libraries write there unasked."""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator

__all__ = ["LEVEL", "hidden"]

LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # of the environment; 0 shows all that TensorFlow says
_ONE = threading.Lock()  # two blocks would put each other's file back in place of standard error


@contextlib.contextmanager
def hidden(pattern: bytes) -> Iterator[None]:
    """Holds back what is written to file descriptor 2, then passes on the lines unlike `pattern`.

    An error passes on all lines. Nothing is held back where `LEVEL` is 0 or not set, in a second
    block at the same time, and where there is no standard error or no temporary file. If the
    process is killed in the block, what is held back is lost: keep blocks short.

    Args: pattern: a regular expression that hides a line if it matches at the line's start.
    """
    import tempfile  # not for --help

    if os.environ.get(LEVEL, "0") == "0" or not _ONE.acquire(blocking=False):
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.callback(_ONE.release)
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:
            yield
            return
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            pattern = b"(?!)"  # matches nothing
            raise
        finally:
            _flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            lines = [line for line in held if not re.match(pattern, line)]
            with contextlib.suppress(OSError), open(2, "wb", closefd=False) as stream:
                stream.writelines(lines)


def _flush():
    """Empties Python's own buffer of standard error."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
        sys.stderr.flush()
