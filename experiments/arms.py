"""An arm of a comparison: a training with options of its own, tested and exported, in a folder of its own."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_face.__main__ import main as lightning_face
from lightning_face.callbacks.result import RESULT_FILE
from lightning_face.checkpoint.choice import best_intact
from lightning_face.checkpoint.directory import Description, describe
from lightning_face.checkpoint.exported import CENTERS, CLASSIFIER, MOVED_AT
from lightning_face.commands.export import export
from lightning_face.data.manifest import MANIFEST_FILE, PAIRS_FILE
from lightning_face.errors import CheckpointError, ConfigError, DataError
from lightning_face.files import write_atomically

TRAIN_FOLDER = "train"
ARM_FILE = "arm.json"
MEASURED_FOLDER = "measured"


@dataclass(frozen=True)
class Arm:
    """A run that is finished once it is tested, exported and measured; what is missing of it is done, at any start.

    Args:
        folder: of the run: OUT/NAME/seed-N.
        config: that all arms of a comparison share.
        options: of `fit`, over those of the config, by dotted name; the seed and the data among them.
        measures: what else is measured of it, by name; see `kept`.
    """

    folder: Path
    config: Path
    options: Mapping[str, Any]
    measures: Mapping[str, Callable[["Arm"], dict[str, Any]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the arm, the same for all seeds."""
        return self.folder.parent.name

    @property
    def network(self) -> Path:
        """What it has learned, with its class tables; see `python -m lightning_face export`."""
        return self.folder / "network.safetensors"

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        measured = all(self._kept_in(name).is_file() for name in self.measures)
        return measured and (self.folder / RESULT_FILE).is_file() and self.network.is_file()

    @property
    def checkpoint(self) -> Description:
        """Of the checkpoint that was tested.

        Raises:
            CheckpointError: there is none.
        """
        path = best_intact(self.folder, every_byte=False)
        if path is None:
            raise CheckpointError(f"{self.folder} has no checkpoint: remove the folder to train this arm again")
        return describe(path)

    def finish(self) -> None:
        """Train, test, export and measure, or what is missing; a training goes on from its last checkpoint.

        Raises:
            ConfigError: the folder was begun with other options.
        """
        self._begin()
        if not (self.folder / RESULT_FILE).is_file():
            given = (text for name, value in self.options.items() for text in (f"--{name}", _as_argument(value)))
            _call("fit", "--config", str(self.config), "--run_dir", str(self.folder), *given)
            _call("test", "--run_dir", str(self.folder))
        if not self.network.is_file():
            tables = tuple(name for name in (CLASSIFIER, CENTERS, MOVED_AT) if name in self.checkpoint.tables)
            export(self.folder, self.network, tables)
        for name, measure in self.measures.items():
            self.kept(name, measure)

    def kept(self, name: str, measure: Callable[["Arm"], dict[str, Any]]) -> dict[str, Any]:
        """What was measured of the finished arm: `measured/NAME.json` in its folder, made the first time."""
        path = self._kept_in(name)
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, (json.dumps(measure(self)) + "\n").encode())
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept

    def _kept_in(self, name: str) -> Path:
        return self.folder / MEASURED_FOLDER / f"{name}.json"

    def _begin(self) -> None:
        """A finished arm is never trained again, so its options must be those that it was begun with."""
        now: dict[str, Any] = {"config": _uncommented(self.config), "options": dict(self.options)}
        path = self.folder / ARM_FILE
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, (json.dumps(now, indent=1) + "\n").encode())
        before = json.loads(path.read_text())
        if before == json.loads(json.dumps(now)):
            return
        was, is_now = before["options"], now["options"]
        names = [name for name in sorted({*was, *is_now}) if was.get(name) != is_now.get(name)]
        differences = [f"{name}: {was.get(name)} -> {is_now.get(name)}" for name in names] or [str(self.config)]
        raise ConfigError(
            f"{self.folder} was begun with other options: {'; '.join(differences)}; give another OUT, or remove the"
            " folder to begin this arm anew"
        )


def options_of_data(data: Path) -> dict[str, Any]:
    """The options that name the datasets in a folder: `train`, those with pairs to verify, others to identify.

    Raises:
        DataError: there is nothing to train or to test on.
    """
    folders = sorted(path.parent for path in data.glob(f"*/{MANIFEST_FILE}"))
    tested = [folder for folder in folders if folder.name != TRAIN_FOLDER]
    if len(tested) == len(folders) or not tested:
        raise DataError(f"{data} must hold the dataset `{TRAIN_FOLDER}` and one to test on; make them with data_prep")
    verification = {folder.name: str(folder) for folder in tested if (folder / PAIRS_FILE).is_file()}
    identification = {folder.name: str(folder) for folder in tested if folder.name not in verification}
    named = {"data.verification": verification, "data.identification": identification}
    return {"data.train": str(data / TRAIN_FOLDER)} | {name: sets for name, sets in named.items() if sets}


def _uncommented(config: Path) -> list[str]:
    """Lines of a config without those that are comments, which decide nothing."""
    return [line for line in config.read_text().splitlines() if not line.lstrip().startswith("#")]


def _as_argument(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _call(*arguments: str) -> None:
    code = lightning_face(list(arguments))
    if code:
        sys.exit(code)
