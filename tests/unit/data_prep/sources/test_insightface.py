"""insightface's training sets: records written by hand, in all the forms that the sets have."""

import contextlib
import pickle
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.images import RejectedImage
from data_prep.passes.source import Face
from data_prep.sources import recordio
from data_prep.sources.insightface import InsightfaceSet
from lightning_face.errors import DataError

MAGIC = 0xCED7230A


def pack(labels: float | Sequence[float], image: bytes = b"", key: int = 0) -> bytes:
    """An image as MXNet's recordio.pack lays it out."""
    if isinstance(labels, (int, float)):
        return struct.pack("<IfQQ", 0, labels, key, 0) + image
    return struct.pack("<IfQQ", len(labels), 0, key, 0) + np.array(labels, "<f4").tobytes() + image


def record(data: bytes) -> bytes:
    """A record as dmlc's RecordIOWriter writes it: cut at each aligned magic number, which is left out."""
    magic = struct.pack("<I", MAGIC)
    cuts = [at for at in range(0, len(data) - 3, 4) if data[at : at + 4] == magic]
    parts = [data[begin:end] for begin, end in zip([0, *(at + 4 for at in cuts)], [*cuts, len(data)], strict=True)]
    flags = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(
        magic + struct.pack("<I", flag << 29 | len(part)) + part + bytes(-len(part) % 4)
        for flag, part in zip(flags, parts, strict=True)
    )


def write(folder: Path, packed: Sequence[bytes], keys: Sequence[int] | None = None, classes: int = 12) -> Path:
    """A set of packed images, under the keys 0, 1, ... unless others are given."""
    folder.mkdir(exist_ok=True)
    records = [record(data) for data in packed]
    offsets = np.cumsum([0, *map(len, records)])
    lines = [f"{key}\t{offset}\n" for key, offset in zip(keys or range(len(records)), offsets, strict=False)]
    (folder / "train.rec").write_bytes(b"".join(records))
    (folder / "train.idx").write_text("".join(lines))
    (folder / "property").write_text(f"{classes},112,112")
    return folder


def faces_of(folder: Path, size: int = 0) -> list[Face]:
    source = InsightfaceSet(folder, size, 95)
    places = list(source.items())
    worker = pickle.loads(pickle.dumps(source))
    return [worker.make(place) for place in places]


@pytest.fixture
def images(encode: Callable) -> list[bytes]:
    return [encode(seed) for seed in range(4)]


@pytest.fixture
def identities(tmp_path: Path, images: list[bytes]) -> Path:
    """As MS1MV2: a header, images of identities 3 and 11, then two records that say where each one's images are."""
    records = [pack([5, 7]), *(pack(label, image) for label, image in zip([3, 3, 11, 11], images, strict=True))]
    return write(tmp_path / "set", [*records, pack([1, 3]), pack([3, 5])])


def test_header_and_records_of_identities_are_no_images(identities: Path, images: list[bytes]) -> None:
    assert faces_of(identities) == list(map(Face, ["03", "03", "11", "11"], images))
    assert [str(place) for place in InsightfaceSet(identities, 0, 95).items()] == [f"record {n}" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("labels", [[0.0, 1.0, 2.0, 1.0], [[0.0], [1.0, 9.0], [2.0, 0.5, -1.0], [1.0]]])
def test_without_header_all_are_images(tmp_path: Path, images: list[bytes], labels: list) -> None:
    folder = write(tmp_path / "set", list(map(pack, labels, images)), classes=3)
    assert faces_of(folder) == list(map(Face, "0121", images))


def test_images_are_resized_on_demand_alone(identities: Path, images: list[bytes], encode: Callable) -> None:
    assert [len(jpeg) == len(image) for (_, jpeg), image in zip(faces_of(identities, 24), images, strict=True)] == [
        True
    ] * 4
    assert faces_of(identities, 16)[0].jpeg != images[0]


def test_items_keep_the_order_of_the_index_and_tell_changed_ones(identities: Path, images: list[bytes]) -> None:
    before = {repr(place) for place in InsightfaceSet(identities, 0, 95).items()}
    assert len(before) == 4
    write(identities, [pack([5, 7]), *(pack(3, image + bytes(8)) for image in images)])
    assert len({repr(place) for place in InsightfaceSet(identities, 0, 95).items()} - before) == 3


@given(data=st.lists(st.sampled_from([struct.pack("<I", MAGIC), b"abcd", b"x", b""])).map(b"".join))
def test_data_that_holds_the_magic_number_is_joined_again(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("records") / "train.rec"
    path.write_bytes(record(pack(1, b"before")) + record(pack(2, data)))
    labels_L, image = recordio.read_record(path, len(record(pack(1, b"before"))))
    assert labels_L.tolist() == [2.0] and image == data


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (pack(1, b"no image"), "not an image"),
        (pack(1)[:20], "too short for the header"),
        (struct.pack("<IfQQ", 5, 0, 0, 0) + b"12345678", "too short for the 5 labels"),
        (pack(12, b"?"), "label 12 is none of 0 to 11"),
        (pack(-1, b"?"), "label -1 is none"),
        (pack(0.5, b"?"), "label 0.5 is none"),
        (pack(float("nan"), b"?"), "label nan is none"),
    ],
)
def test_records_that_are_damaged_are_rejected(tmp_path: Path, images: list[bytes], packed: bytes, reason: str) -> None:
    source = InsightfaceSet(write(tmp_path / "set", [pack([3]), packed, pack(1, images[0])]), 0, 95)
    bad, good = source.items()
    with pytest.raises(RejectedImage, match=reason):
        source.make(bad)
    assert source.make(good) == Face("01", images[0])


def test_a_byte_changed_within_is_met_when_it_is_read(identities: Path) -> None:
    places = list(InsightfaceSet(identities, 0, 95).items())
    data = bytearray((identities / "train.rec").read_bytes())
    data[places[1].offset] ^= 1
    data[places[2].offset + 7] |= 2 << 5  # the middle of a record whose beginning is missing
    (identities / "train.rec").write_bytes(data)
    for place in places[1:3]:
        with pytest.raises(RejectedImage, match=f"no record begins at byte {place.offset}"):
            InsightfaceSet(identities, 0, 95).make(place)


@given(draw=st.data())
def test_bytes_changed_at_random_raise_nothing_else(
    draw: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = bytearray(b"".join(map(record, [pack(1, b"first"), pack([2, 3], struct.pack("<I", MAGIC) * 3)])))
    for at in draw.draw(st.lists(st.integers(0, len(records) - 1), min_size=1, max_size=4)):
        records[at] = draw.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("records") / "train.rec"
    path.write_bytes(records)
    for offset in (0, len(record(pack(1, b"first")))):
        with contextlib.suppress(RejectedImage):
            recordio.read_record(path, offset)


@pytest.mark.parametrize("left", [0, 5, -3, 0.5])
def test_a_file_cut_in_the_middle(identities: Path, left: float) -> None:
    data = (identities / "train.rec").read_bytes()
    (identities / "train.rec").write_bytes(data[: int(left * len(data)) if isinstance(left, float) else left])
    with pytest.raises(DataError, match=r"ends at byte .* where train.idx has record 6; the file is cut short or"):
        next(InsightfaceSet(identities, 0, 95).items())


def test_the_index_of_another_file(identities: Path, tmp_path: Path, encode: Callable) -> None:
    other = write(tmp_path / "other", [pack([3]), pack(1, encode(7, size=(60, 60))), pack(2, encode(8))])
    (identities / "train.idx").write_bytes((other / "train.idx").read_bytes())
    with pytest.raises(DataError, match="no record begins at byte"):
        next(InsightfaceSet(identities, 0, 95).items())


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("train.idx", "", "KEY<tab>OFFSET"),
        ("train.idx", "0\t0\n1\n", "is no index, with"),
        ("train.idx", "0\tzero\n", "no index"),
        ("train.idx", "0\n1\n", "KEY<tab>OFFSET"),
        ("train.idx", "0\t2\n", "multiples of 4"),
        ("train.idx", "0\t-4\n", "KEY<tab>OFFSET"),
        ("train.idx", "1\t0\n", "no record 0"),
        ("property", "", "property is empty"),
        ("property", "many,112,112", "expected CLASSES,HEIGHT,WIDTH, found 'many,112,112'"),
    ],
)
def test_malformed_companions(identities: Path, name: str, text: str, expected: str) -> None:
    (identities / name).write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        next(InsightfaceSet(identities, 0, 95).items())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["train.rec", "train.idx", "property"])
def test_missing_files(identities: Path, name: str) -> None:
    (identities / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing; the folder must hold train.rec, train.idx and property"):
        next(InsightfaceSet(identities, 0, 95).items())


def test_a_folder_that_is_none(tmp_path: Path, fails: Callable) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in ("loop", "x" * 300, "missing"):
        assert "train.rec is missing" in fails("recordio", tmp_path / name, tmp_path / "out")


def test_a_set_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        next(InsightfaceSet(write(tmp_path / "set", [pack([1, 2]), pack([1, 1])]), 0, 95).items())


def test_command(identities: Path, tmp_path: Path, run: Callable) -> None:
    code, out, err = run("recordio", identities, tmp_path / "out", "--workers", 0)
    assert (code, err) == (0, "") and "4 images of 2 identities" in out
    assert (tmp_path / "out" / "identities.txt").read_text() == "03\n11\n"
    assert run("check", tmp_path / "out", "--workers", 0).code == 0
