"""VGGFace2: photographs in folders or in an archive, and the tables beside them."""

import gzip
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep import images
from data_prep.alignment import TEMPLATE_52, align_to_box, align_to_landmarks
from data_prep.images import RejectedImage, encode_jpeg, to_pixels
from data_prep.passes.source import Face
from data_prep.sources.vggface2 import VGGFace2
from data_prep.sources.vggface2_tables import read_places
from lightning_face.errors import DataError

PATHS = ("n000002/0001_01.jpg", "n000002/0002_01.jpg", "n000009/0001_01.jpg")
LANDMARKS = np.round(TEMPLATE_52 / 3) + np.array([4.25, 2.5])


@pytest.fixture
def photographs(encode: Callable) -> dict[str, bytes]:
    return {path: encode(seed, size=(50, 60)) for seed, path in enumerate(PATHS)}


@pytest.fixture
def folder(tmp_path: Path, photographs: dict[str, bytes]) -> Path:
    for path, data in photographs.items():
        (tmp_path / "train" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / path).write_bytes(data)
    return tmp_path / "train"


def pack(photographs: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """A tar with the photographs below `train`, and a readme."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        for path, data in {"README": b"hello", **{f"train/{path}": data for path, data in photographs.items()}}.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def source(root: Path, **options: Any) -> VGGFace2:
    unset: dict[str, Any] = dict.fromkeys(("landmarks", "boxes", "image_list", "names"))
    return VGGFace2(root, **{**unset, "margin": 0.3, "size": 32, "quality": 95, **options})


def faces_of(source: VGGFace2) -> list[Face | str]:
    """Faces, or what was rejected and why."""
    worker, faces = pickle.loads(pickle.dumps(source)), list[Face | str]()
    for item in source.items():
        try:
            faces.append(worker.make(pickle.loads(pickle.dumps(item))))
        except RejectedImage as reason:
            faces.append(f"{item}: {reason}")
    return faces


@pytest.fixture
def landmarks(tmp_path: Path) -> Path:
    """Of the first image only; names are quoted, as in the original."""
    header = "NAME_ID,P1X,P1Y,P2X,P2Y,P3X,P3Y,P4X,P4Y,P5X,P5Y\n"
    numbers = ",".join(map(str, LANDMARKS.ravel()))
    (tmp_path / "loose_landmark_train.csv").write_text(
        f'{header}"n000001/0001_01",{numbers}\n"n000002/0001_01",{numbers}\n'
    )
    return tmp_path / "loose_landmark_train.csv"


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Of the first two images."""
    rows = '"n000002/0002_01",12,10,20,30\n"n000002/0001_01",0,0,5,5\n'
    (tmp_path / "loose_bb_train.csv").write_text("NAME_ID,X,Y,W,H\n" + rows)
    return tmp_path / "loose_bb_train.csv"


def test_landmarks_first_then_boxes_then_rejected(
    folder: Path, photographs: dict[str, bytes], landmarks: Path, boxes: Path
) -> None:
    pixels = [to_pixels(data) for data in photographs.values()]
    aligned = encode_jpeg(align_to_landmarks(pixels[0], LANDMARKS, 32), 95)
    cropped = encode_jpeg(align_to_box(pixels[1], (12, 10, 20, 30), 0.5, 32), 95)
    assert faces_of(source(folder, landmarks=landmarks, boxes=boxes, margin=0.5)) == [
        Face("n000002", aligned), Face("n000002", cropped), "n000009/0001_01.jpg: no table has its face",
    ]  # fmt: skip


def test_without_tables_the_middle_is_taken(folder: Path) -> None:
    faces = faces_of(source(folder))
    assert [face.identity for face in faces if isinstance(face, Face)] == ["n000002", "n000002", "n000009"]
    assert all(to_pixels(face.jpeg).shape == (32, 32, 3) for face in faces if isinstance(face, Face))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_gives_the_faces_of_its_folder(
    folder: Path, photographs: dict[str, bytes], landmarks: Path, boxes: Path, tmp_path: Path, mode: str
) -> None:
    (tmp_path / "train.tar").write_bytes(pack(photographs, mode))
    options = {"landmarks": landmarks, "boxes": boxes}
    assert faces_of(source(tmp_path / "train.tar", **options)) == faces_of(source(folder, **options))


def test_image_list(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train_list.txt").write_text(f"n000001/0001_01.jpg\n{PATHS[2]}\n{PATHS[0]}\n")
    items = list(source(folder, image_list=tmp_path / "train_list.txt").items())
    assert [str(item) for item in items] == [PATHS[0], PATHS[2]]
    assert "1 images are not in" in capsys.readouterr().out


def test_names_with_odd_quotes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "identity_meta.csv").write_text(
        "Identity_ID, Name, Sample_Num, Flag, Gender\n"
        'n000001, "14th_Dalai_Lama", 424, 0, m\n'
        'n000002, "Sammy_"Jr."_Davis,_Jr.", 315, 1, m\n'
        'n000003, "a/b", 3, 1, f\n'
        'n000009, "14th_Dalai_Lama", 300, 0, m\n'
    )
    items = list(source(folder, names=tmp_path / "identity_meta.csv").items())
    assert [item.identity for item in items] == ['Sammy_"Jr."_Davis,_Jr.'] * 2 + ["14th_Dalai_Lama (n000009)"]


def test_items_tell_changed_ones(folder: Path, photographs: dict[str, bytes], tmp_path: Path, landmarks: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(pack(photographs))
    (tmp_path / "b.tgz").write_bytes(pack({**photographs, PATHS[0]: bytes(len(photographs[PATHS[0]]))}))
    before, after = ([repr(item) for item in source(tmp_path / f"{name}.tgz").items()] for name in "ab")
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, True]
    before, after = ([repr(item) for item in source(folder, landmarks=table).items()] for table in (None, landmarks))
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, True]


def test_bad_images_and_names_in_an_archive(
    photographs: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 9000)
    monkeypatch.setattr("data_prep.sources.archive.MAX_FILE_BYTES", 9000)
    data = photographs[PATHS[0]]
    bad = {"n1/a.jpg": b"", "n1/b.jpg": data[:500], "n1/c.jpg": bytes(9001), "../../e.jpg": data}
    bad |= {os.fsdecode(b"n\xff/d.jpg"): data, "n1/.hidden.jpg": data, "n1/notes.txt": b"", "n1/good.jpg": data}
    (tmp_path / "train.tar").write_bytes(pack(bad, "w"))
    *found, good = faces_of(source(tmp_path / "train.tar"))
    expected = ("n1/a.jpg: empty", "n1/b.jpg: damaged", "n1/c.jpg: 9,001 bytes are more", "../e.jpg: the identity '..'")
    for rejected, begins in zip(found, (*expected, "n"), strict=True):
        assert isinstance(rejected, str) and rejected.startswith(begins), rejected
    assert str(found[-1]).endswith("is not UTF-8") and isinstance(good, Face) and good.identity == "n1"


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.99, -8])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_cut_short(photographs: dict[str, bytes], tmp_path: Path, mode: str, cut: float) -> None:
    # A plain tar ends with up to 10 kB of zeros, which may be missing.
    data = pack(photographs, mode).rstrip(b"\0") if mode == "w" else pack(photographs, mode)
    (tmp_path / "cut.tar").write_bytes(data[: int(cut * len(data)) if cut > 0 else int(cut)])
    with pytest.raises(DataError, match=r"cut.tar is (truncated|damaged or cut short)"):
        list(source(tmp_path / "cut.tar").items())


def test_archives_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "text.tar.gz").write_bytes(gzip.compress(b"hello" * 1000))
    (tmp_path / "broken.tar.gz").write_bytes(gzip.compress(b"hello" * 1000)[:10] + bytes(100))
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "loop.tar").symlink_to("loop.tar")
    for name in ("text.tar.gz", "broken.tar.gz", "empty.tar", "missing.tar", "loop.tar", "x" * 300):
        with pytest.raises(DataError, match=f"{name} (is|cannot be read)") as error:
            list(source(tmp_path / name).items())
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NAME_ID,X,Y,W,H\n", "is empty"),
        ("", "is empty"),
        ("NAME_ID,X,Y,W,H\nn1/1,1,2,3\n", "expected lines of NAME_ID and 4 numbers"),
        ("NAME_ID,X,Y,W,H\nn1/1,1,2,3,x\n", "expected lines of NAME_ID and 4 numbers"),
        ("NAME_ID,X,Y,W,H\nn1/1,1,2,3,4\nn1/1,1,2,3,5\n", "says two things of n1/1"),
        (f"NAME_ID,X,Y,W,H\n{'n' * 129},1,2,3,4\n", "longer than 128 bytes"),
    ],
)
def test_malformed_tables(folder: Path, tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DataError, match=f"boxes.csv.* {expected}|boxes.csv: .*{expected}") as error:
        list(source(folder, boxes=tmp_path / "boxes.csv").items())
    assert "\n" not in str(error.value)


def test_missing_and_malformed_lists(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("Identity_ID, Name\nn000001, Al\n")
    with pytest.raises(DataError, match=r"names.csv line 2: expected ID, NAME"):
        list(source(folder, names=tmp_path / "names.csv").items())
    for option in ("landmarks", "boxes", "image_list", "names"):
        with pytest.raises(DataError, match=r"cannot read .*missing"):
            list(source(folder, **{option: tmp_path / "missing"}).items())


def test_numbers_that_are_no_place(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_text(f"NAME_ID,X,Y,W,H\n{PATHS[0][:-4]},nan,1,2,3\n{PATHS[1][:-4]},1,2,0,0\n")
    assert faces_of(source(folder, boxes=tmp_path / "boxes.csv"))[:2] == [
        f"{PATHS[0]}: the place of the face is not given in pixels", f"{PATHS[1]}: the box of the face is empty",
    ]  # fmt: skip


def test_command(folder: Path, landmarks: Path, boxes: Path, tmp_path: Path, run: Callable, fails: Callable) -> None:
    options = ("--landmarks", landmarks, "--boxes", boxes, "--size", 32, "--workers", 0)
    code, out, _ = run("vggface2", folder, tmp_path / "out", *options)
    assert code == 0 and "2 images of 1 identities" in out and "left out 1 of 3 images" in out
    assert run("check", tmp_path / "out", "--workers", 0).code == 0
    assert "--margin was 0.3, now 0.4" in fails("vggface2", folder, tmp_path / "out", *options, "--margin", 0.4)
    assert "would be taken for an identity" in fails("vggface2", folder, folder / "out")
    (tmp_path / "loop").symlink_to("loop")
    assert "loop cannot be read" in fails("vggface2", tmp_path / "loop", tmp_path / "other")


def test_a_table_is_found_by_search_as_by_a_dict(tmp_path: Path, folder: Path) -> None:
    generator = np.random.default_rng(0)
    names = [f"n{number:06d}/{number % 7:04d}_01" for number in generator.permutation(2000)]
    numbers = generator.uniform(0, 500, (2000, 4)).round(2)
    lines = [",".join([f'"{name}"', *map(str, row)]) for name, row in zip(names, numbers, strict=True)]
    (tmp_path / "boxes.csv").write_text("\n".join(["NAME_ID,X,Y,W,H", *lines]))
    table = read_places(tmp_path / "boxes.csv", 4)
    for name, row in zip(names, numbers, strict=True):
        np.testing.assert_allclose(table.find(name.encode()), row, rtol=1e-6)
    for name in (b"", b"n", b"n002000/0005_01", b"n000000/0000_011", b"z" * 100):
        assert table.find(name) is None
