"""Who is kept: against loops over dicts, and what the command line makes of each rule."""

import csv
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.passes import rows, spool
from data_prep.passes.duplicates import find_duplicates
from data_prep.passes.gather import gather
from data_prep.passes.parts import WHOLE
from data_prep.passes.recipe import Recipe
from data_prep.passes.rejects import write_rejected
from data_prep.passes.rows import Rows
from data_prep.passes.selection import select
from tests.unit.data_prep.plain import Plain, plain, write


def rejected(out: Path) -> dict[str, str]:
    header, *rows = csv.reader((out / "rejected.csv").read_text().splitlines())
    assert header == ["source", "reason"]
    return dict(rows)


def chosen_by_loops(source: Plain, recipe: Recipe) -> tuple[dict[int, str], dict[str, str]]:
    """Identity of each kept item, by its number, and reasons of the others."""
    kept: dict[int, str] = {}
    reasons: dict[str, str] = {}
    first: dict[bytes, str] = {}
    for number, item in enumerate(source.planned):
        if not item.jpeg:
            reasons[item.name] = "damaged: on purpose"
        elif item.identity in recipe.exclude:
            reasons[item.name] = "excluded identity"
        elif item.jpeg in first:
            reasons[item.name] = f"duplicate of {first[item.jpeg]}"
        else:
            first[item.jpeg], kept[number] = item.name, item.identity
    counts = Counter(kept.values())
    enough = sorted((who for who in counts if counts[who] >= recipe.min_images), key=lambda who: (-counts[who], who))
    for number, who in list(kept.items()):
        if who not in enough:
            why = f"identity with fewer than {recipe.min_images} images: {counts[who]} left"
        elif who not in enough[: recipe.max_identities]:
            why = f"identity not among the {recipe.max_identities} with the most images"
        else:
            continue
        reasons[source.planned[number].name] = why
        del kept[number]
    return kept, reasons


@settings(max_examples=60, deadline=None)
@given(
    faces=st.lists(st.tuples(st.sampled_from("DABC"), st.sampled_from([b"", *(b"%d" % n for n in range(12))]))),
    exclude=st.sampled_from([(), ("A",), ("B", "D", "E")]),
    min_images=st.integers(1, 3),
    max_identities=st.none() | st.integers(1, 3),
)  # fmt: skip
def test_selection_equals_loops(faces: list, exclude: tuple, min_images: int, max_identities: int | None) -> None:
    source, recipe = plain(*faces), Recipe(min_images=min_images, max_identities=max_identities, exclude=exclude)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "CHUNK_ITEMS", 3)
        patch.setattr(spool, "_MOST_OPEN", 2)
        patch.setattr(rows, "ROWS_AT_ONCE", 4)
        patch.setattr("lightning_face.files.flush", lambda path: None)
        out = Path(folder)
        assert gather(out, source, source.items(), WHOLE, recipe, 0) == len(faces)
        selection = select(out, len(faces), recipe)
        kinds = write_rejected(out, out, len(faces), selection.left_out, recipe)
        kept, reasons = chosen_by_loops(source, recipe)
        assert rejected(out) == reasons and kinds.total() == len(reasons)
        samples = np.concatenate([np.empty(0, selection.samples.dtype), *selection.samples.blocks()])
        assert len(samples) == len(selection.samples) and samples["number"].tolist() == sorted(kept)
        assert [selection.identities[label] for label in samples["label"]] == [kept[n] for n in sorted(kept)]
        counts = Counter(kept.values())
        assert selection.counts().tolist() == [counts[who] for who in selection.identities]
        assert list(selection.identities) == sorted(set(kept.values()))
        with closing(spool.FaceReader(out)) as reader:
            for number, chunk, offset, size, _, _ in samples.tolist():
                assert reader.read(chunk, offset, size) == source.planned[number].jpeg


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 2**64 - 1]), st.integers(0, 2), st.integers(0, 1))))
def test_the_first_of_equal_digests_stays(faces: list) -> None:
    table = np.zeros(len(faces), [("number", "<u4"), ("identity", "<u4"), ("digest", "<u8", (2,))])
    for row, (high, low, identity) in enumerate(faces):
        table[row] = 3 * row, identity, (high, low)
    expected = {
        3 * place: 3 * faces.index(face) for place, face in enumerate(faces) if face[2] and face in faces[:place]
    }
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "ROWS_AT_ONCE", 4)
        path = Path(folder) / "faces"
        table.tofile(path)
        found = find_duplicates(Rows(path, table.dtype), np.array([True, False]))
    assert list(zip(found["number"].tolist(), found["first"].tolist(), strict=True)) == sorted(expected.items())


def test_exact_duplicates_of_anybody_are_dropped(faces: Path, tmp_path: Path, run: Callable) -> None:
    data = (faces / "Bo" / "Bo_0002.jpg").read_bytes()
    (faces / "Bo" / "copy.jpg").write_bytes(data)
    (faces / "Cy" / "copy.jpg").write_bytes(data)
    out = run("folder", faces, tmp_path / "out", "--workers", 0).out
    assert "left out 2 of 12 images" in out and "10 images of 3 identities" in out
    reason = "duplicate of Bo/Bo_0002.jpg"
    assert rejected(tmp_path / "out") == {"Bo/copy.jpg": reason, "Cy/copy.jpg": reason}


def test_excluded_identities(faces: Path, tmp_path: Path, run: Callable, fails: Callable) -> None:
    (tmp_path / "test_set").write_text("Bo\nNobody\n")
    command = ("folder", faces, tmp_path / "out", "--workers", 0, "--exclude", tmp_path / "test_set")
    assert "people without an image in the source, 1 of 2: Nobody\n" in run(*command).out
    assert (tmp_path / "out" / "identities.txt").read_text() == "Al\nCy\n"
    assert set(rejected(tmp_path / "out").values()) == {"excluded identity"}
    (tmp_path / "test_set").write_text("Bo\n")
    assert "--exclude was Bo, Nobody, now Bo; " in fails(*command)
    assert "cannot read" in fails(*command[:-1], tmp_path / "nowhere")


def test_the_largest_identities(faces: Path, tmp_path: Path, run: Callable) -> None:
    run("folder", faces, tmp_path / "out", "--workers", 0, "--max-identities", 1)
    assert (tmp_path / "out" / "identities.txt").read_text() == "Bo\n"
    assert rejected(tmp_path / "out")["Cy/Cy_0001.jpg"] == "identity not among the 1 with the most images"


def test_more_unusable_images_than_allowed(faces: Path, tmp_path: Path, run: Callable, fails: Callable) -> None:
    (faces / "Bo" / "Bo_0002.jpg").write_bytes(b"no image")
    command = ("folder", faces, tmp_path / "out", "--workers", 0)
    line = fails(*command, "--max-rejected", 0.05)
    assert f"1 of 10 images cannot be used, more than --max-rejected 0.05; the reasons are in {tmp_path}" in line
    assert list(rejected(tmp_path / "out")) == ["Bo/Bo_0002.jpg"]
    assert run(*command, "--max-rejected", 0.1).code == 0


@pytest.mark.parametrize("name", ["", "two\nlines", "\udcff"])
def test_names_that_identities_txt_cannot_hold(tmp_path: Path, name: str) -> None:
    write(tmp_path / "out", plain((name, b"1"), ("李雷\u2028", b"2")))
    assert list(rejected(tmp_path / "out").values()) == [f"an identity's name is one line of UTF-8: {name!r}"]
    assert (tmp_path / "out" / "identities.txt").read_text(encoding="utf-8") == "李雷\u2028\n"
