"""Pickles are read as data: what the standard library writes comes back, and nothing is run."""

import contextlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.verification.data_pickle import read_data_pickle
from data_prep.verification.pickled_arrays import Array

leaves = st.binary(max_size=300) | st.booleans() | st.integers(-(2**31), 2**31 - 1)
protocols = st.integers(2, pickle.HIGHEST_PROTOCOL)


@settings(max_examples=50)
@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.lists(inner).map(tuple), max_leaves=20), protocols)
def test_what_was_written_comes_back(value: Any, protocol: int) -> None:
    again = read_data_pickle(pickle.dumps(value, protocol))
    assert again == value and type(again) is type(value)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("writable", [True, False])
def test_arrays(protocol: int, writable: bool) -> None:
    image, same = np.arange(256, dtype=np.uint8), np.array([True, False])
    image.setflags(write=writable)
    found = read_data_pickle(pickle.dumps(([image, image], same), protocol))
    assert found == ([Array("u1", (256,), image.tobytes())] * 2, Array("b1", (2,), b"\1\0"))


def test_python_2_writes_bytes_as_strings() -> None:
    # pickle.dumps((['\xff\xd8', '<300 times \xff>'], [True]), 2) there.
    data = b"\x80\x02]q\0(U\x02\xff\xd8T" + struct.pack("<i", 300) + b"\xff" * 300 + b"e]q\1\x88a\x86."
    assert read_data_pickle(data) == ([b"\xff\xd8", b"\xff" * 300], [True])


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps(([b"image", Runs(tmp_path / "was here")], [True]), protocol)
    with pytest.raises(ValueError, match=r"which is refused|which no list of images needs"):
        read_data_pickle(data)
    assert not (tmp_path / "was here").exists()
    pickle.loads(data)
    assert (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"cposix\nsystem\n(U\x02idtR.", "asks for posix.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "asks for builtins.eval"),
        (b"(iposix\nsystem\n.", "INST"),
        (b"\x82\x01.", "EXT1"),
        (b"Pid\n.", "PERSID"),
        (pickle.dumps({1: 2}), "EMPTY_DICT"),
        (pickle.dumps([1.5]), "BINFLOAT"),
        (pickle.dumps(np.array([b"object"], dtype=object)), "an array of O8"),
        (pickle.dumps(np.zeros(3)), "an array of f8"),
        (b"cnumpy\nndarray\n)R.", "damaged"),  # called
        (b"]}b.", "EMPTY_DICT"),
        (b"])b.", "state of what is no array"),
        (b"))a.", "no list"),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n)R(K\1)cnumpy\ndtype\nU\2u1\x85R\x89J\xff\xff\xff\x7ftb.",
            "without bytes",
        ),
        (b"cnumpy.core.multiarray\n_reconstruct\n)R(K\1)N\x89U\1atb.", "without a type"),
        (b"c_codecs\nencode\nX\1\0\0\0aX\4\0\0\0utf8\x86R.", "encodes text"),
    ],
)
def test_everything_else_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_data_pickle(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"a.",
        b"e.",
        b"h\7.",
        b"\x93.",
        b"not a pickle",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",  # a string of a terabyte
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc.",
        b"\x80\x02B" + struct.pack("<I", 2**31) + b"abc.",
    ],
)
def test_damaged_pickles(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_data_pickle(data)


def test_a_far_place_of_the_memo_takes_no_memory() -> None:
    # C's unpickler makes room for all places up to it: here 32 GB.
    assert read_data_pickle(b"\x80\x02]r\xff\xff\xff\x7f.") == []


def test_a_pickle_cut_anywhere() -> None:
    data = pickle.dumps(([b"image" * 100, np.arange(9, dtype=np.uint8)] * 3, [True, False, True]))
    for length in range(len(data)):
        with pytest.raises(ValueError):
            read_data_pickle(data[:length])


@given(st.data())
def test_bytes_changed_at_random_raise_nothing_else(draw: st.DataObject) -> None:
    data = bytearray(pickle.dumps(([b"image", np.arange(9, dtype=np.uint8)], [True, False]), draw.draw(protocols)))
    for at in draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
        data[at] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        read_data_pickle(bytes(data))


def test_endless_instructions_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.verification.data_pickle.MAX_STEPS", 100)
    with pytest.raises(ValueError, match="more than 100 instructions"):
        read_data_pickle(b"]" * 1000 + b".")


def test_backslash_that_means_nothing_is_no_warning() -> None:
    with pytest.raises(ValueError, match="STRING"):
        read_data_pickle(b"S'\\c'\n.")
