"""What pickles call to make bytes and arrays of bytes, answered without numpy: nothing else may be called."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class ArrayType(str):
    """The type of an array: "u1" or "b1"."""


@dataclass
class Array:
    """An array as it was written: its type, lengths of its axes, and its bytes."""

    dtype: str = ""
    shape: tuple[int, ...] = ()
    data: bytes = b""

    def set_state(self, state: Any) -> None:
        """Take what a pickle says of an array that it has made.

        Raises:
            ValueError, TypeError: it is not what numpy writes.
        """
        _, shape, dtype, _, data = state
        self.shape, self.dtype, self.data = shape, _checked_type(dtype), _checked_bytes(data)


def admitted(name: str) -> str:
    """A name that a pickle asks for, MODULE.NAME.

    Raises:
        ValueError: it is none that arrays and bytes need.
    """
    if name not in CALLS and name != "numpy.ndarray":
        raise ValueError(f"it asks for {name}, which is refused: a pickle can run anything")
    return name


def _checked_type(dtype: Any) -> str:
    if not isinstance(dtype, ArrayType):
        raise ValueError("it has an array without a type")
    return str(dtype)


def _checked_bytes(data: Any) -> bytes:
    # `bytes` of a number would make room for as many.
    if not isinstance(data, bytes):
        raise ValueError("it has an array without bytes")
    return data


def _type(code: Any, *_: object) -> ArrayType:
    name = code.decode("latin-1") if isinstance(code, bytes) else str(code)
    if name not in ("u1", "b1"):
        raise ValueError(f"it has an array of {name}, not of bytes or bools")
    return ArrayType(name)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: object) -> Array:
    return Array(_checked_type(dtype), shape, _checked_bytes(data))


def _encoded(text: Any, encoding: object) -> bytes:
    # So Python 3 writes bytes for Python 2.
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise ValueError("it encodes text otherwise than as bytes")
    return text.encode("latin-1")


CALLS: dict[str, Callable[..., object]] = {
    "_codecs.encode": _encoded,
    "__builtin__.bytes": lambda: b"",
    "numpy.dtype": _type,
    "numpy.core.multiarray._reconstruct": lambda *_: Array(),
    "numpy._core.multiarray._reconstruct": lambda *_: Array(),
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy._core.numeric._frombuffer": _from_buffer,
}
"""Python 2's and 3's, and numpy 1's and 2's."""
