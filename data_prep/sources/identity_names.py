"""Names of identities as lists and archives give them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

from data_prep.images import RejectedImage

_NOT_IN_A_NAME = frozenset("/\\\0")
_ACCENTS = re.compile("[\u0300-\u036f]")
_BLANKS = re.compile(r"[\s_]+")


def identity_name(name: bytes) -> str:
    """A name that can stand in `identities.txt` and in the paths that others make of it.

    Args:
        name: as read.

    Raises:
        RejectedImage: it is not UTF-8, empty, more than one line, `.` or `..`, or has a path separator in it.
    """
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise RejectedImage(f"the identity {name!r} is not UTF-8") from error
    if len(text.splitlines()) != 1 or text in (".", "..") or not _NOT_IN_A_NAME.isdisjoint(text):
        raise RejectedImage(f"the identity {text!r} is not a name: one line, no path")
    return text


def told_apart(names: Mapping[str, str]) -> dict[str, str]:
    """Names by key, with the key beside each that several have: two people of one name are not one person."""
    counts = Counter(names.values())
    return {key: name if counts[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def without_spelling(name: str) -> str:
    """A name as datasets compare theirs: the same whatever its case and accents, with blanks or underscores.

    Returns:
        "" for a mere number, since datasets number different people alike.
    """
    letters = _ACCENTS.sub("", unicodedata.normalize("NFKD", name)).casefold()
    plain = _BLANKS.sub(" ", letters).strip()
    return "" if plain.isdecimal() else plain
