"""Rows of another run's class tables: a person's row goes to that person, and nowhere else."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_face.checkpoint import exported as exported_module
from lightning_face.checkpoint.exported import Exported, Origin, write_exported
from lightning_face.checkpoint.transfer import Transfer
from lightning_face.errors import ConfigError

people = st.lists(st.sampled_from([f"person {number}" for number in range(30)]), min_size=1, unique=True)


def write(path, names, *, manifest_hash="there", moved=None):
    """Tables whose numbers say whose row it is."""
    tables = {
        "classifier": torch.tensor([[number_of(name), 1.0] for name in names]).reshape(-1, 2),
        "centers": torch.tensor([[number_of(name), 2.0] for name in names]).reshape(-1, 2),
        "centers.moved_at": torch.tensor(moved or [5] * len(names), dtype=torch.int32),
    }
    write_exported(path, tables, "\n".join(names), Origin({}, len(names), manifest_hash, step=9))
    return Exported(path)


def number_of(name):
    return float(name.split()[-1])


def fresh_tables(num_held):
    return {
        "classifier": torch.full((num_held, 2), -1.0),
        "classifier.momentum_buffer": torch.zeros(num_held, 2),
        "centers": torch.full((num_held, 2), -1.0),
        "centers.moved_at": torch.full((num_held,), -1, dtype=torch.int32),
    }


@settings(max_examples=60, deadline=None)
@given(people, people, st.data(), st.integers(1, 40))
def test_each_person_keeps_the_own_row(tmp_path_factory, former, names, data, rows_at_once):
    """On any part of the classes, however the file is read."""
    start = data.draw(st.integers(0, len(names)))
    held = range(start, data.draw(st.integers(start, len(names))))
    exported = write(tmp_path_factory.mktemp("t") / "f", former)
    tables = fresh_tables(len(held))
    with patch.object(exported_module, "_ROWS_AT_ONCE", rows_at_once):
        Transfer(exported, names, "here").copy(tables, dict.fromkeys(tables, held))
    for place, name in enumerate(names[held.start : held.stop]):
        known = name in former
        assert tables["classifier"][place].tolist() == ([number_of(name), 1.0] if known else [-1.0, -1.0])
        assert tables["centers"][place].tolist() == ([number_of(name), 2.0] if known else [-1.0, -1.0])
        assert tables["centers.moved_at"][place] == (0 if known else -1)
    assert not tables["classifier.momentum_buffer"].any()


def test_a_center_that_never_moved_has_not_moved_here(tmp_path):
    exported = write(tmp_path / "f", ["person 1", "person 2"], moved=[-1, 7])
    tables = fresh_tables(2)
    Transfer(exported, ["person 2", "person 1"], "here").copy(tables, {})
    assert tables["centers.moved_at"].tolist() == [0, -1]


def test_tables_that_one_side_lacks_are_left_alone(tmp_path):
    exported = write(tmp_path / "f", ["person 1"])
    Transfer(exported, ["person 1"], "here").copy({}, {})
    write_exported(tmp_path / "network_only", {}, "person 1", Origin({}, 1, "there", step=9))
    tables = fresh_tables(1)
    Transfer(Exported(tmp_path / "network_only"), ["person 1"], "here").copy(tables, {})
    assert torch.equal(tables["classifier"], fresh_tables(1)["classifier"])


@pytest.mark.parametrize(("former", "now"), [(["0", "1"], ["Ann", "1"]), (["Ann", "1"], ["0", "1"])])
def test_numbers_are_no_names(former, now, tmp_path):
    origin = Origin({}, 2, "there", step=9)
    write_exported(tmp_path / "f", {"classifier": torch.ones(2, 2)}, "\n".join(former), origin)
    with pytest.raises(ConfigError, match="are numbers, not names"):
        Transfer(Exported(tmp_path / "f"), now, "here")


def test_numbers_will_do_on_the_same_dataset_and_where_there_are_no_rows(tmp_path):
    write_exported(tmp_path / "f", {"classifier": torch.ones(2, 2)}, "0\n1", Origin({}, 2, "here", step=9))
    tables = fresh_tables(2)
    Transfer(Exported(tmp_path / "f"), ["0", "1"], "here").copy(tables, {})
    assert tables["classifier"].tolist() == [[1.0, 1.0]] * 2
    write_exported(tmp_path / "g", {}, "0\n1", Origin({}, 2, "there", step=9))
    Transfer(Exported(tmp_path / "g"), ["0", "1"], "here")


def test_rows_of_another_size_are_refused(tmp_path):
    exported = write(tmp_path / "f", ["person 1"])
    with pytest.raises(ConfigError, match=r"a row of the classifier is \[2\] in .*, here \[4\]"):
        Transfer(exported, ["person 1"], "here").copy({"classifier": torch.zeros(1, 4)}, {})


def test_letters_that_look_like_line_ends_stay_in_names(tmp_path):
    names = ["person\u2028 1", "person\x0b 2", "person\x85 3"]
    tables = fresh_tables(3)
    Transfer(write(tmp_path / "f", names), names, "here").copy(tables, {})
    assert tables["classifier"][:, 0].tolist() == [1.0, 2.0, 3.0]
