"""LFW's lists of people, alone and as `folder --people`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.sources.people import read_people_folds

ONE_LIST = "2\nAl\t2\nBo\t1\n"
FOLDS = "2\n1\nAl\t2\n2\nBo\t1\nCy\t1\n"


@pytest.fixture
def people(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "people.txt").write_text(text)
        return tmp_path / "people.txt"

    return write


def test_one_list_and_folds(people: Callable) -> None:
    (only,) = read_people_folds(people(ONE_LIST))
    assert [(person.name, person.images, person.line) for person in only] == [("Al", 2, 2), ("Bo", 1, 3)]
    folds = read_people_folds(people(FOLDS))
    assert [[(person.name, person.line) for person in fold] for fold in folds] == [[("Al", 3)], [("Bo", 5), ("Cy", 6)]]


def test_folder_takes_the_first_images_of_those_listed(
    faces: Path, tmp_path: Path, people: Callable, run: Callable
) -> None:
    out = run("folder", faces, tmp_path / "out", "--workers", 0, "--people", people(ONE_LIST)).out
    assert "3 images of 2 identities" in out
    data = (tmp_path / "out" / "shard-000000.tar").read_bytes()
    for name, there in (("Al/Al_0002", True), ("Al/Al_0003", False), ("Bo/Bo_0001", True), ("Cy/Cy_0001", False)):
        assert ((faces / f"{name}.jpg").read_bytes() in data) == there


def test_without_fold(faces: Path, tmp_path: Path, people: Callable, run: Callable, fails: Callable) -> None:
    command = ("folder", faces, tmp_path / "out", "--workers", 0, "--people", people(FOLDS))
    assert "--without-fold 2: " in fails(*command, "--without-fold", 2)
    run(*command, "--without-fold", 0)
    assert (tmp_path / "out" / "identities.txt").read_text() == "Bo\nCy\n"
    assert "no effect without --people" in fails("folder", faces, tmp_path / "out", "--without-fold", 0)


def test_missing_identity_or_image(faces: Path, tmp_path: Path, people: Callable, fails: Callable) -> None:
    line = fails("folder", faces, tmp_path / "out", "--people", people("1\nDi\t1\n"))
    assert f"people.txt line 2 names {faces / 'Di'}, which is missing" in line
    line = fails("folder", faces, tmp_path / "out", "--people", people("2\nAl\t1\nCy\t2\n"))
    assert f"people.txt line 3 names {faces / 'Cy' / 'Cy_0002.jpg'}, which is missing" in line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "people.txt is empty"),
        ("Al\t2\n", "line 1: expected a count"),
        ("2\nAl\t2\n", "line 1: announces 2 people, 1 lines follow"),
        ("1\nAl\t2\nBo\t1\n", "line 1: announces 1 people, 2 lines follow"),
        ("1\nAl\tmany\n", "line 2: expected NAME<tab>IMAGES, found 'Al\\tmany'"),
        ("1\nAl\t0\n", "line 2: expected NAME<tab>IMAGES"),
        ("1\nAl\t1\t1\n", "line 2: expected NAME<tab>IMAGES"),
        ("2\n1\nAl\t2\nBo\t1\n", "line 4: expected a count of folds or people, found 'Bo\\t1'"),
        ("2\n1\nAl\t2\n", "line 4: expected a count of folds or people, found the end of the file"),
        ("2\nAl\t1\nAl\t2\n", "line 3: Al is listed in line 2 already"),
    ],
)
def test_malformed_lists(
    faces: Path, tmp_path: Path, people: Callable, fails: Callable, text: str, expected: str
) -> None:
    assert expected in fails("folder", faces, tmp_path / "out", "--people", people(text))


def test_a_list_that_is_missing_or_no_text(faces: Path, tmp_path: Path, fails: Callable) -> None:
    assert "cannot read" in fails("folder", faces, tmp_path / "out", "--people", tmp_path / "nowhere")
    (tmp_path / "list").write_bytes(b"1\n\xff\t1\n")
    assert "is not UTF-8 text" in fails("folder", faces, tmp_path / "out", "--people", tmp_path / "list")
