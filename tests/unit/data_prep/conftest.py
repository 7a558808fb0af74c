"""Generated images, folders of them, and the command line as tests call it."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main

Encode = Callable[..., bytes]
MakeFaces = Callable[..., Path]


class Outcome(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


def encode_image(
    seed: int = 0, size: tuple[int, int] = (24, 24), mode: str = "RGB", format: str = "JPEG", **options: object
) -> bytes:
    """An image of smooth noise, (width, height) pixels, in a format of Pillow's."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BILINEAR).convert(mode)
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.fixture(autouse=True, scope="session")
def figure() -> Iterator[None]:
    """Reports without their figure, which takes longer than all else that a test does; `test_report` draws it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_prep.passes.report._png", lambda *arguments: b"")
        yield


@pytest.fixture
def encode() -> Encode:
    """Makes the bytes of an image file."""
    return encode_image


@pytest.fixture
def make_faces(tmp_path: Path) -> MakeFaces:
    """Makes a folder with images `NAME/NAME_0001.jpg` ... of each name."""

    def make(counts: dict[str, int], folder: str = "faces", **options: Any) -> Path:  # of Pillow
        for person, (name, count) in enumerate(counts.items()):
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(1, count + 1):
                data = encode_image(1000 * person + number, **options)
                (tmp_path / folder / name / f"{name}_{number:04d}.jpg").write_bytes(data)
        return tmp_path / folder

    return make


@pytest.fixture
def faces(make_faces: MakeFaces) -> Path:
    """Three identities with 5, 1 and 4 images, not in the order of their names."""
    return make_faces({"Bo": 5, "Cy": 1, "Al": 4})


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Calls a command in this process."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def fails(run: Callable[..., Outcome]) -> Callable[..., str]:
    """Calls a command that must fail with exit code 2 and one line; returns the line."""

    def call(*arguments: object) -> str:
        code, _, err = run(*arguments)
        assert code == 2
        assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1, err
        return err

    return call


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Reads every file of a folder."""
    return lambda folder: {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
