"""Words that are nearly right."""

import difflib
from collections.abc import Sequence


def closest(word: str, known: Sequence[str]) -> str:
    """The known word that was probably meant, whatever its case; empty where none is near enough to say."""
    by_fold = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word.lower(), list(by_fold), n=1, cutoff=0.75)
    return by_fold[found[0]] if found else ""
