"""Pickles that are data: lists, tuples, bytes, text, numbers, arrays of uint8 or bool. Nothing that they name is run.

A pickle is a program for a machine with a stack, and may call whatever it names. This machine has the few instructions
that write data; the few calls that arrays and bytes are written as are answered here, without numpy.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

MAX_STEPS = 10_000_000
"""Instructions of a pickle; each can take a hundred times its one byte of memory."""


@dataclass
class Array:
    """An array as it was written: its type ("u1" or "b1"), lengths of its axes, and its bytes."""

    dtype: str = ""
    shape: tuple[int, ...] = ()
    data: bytes = b""


class _Type(str):
    """A numpy type that a pickle has made."""


def read_data_pickle(data: bytes) -> object:
    """What a pickle holds.

    Args:
        data: the pickle, of protocol 2 or later.

    Returns:
        Lists, tuples, bytes (Python 2's strings too), strings, integers, bools, None and `Array`s.

    Raises:
        ValueError: it is damaged, asks for anything else, or is too long.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in islice(pickletools.genops(data), MAX_STEPS):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is damaged ({error!r})") from error
    raise ValueError(f"it has more than {MAX_STEPS:,} instructions")


class _Machine:
    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        return self._stack.pop()

    def step(self, name: str, argument: Any) -> None:
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._marks.append(len(self._stack))
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._stack[-1]
            case "APPEND":
                self._extend([self.pop()])
            case "APPENDS":
                self._extend(self._since_mark())
            case "BUILD":
                self._build(self.pop())
            case _:
                self._stack.append(self._value(name, argument))

    def _value(self, name: str, argument: Any) -> Any:
        match name:
            case "NEWTRUE" | "NEWFALSE":
                return name == "NEWTRUE"
            case "EMPTY_LIST":
                return []
            case "LIST":
                return self._since_mark()
            case "EMPTY_TUPLE":
                return ()
            case "TUPLE":
                return tuple(self._since_mark())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                return tuple(reversed([self.pop() for _ in range(int(name[-1]))]))
            case "GET" | "BINGET" | "LONG_BINGET":
                return self._memo[argument]
            case "GLOBAL":
                return _admitted(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                attribute = self.pop()
                return _admitted(f"{self.pop()}.{attribute}")
            case "REDUCE":
                arguments = self.pop()
                return _CALLS[self.pop()](*arguments)
        return _constant(name, argument)

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        since = self._stack[mark:]
        del self._stack[mark:]
        return since

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("it appends to what is no list")
        self._stack[-1].extend(items)

    def _build(self, state: Any) -> None:
        target = self._stack[-1]
        if isinstance(target, Array):
            _, target.shape, dtype, _, data = state
            target.dtype, target.data = _checked(dtype), _bytes(data)
        elif not isinstance(target, _Type):  # the state of a type says nothing that matters for single bytes
            raise ValueError("it sets the state of what is no array")


def _constant(name: str, argument: Any) -> Any:
    match name:
        case "NONE" | "INT" | "BININT" | "BININT1" | "BININT2" | "LONG1":
            return argument
        case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
            return bytes(argument)
        case "BINUNICODE" | "SHORT_BINUNICODE":
            return argument
        case "BINSTRING" | "SHORT_BINSTRING":
            return argument.encode("latin-1")
    raise ValueError(f"it has the instruction {name}, which no list of images needs")


def _admitted(name: str) -> str:
    if name not in _CALLS and name != "numpy.ndarray":
        raise ValueError(f"it asks for {name}, which is refused: a pickle can run anything")
    return name


def _checked(dtype: Any) -> str:
    if not isinstance(dtype, _Type):
        raise ValueError("it has an array without a type")
    return str(dtype)


def _bytes(data: Any) -> bytes:
    # `bytes` of a number would make room for as many.
    if not isinstance(data, bytes):
        raise ValueError("it has an array without bytes")
    return data


def _type(code: Any, *_: object) -> _Type:
    name = code.decode("latin-1") if isinstance(code, bytes) else str(code)
    if name not in ("u1", "b1"):
        raise ValueError(f"it has an array of {name}, not of bytes or bools")
    return _Type(name)


def _array(data: Any, dtype: Any, shape: Any, order: object) -> Array:
    return Array(_checked(dtype), shape, _bytes(data))


def _encoded(text: Any, encoding: object) -> bytes:
    # So Python 3 writes bytes for Python 2.
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise ValueError("it encodes text otherwise than as bytes")
    return text.encode("latin-1")


_CALLS: dict[str, Callable[..., object]] = {
    "_codecs.encode": _encoded,
    "__builtin__.bytes": lambda: b"",
    "numpy.dtype": _type,
    "numpy.core.multiarray._reconstruct": lambda *_: Array(),
    "numpy._core.multiarray._reconstruct": lambda *_: Array(),
    "numpy.core.numeric._frombuffer": _array,
    "numpy._core.numeric._frombuffer": _array,
}
