"""How a dataset was asked for (`data_prep.json`), so that a run is continued with the same options or refused."""

import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_prep.passes.recipe import Option, Recipe
from lightning_face.data.manifest import MANIFEST_FILE
from lightning_face.errors import ConfigError, DataError
from lightning_face.files import flush, sha256_of

RECORD_FILE = "data_prep.json"
WORK_FOLDER = ".unfinished"
VERSION = 2

_ARGUMENTS = ("command", "source", "list")
_MOST_SHOWN = 200  # letters of a value: a list of names can be long


@dataclass(frozen=True)
class Record:
    """The options of a source, by the name of their flag, and the recipe."""

    options: Mapping[str, Option]
    recipe: Recipe

    def to_json(self) -> str:
        """The text of `data_prep.json`."""
        fields = {"version": VERSION, "options": dict(self.options), "recipe": asdict(self.recipe)}
        return json.dumps(fields, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def read(out: Path) -> "Record":
        """Read `out/data_prep.json`.

        Raises:
            ConfigError: it cannot be read.
        """
        path = out / RECORD_FILE
        try:
            fields = json.loads(path.read_text())
            if fields["version"] != VERSION:
                raise ConfigError(f"{out} was begun by another version of data_prep; remove it and start again")
            recipe = fields["recipe"]
            return Record(dict(fields["options"]), Recipe(**{**recipe, "exclude": tuple(recipe["exclude"])}))
        except FileNotFoundError as error:
            raise ConfigError(f"{out} holds no {RECORD_FILE}: no dataset was begun there") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} cannot be read ({error}); remove {out} and start again") from error

    def must_equal(self, out: Path) -> None:
        """Compare with the record in `out`.

        Raises:
            ConfigError: `out` was begun with other options.
        """
        then, now = (_by_flag(record) for record in (Record.read(out), self))
        differences = [
            f"{flag} was {_shown(then.get(flag))}, now {_shown(now.get(flag))}"
            for flag in sorted({*then, *now})
            if then.get(flag) != now.get(flag)
        ]
        if differences:
            raise ConfigError(f"{out} was begun otherwise: {'; '.join(differences)}; give the same, or remove {out}")


def _by_flag(record: Record) -> dict[str, Any]:
    options = {**asdict(record.recipe), **record.options}
    return {name if name in _ARGUMENTS else "--" + name.replace("_", "-"): options[name] for name in options}


def _shown(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


def fingerprint(path: Path | None) -> str | None:
    """An option that is a small file, as it is recorded: where it lies and what it holds.

    Raises:
        DataError: it cannot be read.
    """
    if path is None:
        return None
    try:
        return f"{os.path.realpath(path)} (sha256 {sha256_of(path)[:12]})"
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def open_folder(out: Path, record: Record) -> Path:
    """Make or re-enter the folder of a dataset, which other parts may do at the same time.

    Returns:
        The folder of unfinished work in it.

    Raises:
        ConfigError: it was begun otherwise, or holds something else.
        DataError: it cannot be written.
    """
    work = out / WORK_FOLDER
    try:
        if not os.path.exists(out / RECORD_FILE):
            if os.path.isdir(out) and any(entry.name not in (WORK_FOLDER, RECORD_FILE) for entry in out.iterdir()):
                raise ConfigError(
                    f"{out} is not empty and was not made by this command; choose another folder or empty it"
                )
            work.mkdir(parents=True, exist_ok=True)
            _write_at_once(out / RECORD_FILE, record.to_json().encode(), work)
        record.must_equal(out)
        if not os.path.exists(out / MANIFEST_FILE):
            work.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}; choose a folder that can be written") from error
    return work


def _write_at_once(path: Path, data: bytes, work: Path) -> None:
    """Write a file that processes on other machines may be writing as well: whoever comes last, it is whole."""
    temporary = work / f"{path.name}.{socket.gethostname()}.{os.getpid()}.tmp"
    temporary.write_bytes(data)
    flush(temporary)
    temporary.replace(path)


def clear_work(out: Path) -> None:
    """Remove the folder of unfinished work, if there is one."""
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
