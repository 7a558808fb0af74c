"""Pickles that are data: lists, tuples, bytes, text, numbers, arrays of uint8 or bool. Nothing that they name is run.

A pickle is a program for a machine with a stack, and may call whatever it names. This machine has the few instructions
that write data, and calls nothing but what `pickled_arrays` answers.
"""

import pickletools
import warnings
from itertools import islice
from typing import Any

from data_prep.verification.pickled_arrays import CALLS, Array, ArrayType, admitted

MAX_STEPS = 10_000_000
"""Instructions of a pickle; each can take a hundred times its one byte of memory."""


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of texts with backslashes that mean nothing
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
                return admitted(argument.replace(" ", "."))
            case "STACK_GLOBAL":
                attribute = self.pop()
                return admitted(f"{self.pop()}.{attribute}")
            case "REDUCE":
                arguments = self.pop()
                return CALLS[self.pop()](*arguments)
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
            target.set_state(state)
        elif not isinstance(target, ArrayType):  # the state of a type says nothing that matters for single bytes
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
