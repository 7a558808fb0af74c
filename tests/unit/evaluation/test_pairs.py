"""Reading pairs.csv: what is right comes back, what is wrong is named by file, line, rule and fix."""

from pathlib import Path

import numpy as np
import pytest

from lightning_face.errors import DataError
from lightning_face.evaluation.pairs import PairList, read_pairs

HEADER = "left,right,same,fold\n"
GOOD = "0,1,1,0\n2,3,0,0\n4,5,1,1\n6,7,0,1\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "pairs.csv"
    path.write_bytes(text.encode())
    return path


def test_reads_columns_and_types(tmp_path: Path) -> None:
    pairs = read_pairs(written(tmp_path, HEADER + GOOD), num_samples=8)
    assert pairs.left_P.tolist() == [0, 2, 4, 6]
    assert pairs.right_P.tolist() == [1, 3, 5, 7]
    assert pairs.same_P.tolist() == [True, False, True, False]
    assert pairs.fold_P.tolist() == [0, 0, 1, 1]
    assert [column.dtype.name for column in (pairs.left_P, pairs.same_P, pairs.fold_P)] == ["int64", "bool", "int64"]
    assert (len(pairs), pairs.has_folds) == (4, True)


@pytest.mark.parametrize(
    "text",
    [
        (HEADER + GOOD).replace("\n", "\r\n"),
        "\ufeff" + HEADER + GOOD,
        HEADER + GOOD + "\n\n",
        (HEADER + GOOD).rstrip(),
    ],
    ids=["windows line ends", "byte-order mark", "blank lines", "no last line end"],
)
def test_what_editors_do_is_read(tmp_path: Path, text: str) -> None:
    assert len(read_pairs(written(tmp_path, text), num_samples=8)) == 4


def test_without_folds(tmp_path: Path) -> None:
    assert not read_pairs(written(tmp_path, HEADER + "0,1,1,-1\n0,2,0,-1\n"), num_samples=3).has_folds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must be the header left,right,same,fold, is ''"),
        ("a,b,same,fold\n" + GOOD, "line 1 must be the header"),
        (HEADER, "line 2: no pair follows the header"),
        (HEADER + GOOD + "0,8,1,0\n", r"line 6: right must be a sample id in \[0, 8\), is 8"),
        (HEADER + "-1,2,1,0\n" + GOOD, r"line 2: left must be a sample id in \[0, 8\), is -1"),
        (HEADER + "\n" + GOOD + "99,2,1,0\n", r"line 7: left must be .* is 99"),
        (HEADER + GOOD + "0,1,2,0\n", "line 6: same must be 0 or 1, is 2"),
        (HEADER + GOOD + "0,1,1,-2\n", "line 6: fold must be at least 0, or -1 for no folds, is -2"),
        (HEADER + GOOD + "0,1,1\n", "line 6 must be 4 integers left,right,same,fold, is '0,1,1'"),
        (HEADER + GOOD + "0,1,1.0,0\n", "line 6 must be 4 integers"),
        (HEADER + GOOD + "0,x,1,0\n", "line 6 must be 4 integers"),
        (HEADER + "0,1,1\n2,3,0\n", "line 2 must be 4 integers"),
        (HEADER + GOOD + "0,1,1_0,0\n", "line 6: same must be 0 or 1, is 10"),
        (HEADER + GOOD + "0_0,1,1,0\n", "rows are not plain decimal integers"),
        (HEADER + "0,1,1,-1\n", "needs genuine and impostor pairs, has 1 and 0"),
        (HEADER + "0,1,0,-1\n", "needs genuine and impostor pairs, has 0 and 1"),
        (HEADER + GOOD + "0,1,1,2\n", "fold 2 needs genuine and impostor pairs, has 1 and 0"),
        (HEADER + GOOD + "0,1,1,-1\n", "folds must be given for all pairs or for none"),
        (HEADER + "0,1,1,3\n0,2,0,3\n", "needs at least 2 folds .*, has only fold 3"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read_pairs(path, num_samples=8)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    assert "data_prep pairs" in line


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs\.csv is missing: .*data_prep pairs"):
        read_pairs(tmp_path / "pairs.csv", num_samples=8)
    (tmp_path / "pairs.csv").write_bytes(b"\x80\x04\x95\xff\n\xfe")
    with pytest.raises(DataError, match="not a text file"):
        read_pairs(tmp_path / "pairs.csv", num_samples=8)


def test_an_empty_list_is_refused() -> None:
    none = np.zeros(0, np.int64)
    with pytest.raises(DataError, match="has 0 and 0"):
        PairList(none, none, none.astype(bool), none)
