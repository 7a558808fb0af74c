"""LFW's View 2, "unrestricted, no outside data": ten trainings, each tested on people whom it has not seen.

    python -m experiments.lfw_view2 LFW runs/lfw_view2

LFW holds `images/NAME/NAME_0001.jpg`, `protocol/people.txt` and `protocol/pairs.txt`. Of the nine folds that are not
tested, eight give the people to train on, and the pairs of the ninth the threshold: pairs of people whom the network
was trained on would give one that is far too high. No training looks at pairs: the last weights are tested.

Started again, the command goes on where it was stopped. It leaves `table.md`, and `roc.png` of all pairs together, each
by how far its score is above its fold's threshold.

Source: Huang et al., "Labeled Faces in the Wild", technical report 07-49, 2007, section V, and the README of the lists.
Shapes: P pairs.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data_prep.__main__ import main as data_prep
from data_prep.sources.people import read_people_folds
from experiments.view2_outcome import Outcome, result_of
from lightning_face.data.manifest import PAIRS_FILE
from lightning_face.data.shards import Shards
from lightning_face.errors import ConfigError, DataError, FaceError
from lightning_face.evaluation.drawing import save
from lightning_face.evaluation.figures import roc_figure
from lightning_face.evaluation.pairs import PairList, read_pairs
from lightning_face.evaluation.verification import VerificationResult, cosines
from lightning_face.files import write_atomically
from lightning_face.signals import end_with_parent

CONFIG = Path(__file__).parents[1] / "configs" / "lfw_best.yaml"
Call = Callable[[Sequence[str]], int]
"""Runs `python -m lightning_face` with some arguments and returns the exit code."""


@dataclass(frozen=True)
class Fold:
    """One training, and how it decides.

    Args:
        tested: fold whose pairs are decided, from 0.
        calibrated: fold whose pairs give the threshold; nobody of either is trained on.
        folder: of its dataset and its run.
    """

    tested: int
    calibrated: int
    folder: Path

    def finish(self, lfw: Path, pairs: Path, config: Path, call: Call) -> None:
        """Make the dataset, train, and embed all images of pairs, or what is missing of it."""
        if self.embeddings.is_file():
            return
        train, run, people = self.folder / "train", self.folder / "run", lfw / "protocol" / "people.txt"
        self.folder.mkdir(parents=True, exist_ok=True)
        folds, left_out = read_people_folds(people), self.folder / "left_out.txt"
        names = sorted(person.name for number in (self.tested, self.calibrated) for person in folds[number])
        write_atomically(left_out, "".join(f"{name}\n" for name in names).encode())
        _done(data_prep, "folder", lfw / "images", train, "--people", people, "--exclude", left_out, "--workers", 0)
        self._check_apart(Shards(train), Shards(pairs))
        sets = ("--data.train", train, "--data.verification", "{}")
        _done(call, "fit", "--config", config, "--run_dir", run, *sets, "--checkpoint.keep", 1)
        _done(call, "predict", "--run_dir", run, "--data.predict", pairs)

    @property
    def embeddings(self) -> Path:
        """The last file that is written."""
        return self.folder / "run" / "embeddings.npz"

    def _check_apart(self, train: Shards, tested: Shards) -> None:
        """Ask the datasets themselves whether somebody in the pairs of the two folds is trained on.

        Raises:
            DataError: somebody is.
        """
        pairs, names = _pairs_of(tested), tested.identities()
        chosen_P = np.isin(pairs.fold_P, (self.tested, self.calibrated))
        labels = tested.labels(np.concatenate([pairs.left_P[chosen_P], pairs.right_P[chosen_P]]))
        if both := {names[label] for label in labels}.intersection(train.identities()):
            raise DataError(
                f"{min(both)} is in pairs of fold {self.tested + 1} or {self.calibrated + 1}, people.txt says another;"
                " use lists of one release"
            )

    def decide(self, pairs: PairList) -> tuple[float, VerificationResult]:
        """The threshold, and what the scores of the tested pairs are."""
        with np.load(self.embeddings) as file:
            scores_P = cosines(torch.from_numpy(file["embeddings"]), pairs)
        of_fold = [pairs.fold_P == number for number in (self.calibrated, self.tested)]
        calibrated, tested = (result_of(scores_P[chosen_P], pairs.same_P[chosen_P]) for chosen_P in of_fold)
        return calibrated.threshold, tested


def run(lfw: Path, out: Path, config: Path, call: Call) -> Outcome:
    """Train and test all folds, or what is missing of them, and write the table and the plot.

    Args:
        lfw: folder with images and protocol.
        out: folder to write.
        config: of the trainings.
        call: see `Call`.

    Raises:
        FaceError: something the user can mend.
    """
    _check_layout(lfw)
    out.mkdir(parents=True, exist_ok=True)
    _keep(config, out / "config.yaml")
    folder, lists = out / "pairs", lfw / "protocol"
    _done(data_prep, "pairs", lfw / "images", lists / "pairs.txt", folder, "--workers", 0)
    pairs = _pairs_of(Shards(folder))
    numbers, decided = np.unique(pairs.fold_P).tolist(), []
    if numbers != list(range(len(read_people_folds(lists / "people.txt")))) or len(numbers) < 3:
        raise DataError(f"{lists}: people.txt and pairs.txt must have the same folds, three at least")
    for tested, calibrated in zip(numbers, [*numbers[1:], numbers[0]], strict=True):
        fold = Fold(tested, calibrated, out / f"fold-{tested + 1:02}")
        fold.finish(lfw, folder, config, call)
        decided.append(fold.decide(pairs))
        print(f"fold {tested + 1} of {len(numbers)}: accuracy {Outcome.of(decided).folds.accuracies_F[-1]:.4f}")
    outcome = Outcome.of(decided)
    write_atomically(out / "table.md", outcome.table().encode())
    save(roc_figure({f"{len(numbers)} folds": outcome.together()}), out / "roc.png")
    print(f"mean accuracy {outcome.mean()}; see {out / 'table.md'} and {out / 'roc.png'}")
    return outcome


def _check_layout(lfw: Path) -> None:
    """Look for what the folder must hold.

    Raises:
        DataError: something is missing.
    """
    needed = ("images", "protocol/people.txt", "protocol/pairs.txt")
    if missing := [name for name in needed if not (lfw / name).exists()]:
        raise DataError(f"{lfw} has no {missing[0]}: LFW must be a folder with {', '.join(needed)}")


def _pairs_of(shards: Shards) -> PairList:
    return read_pairs(shards.folder / PAIRS_FILE, len(shards.index))


def _keep(config: Path, kept: Path) -> None:
    """All folds are trained with the config that the first one began with.

    Raises:
        ConfigError: it was another one.
    """
    if kept.is_file() and kept.read_bytes() != config.read_bytes():
        raise ConfigError(f"{config} differs from {kept}, which the first fold began with; give another OUT")
    write_atomically(kept, config.read_bytes())


def _done(call: Call, *arguments: object) -> None:
    if code := call([str(argument) for argument in arguments]):
        sys.exit(code)


def _in_a_process_of_its_own(arguments: Sequence[str]) -> int:
    # Lightning starts further ranks by the command line of the process. It ends when this one does.
    return subprocess.run([sys.executable, "-m", "lightning_face", *arguments], preexec_fn=end_with_parent).returncode


def main(arguments: Sequence[str] | None = None, call: Call = _in_a_process_of_its_own) -> None:
    """Run the command."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m experiments.lfw_view2", description=__doc__, formatter_class=as_written)
    parser.add_argument("lfw", type=Path, metavar="LFW", help="folder with images and protocol")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument("--config", type=Path, default=CONFIG, help="of the trainings (default: configs/lfw_best.yaml)")
    options = parser.parse_args(arguments)
    try:
        run(options.lfw, options.out, options.config, call)
    except FaceError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
