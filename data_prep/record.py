"""How a dataset was asked for (`data_prep.json`), so that a run is continued with the same options or refused."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_prep.plan import Option
from lightning_face.data.manifest import MANIFEST_FILE
from lightning_face.errors import ConfigError, DataError
from lightning_face.files import write_atomically

RECORD_FILE = "data_prep.json"
WORK_FOLDER = ".unfinished"
VERSION = 1


@dataclass(frozen=True)
class Record:
    """Options by the name of their flag, and the digest of the plan that they and the source gave."""

    options: Mapping[str, Option]
    plan_sha256: str

    def write(self, out: Path) -> None:
        """Write `out/data_prep.json`."""
        fields = {"version": VERSION, "options": dict(self.options), "plan_sha256": self.plan_sha256}
        write_atomically(out / RECORD_FILE, (json.dumps(fields, indent=1, sort_keys=True) + "\n").encode())

    def must_equal(self, out: Path) -> None:
        """Compare with the record in `out`.

        Raises:
            ConfigError: `out` was begun with other options, or from a source that was otherwise then.
        """
        try:
            fields = json.loads((out / RECORD_FILE).read_text())
            version, options, plan_sha256 = fields["version"], dict(fields["options"]), fields["plan_sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{out / RECORD_FILE} cannot be read ({error}); remove {out} and start again") from error
        if version != VERSION:
            raise ConfigError(f"{out} was begun by another version of data_prep; remove {out} and start again")
        differences = [
            f"{_flag(name)} was {options.get(name)}, now {self.options.get(name)}"
            for name in sorted({*options, *self.options})
            if options.get(name) != self.options.get(name)
        ]
        if differences:
            raise ConfigError(f"{out} was begun otherwise: {'; '.join(differences)}; give the same, or remove {out}")
        if plan_sha256 != self.plan_sha256:
            raise ConfigError(f"{out} was begun when its source held other files; remove {out} and start again")


def _flag(name: str) -> str:
    return name if name in ("command", "source") else "--" + name.replace("_", "-")


def open_folder(out: Path, record: Record) -> Path:
    """Make or re-enter the folder of a dataset.

    Returns:
        The folder of unfinished work in it.

    Raises:
        ConfigError: it was begun otherwise, or holds something else.
        DataError: it cannot be written.
    """
    try:
        if (out / RECORD_FILE).exists():
            record.must_equal(out)
        elif out.is_dir() and any(entry.name not in (WORK_FOLDER, f".{RECORD_FILE}.tmp") for entry in out.iterdir()):
            raise ConfigError(f"{out} is not empty and was not made by this command; choose another folder or empty it")
        work = out / WORK_FOLDER
        if not (out / MANIFEST_FILE).exists():
            work.mkdir(parents=True, exist_ok=True)
        if not (out / RECORD_FILE).exists():
            record.write(out)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}; choose a folder that can be written") from error
    return work


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold a folder of unfinished work for this process; a killed one lets go of it.

    Raises:
        ConfigError: another process holds it.
    """
    with (work / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another run is writing {work.parent}; wait for it or stop it") from error
        except OSError:
            pass  # a network file system without locks: two runs at once are the user's to avoid
        yield


def clear_work(out: Path) -> None:
    """Remove the folder of unfinished work, if there is one."""
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
