"""Random access to the images of a dataset: one `pread` per image, from the memory-mapped index."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_face.data.cache import Copies
from lightning_face.data.fetch import shown
from lightning_face.data.manifest import IDENTITIES_FILE, INDEX_DTYPE, INDEX_FILE, Manifest, Shard, names_in
from lightning_face.errors import DataError

MAX_OPEN_SHARDS = 128
"""Descriptors of one process: above the default number of lanes, far below the usual limit of 1,024."""


class Shards:
    """The tars of a dataset, read by sample id.

    Opening checks what costs no reading of images: that every shard is there with its length, that the index belongs
    to the manifest, that labels are classes. (`python -m data_prep check` reads everything.)

    Args:
        folder: of the dataset.
        copies: of its shards in the node's cache; without, they lie in the folder.

    Raises:
        DataError: the folder is no dataset, or does not agree with its manifest.
    """

    def __init__(self, folder: Path, copies: Copies | None = None) -> None:
        self.folder = folder
        self.copies = copies
        self.manifest = Manifest.load(folder)
        self._files: dict[int, int] = {}
        if copies is None:
            self._check_shards()
        self._check_index()
        self._check_identities()
        self._check_labels()

    @property
    def source(self) -> str:
        """Where the dataset lies, for people to read."""
        return str(self.folder) if self.copies is None else shown(self.copies.source)

    @cached_property
    def index(self) -> np.memmap:
        """`INDEX_DTYPE` rows, one per sample, shared by all processes of the machine."""
        return np.memmap(self.folder / INDEX_FILE, dtype=INDEX_DTYPE, mode="r")

    def read(self, sample_ids: Sequence[int] | NDArray[np.int64]) -> list[bytes]:
        """The encoded images of some samples.

        Raises:
            DataError: a shard became shorter since it was opened.
        """
        # All rows at once: a field of one row, taken by itself, costs more than reading the image.
        rows = self.index[np.asarray(sample_ids)].tolist()
        return [self._read(shard, offset, size) for shard, offset, size, _ in rows]

    def labels(self, sample_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Classes of some samples."""
        return self.index["label"][sample_ids].astype(np.int64)

    def identities(self) -> list[str]:
        """Names of the classes; line number is label."""
        return names_in((self.folder / IDENTITIES_FILE).read_text(encoding="utf-8"))

    def _read(self, shard: int, offset: int, size: int) -> bytes:
        data = os.pread(self._file(shard), size, offset)
        if len(data) < size:
            name = self.manifest.shards[shard].name
            raise DataError(f"{self.folder / name} ends before byte {offset + size}: it was cut while in use")
        return data

    def _file(self, shard: int) -> int:
        """Descriptor of an open shard; the one opened first is closed where too many are open."""
        if shard not in self._files:
            if len(self._files) >= MAX_OPEN_SHARDS:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[shard] = self._open(self.manifest.shards[shard])
        return self._files[shard]

    def _open(self, shard: Shard) -> int:
        if self.copies is None:
            return os.open(self.folder / shard.name, os.O_RDONLY | os.O_CLOEXEC)
        file = self.copies.open(shard)
        self._close_dropped()
        return file

    def _close_dropped(self) -> None:
        """Close copies that have made room in the cache: their bytes are free only then."""
        for shard in [shard for shard, file in self._files.items() if os.fstat(file).st_nlink == 0]:
            os.close(self._files.pop(shard))

    def __getstate__(self) -> dict[str, object]:
        """Workers open files of their own and map the index again."""
        state = {**self.__dict__, "_files": {}}
        state.pop("index", None)
        return state

    def _check_shards(self) -> None:
        for shard in self.manifest.shards:
            path = self.folder / shard.name
            length = path.stat().st_size if path.is_file() else None
            if length is None:
                raise DataError(f"shard {path} is missing, {self.folder}/manifest.json names it; restore it")
            if length != shard.bytes:
                raise DataError(
                    f"shard {path} has {length} bytes, its manifest says {shard.bytes}: empty, cut short or of another"
                    f" dataset; restore it, or write the manifest again with `python -m data_prep index {self.folder}`"
                )

    def _check_index(self) -> None:
        path = self.folder / INDEX_FILE
        length = path.stat().st_size if path.is_file() else -1
        expected = self.manifest.num_samples * INDEX_DTYPE.itemsize
        if length != expected or sum(shard.samples for shard in self.manifest.shards) != self.manifest.num_samples:
            raise DataError(
                f"{path} does not belong to the manifest ({length} bytes for {self.manifest.num_samples} samples of"
                f" {INDEX_DTYPE.itemsize}); write both again with `python -m data_prep index {self.folder}`"
            )
        if self.manifest.num_samples == 0:
            raise DataError(f"{self.folder} has no samples; prepare it again")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.manifest.index_sha256:
            raise DataError(
                f"{path} does not belong to the manifest (its sha256 is another); restore it, or write both again with"
                f" `python -m data_prep index {self.folder}`"
            )

    def _check_identities(self) -> None:
        path = self.folder / IDENTITIES_FILE
        num_names = path.read_bytes().count(b"\n") if path.is_file() else 0
        if num_names != self.manifest.num_classes:
            raise DataError(
                f"{path} is missing or has other names: {num_names:,} for {self.manifest.num_classes:,} classes;"
                f" restore it, or write it again with `python -m data_prep index {self.folder}`"
            )

    def _check_labels(self) -> None:
        labels = self.index["label"]
        wrong = int(np.argmax((labels < 0) | (labels >= self.manifest.num_classes)))
        if not 0 <= labels[wrong] < self.manifest.num_classes:
            raise DataError(
                f"{self.folder / INDEX_FILE}: sample {wrong} has label {labels[wrong]}, labels must be in"
                f" [0, num_classes) = [0, {self.manifest.num_classes}); prepare the data again"
            )
