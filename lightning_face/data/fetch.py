"""Copies one file of a dataset to this node: by HTTP, from a folder, or by the user's own command."""

import http.client
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from lightning_face.errors import ConfigError, DataError
from lightning_face.files import sha256_of

_WEB = ("http", "https")
_PIECE_BYTES = 1 << 20
_LONGEST_PAUSE_S = 30.0
_LONGEST_COMMAND_S = 3600.0
_MAY_CHANGE = (408, 425, 429)
"""Answers below 500 that may be another one later."""


@dataclass(frozen=True)
class FetchConfig:
    """How files of datasets are copied to the node.

    Args:
        command: copies what lies neither in a folder nor on a web server, say `aws s3 cp {url} {file}`; run without a
            shell.
        timeout_s: how long a web server may send nothing, seconds.
        attempts: how often a file is asked for before the run ends.
        pause_s: before the second attempt, seconds; each further one waits twice as long, up to 30.
    """

    command: str | None = None
    timeout_s: float = 60.0
    attempts: int = 5
    pause_s: float = 1.0

    def __post_init__(self) -> None:
        if not (self.timeout_s > 0 and self.pause_s >= 0 and self.attempts >= 1):
            raise ConfigError(
                "data.cache.fetch: timeout_s must be above 0, pause_s not negative and attempts at least 1, got"
                f" {self.timeout_s}, {self.pause_s} and {self.attempts}"
            )
        if self.command is not None and not ("{url}" in self.command and "{file}" in self.command):
            raise ConfigError(
                f"data.cache.fetch.command must name {{url}} and {{file}}, got {self.command!r}; for example"
                " `aws s3 cp {url} {file}`"
            )


class _Failed(Exception):
    """An attempt that another may mend."""


class Fetcher:
    """Copies files; each is as expected when it is there, or an error.

    Args:
        config: how.
    """

    def __init__(self, config: FetchConfig) -> None:
        self._config = config

    def check(self, source: str) -> None:
        """Raise ConfigError unless there is a way to copy from a folder or URL; asks nobody."""
        scheme = scheme_of(source)
        if scheme and "@" in urlsplit(source).netloc:
            raise ConfigError(
                f"{shown(source)}: the URL has a user or password, which would stand in every config and log; let"
                " data.cache.fetch.command find them in its own files"
            )
        if scheme not in ("", *_WEB) and self._config.command is None:
            raise ConfigError(
                f"{shown(source)}: nothing is known of {scheme} URLs; say what copies them by data.cache.fetch.command,"
                " for example `aws s3 cp {url} {file}`"
            )

    def fetch(self, source: str, file: Path, num_bytes: int | None = None, sha256: str | None = None) -> None:
        """Write `file`, which may exist, and make sure of its length and digest where they are known.

        Raises:
            DataError: the source has no such file, or no attempt gave it as expected.
            OSError: it cannot be written here.
        """
        for attempt in range(self._config.attempts):
            time.sleep(min(self._config.pause_s * 2 ** (attempt - 1), _LONGEST_PAUSE_S) if attempt else 0.0)
            try:
                self._once(source, file)
                return _check(file, num_bytes, sha256)
            except _Failed as error:
                last = error
        raise DataError(f"cannot copy {shown(source)} after {self._config.attempts} attempts: {last}")

    def _once(self, source: str, file: Path) -> None:
        scheme = scheme_of(source)
        if scheme == "":
            _copy(Path(source), file)
        elif scheme in _WEB:
            _download(source, file, self._config.timeout_s)
        else:
            assert self._config.command is not None, "`check` comes first"
            _run([part.format(url=source, file=file) for part in shlex.split(self._config.command)])


def scheme_of(source: str) -> str:
    """Scheme of a URL; empty for a path.

    Raises:
        ConfigError: it would run a program.
    """
    if source.startswith("pipe:"):
        raise ConfigError("pipe: URLs would run what a path says; set data.cache.fetch.command instead")
    scheme, separator, _ = source.partition("://")
    return scheme.lower() if separator else ""


def shown(source: str) -> str:
    """A source without what may be secret: user, password and query."""
    if not scheme_of(source):
        return source
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def file_of(source: str, name: str) -> str:
    """Path or URL of a dataset's file; what follows a `?`, as of a signed URL, stays behind it."""
    base, mark, query = source.partition("?") if scheme_of(source) else (source, "", "")
    return f"{base.rstrip('/')}/{name}{mark}{query}"


def _check(file: Path, num_bytes: int | None, sha256: str | None) -> None:
    length = file.stat().st_size
    if num_bytes is not None and length != num_bytes:
        raise _Failed(f"{length:,} bytes came, the manifest says {num_bytes:,}")
    if sha256 is not None and sha256_of(file) != sha256:
        raise _Failed("its sha256 is not the manifest's")


def _copy(source: Path, file: Path) -> None:
    if not source.is_file():
        raise DataError(f"{source} is missing; restore it, or prepare the data again")
    try:
        reader = source.open("rb")
    except OSError as error:
        raise _Failed(error.strerror or str(error)) from error
    _pour(reader, file)


def _download(url: str, file: Path, timeout_s: float) -> None:
    try:
        answer = urllib.request.urlopen(url, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code < 500 and error.code not in _MAY_CHANGE:
            raise DataError(f"cannot copy {shown(url)}: the server answers {error.code} {error.reason}") from error
        raise _Failed(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        raise _Failed(_reason(error)) from error
    _pour(answer, file)


def _pour(reader: BinaryIO, file: Path) -> None:
    """What is read becomes the file: an error of the one may pass, an OSError of the other is for the user to mend."""
    with reader, file.open("wb") as writer:
        while piece := _read(reader):
            writer.write(piece)


def _read(reader: BinaryIO) -> bytes:
    try:
        return reader.read(_PIECE_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(_reason(error)) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LONGEST_COMMAND_S, check=False
        )
    except OSError as error:
        raise ConfigError(f"data.cache.fetch.command: cannot run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise _Failed(f"{command[0]} took more than {_LONGEST_COMMAND_S:.0f} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise _Failed(f"{command[0]} ended with {done.returncode}: {said[-1] if said else 'no message'}")
