"""The pairs of a verification set: which two samples are compared, whether they show one person, and the fold.

Shapes: P pairs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_face.errors import DataError

COLUMNS = ("left", "right", "same", "fold")
NO_FOLDS = -1
_MAKE_AGAIN = "make it again with `python -m data_prep pairs`"


@dataclass(frozen=True)
class PairList:
    """Pairs of samples to compare; the order of pairs never changes a result.

    Args:
        left_P: (P,) int64, sample ids.
        right_P: (P,) int64, sample ids.
        same_P: (P,) bool, True for a genuine pair (one person), False for an impostor pair (two people).
        fold_P: (P,) int64, the fold of each pair, at least 0; or -1 for all pairs of a list without folds.

    Raises:
        DataError: there is no genuine or no impostor pair, in the list or in a fold; or folds that cannot be used.
    """

    left_P: NDArray[np.int64]
    right_P: NDArray[np.int64]
    same_P: NDArray[np.bool_]
    fold_P: NDArray[np.int64]

    def __post_init__(self) -> None:
        genuine, impostors = int(self.same_P.sum()), int((~self.same_P).sum())
        if not genuine or not impostors:
            raise DataError(f"the list needs genuine and impostor pairs, has {genuine} and {impostors}; {_MAKE_AGAIN}")
        problem = _problem_of_folds(self.same_P, self.fold_P)
        if problem:
            raise DataError(f"{problem}; {_MAKE_AGAIN}, or write fold -1 in every row to do without folds")

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.same_P)

    @property
    def has_folds(self) -> bool:
        """Whether accuracy is measured by cross-validation over folds."""
        return bool(self.fold_P[0] != NO_FOLDS)


def _problem_of_folds(same_P: NDArray[np.bool_], fold_P: NDArray[np.int64]) -> str | None:
    folds_F, index_P = np.unique(fold_P, return_inverse=True)
    if folds_F[0] == NO_FOLDS:
        return None if len(folds_F) == 1 else "folds must be given for all pairs or for none (-1), some have them"
    if len(folds_F) == 1:
        return f"the list needs at least 2 folds (a threshold is chosen on the other folds), has only fold {folds_F[0]}"
    genuine_F = np.bincount(index_P[same_P], minlength=len(folds_F))
    impostors_F = np.bincount(index_P[~same_P], minlength=len(folds_F))
    for fold, genuine, impostors in zip(folds_F, genuine_F, impostors_F, strict=True):
        if not genuine or not impostors:
            return f"fold {fold} needs genuine and impostor pairs, has {genuine} and {impostors}"
    return None


def read_pairs(path: Path, num_samples: int) -> PairList:
    """Read a `pairs.csv`: the header left,right,same,fold, then one row of integers for each pair.

    Args:
        path: the file.
        num_samples: samples in the set; ids must lie in [0, num_samples).

    Raises:
        DataError: the file is missing, is no list of pairs, names a sample that is not there, or cannot be evaluated
            (see `PairList`); the message names the first offending line.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: a verification set needs its pairs; {_MAKE_AGAIN}")
    try:
        return PairList(*_read_columns(path, num_samples))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file ({error.reason}); {_MAKE_AGAIN}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _read_columns(
    path: Path, num_samples: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    # utf-8-sig: spreadsheets put a byte-order mark before the header.
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline().strip()
        if header != ",".join(COLUMNS):
            raise DataError(f"line 1 must be the header {','.join(COLUMNS)}, is {header[:80]!r}; {_MAKE_AGAIN}")
        lines = file.readlines()
    if not any(line.strip() for line in lines):
        raise DataError(f"line 2: no pair follows the header; {_MAKE_AGAIN}")
    try:
        table = np.loadtxt(lines, dtype=np.int64, delimiter=",", comments=None, ndmin=2)
        valid = table.shape[1] == len(COLUMNS) and bool(_valid_rows(table, num_samples).all())
    except ValueError:
        valid = False
    if not valid:
        raise DataError(_first_problem(lines, num_samples))
    left_P, right_P, same_P, fold_P = table.T.copy()
    return left_P, right_P, same_P == 1, fold_P


def _valid_rows(table: NDArray[np.int64], num_samples: int) -> NDArray[np.bool_]:
    ids, same_P, fold_P = table[:, :2], table[:, 2], table[:, 3]
    in_range_P = ((ids >= 0) & (ids < num_samples)).all(axis=1)
    valid_P: NDArray[np.bool_] = in_range_P & ((same_P == 0) | (same_P == 1)) & (fold_P >= NO_FOLDS)
    return valid_P


def _first_problem(lines: list[str], num_samples: int) -> str:
    # Slow, and only run to say where the fast reader's complaint comes from.
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        try:
            left, right, same, fold = (int(field) for field in line.split(","))
        except ValueError:
            return f"line {number} must be 4 integers {','.join(COLUMNS)}, is {line.strip()[:80]!r}; {_MAKE_AGAIN}"
        for name, sample in (("left", left), ("right", right)):
            if not 0 <= sample < num_samples:
                return f"line {number}: {name} must be a sample id in [0, {num_samples}), is {sample}; {_MAKE_AGAIN}"
        if same not in (0, 1):
            return f"line {number}: same must be 0 or 1, is {same}; {_MAKE_AGAIN}"
        if fold < NO_FOLDS:
            return f"line {number}: fold must be at least 0, or -1 for no folds, is {fold}; {_MAKE_AGAIN}"
    return f"rows are not plain decimal integers; {_MAKE_AGAIN}"
