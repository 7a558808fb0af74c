"""What a check has found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from lightning_face.errors import FaceError

Level = Literal["ok", "warning", "fails"]


@dataclass(frozen=True)
class Finding:
    """The same on every rank.

    Args:
        level: `fails` if the run would end, or train something else than was asked for.
        figure: what was seen.
        advice: what to do; empty where all is well, or where the figure says it.
    """

    level: Level
    figure: str
    advice: str = ""


def size_of(num_bytes: float) -> str:
    """Bytes for people to read."""
    return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"


def nodes_of(hosts: Iterable[str]) -> str:
    """How many hosts there are."""
    number = len(set(hosts))
    return f"{number} node{'s' if number > 1 else ''}"


def found_by(check: Callable[[], Finding]) -> Finding:
    """What a check returns; an error that it raises, on all ranks alike, is a finding too."""
    try:
        return check()
    except FaceError as error:
        return Finding("fails", str(error))
