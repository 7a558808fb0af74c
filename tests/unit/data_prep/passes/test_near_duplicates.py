"""Images of a person that look almost the same are listed, and kept."""

import csv
import io
import tempfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.passes import near_duplicates, rows
from data_prep.passes.rows import Rows
from data_prep.passes.selection import LEFT_OUT_DTYPE, SAMPLE_DTYPE, Selection


def test_copies_compressed_again_or_scaled(faces: Path, tmp_path: Path, run: Callable) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((112, 112), Image.Resampling.BICUBIC)
    image.save(faces / "Bo" / "Bo_0002.jpg")
    image.resize((90, 90)).save(faces / "Bo" / "copy.jpg", quality=60)
    image.save(faces / "Cy" / "copy.jpg", quality=60)  # of another identity: not compared
    command = ("folder", faces, tmp_path / "out", "--workers", 0, "--near-duplicates", 4)
    printed = run(*command).out
    assert "look almost the same, all kept: 1, in" in printed and "12 images of 3 identities" in printed
    rows = list(csv.reader(io.StringIO((tmp_path / "out" / "near_duplicates.csv").read_text())))
    assert rows[0] == ["identity", "first", "second", "bits"]
    assert [row[:3] for row in rows[1:]] == [["Bo", "Bo/Bo_0002.jpg", "Bo/copy.jpg"]] and int(rows[1][3]) <= 4
    assert run("check", tmp_path / "out", "--workers", 0).code == 0


@settings(deadline=None)
@given(
    faces=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 255)), min_size=1),
    bits=st.integers(0, 3),
    at_once=st.integers(1, 4),
)
def test_pairs_equal_loops(faces: list[tuple[int, int]], bits: int, at_once: int) -> None:
    samples = np.zeros(len(faces), SAMPLE_DTYPE)
    samples["label"], samples["number"] = [label for label, _ in faces], 2 * np.arange(len(faces))
    samples["perceptual"] = [own for _, own in faces]
    expected = [
        (label, 2 * first, 2 * second, (faces[first][1] ^ faces[second][1]).bit_count())
        for label in range(3)
        for first, second in combinations([n for n, face in enumerate(faces) if face[0] == label], 2)
        if (faces[first][1] ^ faces[second][1]).bit_count() <= bits
    ]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_SQUARE_ROWS", at_once)
        patch.setattr(rows, "ROWS_AT_ONCE", at_once)
        path = Path(folder) / "samples"
        samples.tofile(path)
        selection = Selection(["a", "b", "c"], Rows(path, SAMPLE_DTYPE), Rows(path, LEFT_OUT_DTYPE), [])
        assert list(near_duplicates._pairs(selection, bits)) == expected
