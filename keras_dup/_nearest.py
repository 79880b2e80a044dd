"""The word that a mistyped one was meant to be."""

from collections.abc import Iterable

__all__ = ["hint"]


def hint(word: object, known: Iterable[object]) -> str:
    """Returns "; did you mean 'resnet50'?" for "resnet5", or "" where nothing known is near."""
    import difflib  # only an error needs it

    words = [str(one) for one in known if one not in (None, "")]
    near = difflib.get_close_matches(str(word), words, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
