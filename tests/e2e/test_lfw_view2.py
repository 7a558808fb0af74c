"""View 2 of LFW on three tiny folds: killed in a training, gone on with, and decided as loops decide."""

import itertools
import os
import re
import signal

import numpy as np
import pytest
from PIL import Image
from pytorch_lightning import Callback

from experiments.lfw_view2 import main
from lightning_face.__main__ import main as lightning_face
from tests.conftest import TINY_COUNTS
from tests.ranks import RankError, run_ranks, torchrun

FOLDS = 3
CONFIG = """
trainer: {accelerator: cpu, devices: 1, max_steps: 8, log_every_n_steps: 1, enable_progress_bar: false}
data: {train: nowhere, image_size: 32, global_batch_size: 8, num_workers: 0, lanes: 8}
model:
  backbone: {name: test_convnext, embedding_dim: 16, neck: linear}
  average_decay: 0.5
  schedule: {warmup_steps: 0}
wandb: {mode: disabled}
checkpoint: {every_n_steps: 3}
"""


@pytest.fixture(scope="module")
def lfw(tiny_images, tmp_path_factory):
    """LFW's layout: in each fold five people, and four pairs of one of them and of two."""
    root = tmp_path_factory.mktemp("lfw")
    (root / "protocol").mkdir()
    people, pairs = [str(FOLDS)], [f"{FOLDS}\t4"]
    for fold in range(FOLDS):
        numbers = range(fold, 15, FOLDS)
        people.append("5")
        for number in numbers:
            name, count = f"person_{number:02d}", min(TINY_COUNTS[number], 4)
            people.append(f"{name}\t{count}")
            (root / "images" / name).mkdir(parents=True)
            for image in range(count):
                picture = Image.open(tiny_images / name / f"{image:03d}.png")
                picture.save(root / "images" / name / f"{name}_{image + 1:04d}.jpg")
        pairs += [f"person_{number:02d}\t1\t{2 + number % 3}" for number in numbers[:4]]
        pairs += [f"person_{a:02d}\t1\tperson_{b:02d}\t2" for a, b in itertools.pairwise(numbers)]
    (root / "protocol" / "people.txt").write_text("\n".join(people) + "\n")
    (root / "protocol" / "pairs.txt").write_text("\n".join(pairs) + "\n")
    return root


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


class KillAtStep(Callback):
    """Ends the process as the kernel does where memory runs out."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 7:  # the second checkpoint has begun, so the first is whole
            os.kill(os.getpid(), signal.SIGKILL)


def killed_in_training(*arguments):
    def call(command):
        return lightning_face([*command, "--trainer.callbacks+", f"{__name__}.KillAtStep"])

    with torchrun():
        main(arguments, call)


def not_called(command):
    raise AssertionError(f"{command} was done already")


@pytest.mark.filterwarnings("ignore:The number of training batches")  # two, of so few pictures
def test_killed_and_gone_on_with(lfw, config, tmp_path, capsys, caplog):
    out = tmp_path / "out"
    arguments = (str(lfw), str(out), "--config", str(config))
    with pytest.raises(RankError, match="exit code -9"):
        run_ranks(killed_in_training, 1, *arguments, fresh=True)
    main(arguments, lightning_face)
    assert re.search(r"going on from \S+fold-01/run/checkpoints/step-0000000[36]", caplog.text)
    assert (out / "roc.png").read_bytes().startswith(b"\x89PNG")
    accuracies = [accuracy_by_loops(lfw, out, fold) for fold in range(FOLDS)]
    mean, error = np.mean(accuracies), np.std(accuracies, ddof=1) / np.sqrt(FOLDS)
    table = (out / "table.md").read_text()
    assert f"| this | none | **{mean:.4f} ± {error:.4f}** |" in table
    assert [row.split(" | ")[2] for row in table.splitlines()[-FOLDS:]] == [f"{value:.4f}" for value in accuracies]

    main(arguments, not_called)
    assert (out / "table.md").read_text() == table
    config.write_text(CONFIG.replace("0.5", "0.6"))
    with pytest.raises(SystemExit):
        main(arguments, not_called)
    assert "which the first fold began with; give another OUT" in capsys.readouterr().err


def accuracy_by_loops(lfw, out, fold):
    """Share of the fold's pairs that its network decides rightly at the best threshold of the next fold's pairs."""
    next_fold, run = (fold + 1) % FOLDS, out / f"fold-{fold + 1:02}"
    others = [f"person_{number:02d}" for number in range(15) if number % FOLDS not in (fold, next_fold)]
    assert (run / "train" / "identities.txt").read_text().split() == others
    with np.load(run / "run" / "embeddings.npz") as file:
        embeddings, names = file["embeddings"].astype(float), file["identities"][file["labels"]]
    # Images of pairs alone, a person after the other, in the order of their numbers.
    images = sorted({image for pair in listed(lfw) for image in pair[:2]})
    assert [name for name, _ in images] == list(names)
    row = {image: embeddings[number] for number, image in enumerate(images)}

    def scores_of(number):
        return [(float(row[a] @ row[b]), a[0] == b[0]) for a, b, where in listed(lfw) if where == number]

    def right(pairs, threshold):
        return np.mean([(score >= threshold) == same for score, same in pairs])

    calibrated = sorted(scores_of(next_fold), reverse=True)
    cuts = [calibrated[0][0] + 1e-9, *((a + b) / 2 for (a, _), (b, _) in itertools.pairwise(calibrated)), -1.0]
    return right(scores_of(fold), max(cuts, key=lambda cut: right(calibrated, cut)))


def listed(lfw):
    """Pairs of images, each a name and a number, and their fold."""
    lines = (lfw / "protocol" / "pairs.txt").read_text().splitlines()[1:]
    for place, line in enumerate(lines):
        fields = line.split("\t")
        left, right = fields[:2], fields[2:] if len(fields) == 4 else [fields[0], fields[2]]
        yield (left[0], int(left[1])), (right[0], int(right[1])), place // 8


def test_who_is_tested_is_not_trained_on(lfw, config, tmp_path, capsys):
    """A list of people that puts somebody of a tested pair into a fold that is trained on."""
    other = tmp_path / "lfw"
    (other / "protocol").mkdir(parents=True)
    (other / "images").symlink_to(lfw / "images")
    people = (lfw / "protocol" / "people.txt").read_text()
    moved = people.replace("person_00", "x").replace("person_02", "person_00").replace("x", "person_02")
    (other / "protocol" / "people.txt").write_text(moved)
    (other / "protocol" / "pairs.txt").write_text((lfw / "protocol" / "pairs.txt").read_text())
    with pytest.raises(SystemExit):
        main([str(other), str(tmp_path / "out"), "--config", str(config)], not_called)
    assert "person_00 is in pairs of fold 1 or 2, people.txt says another" in capsys.readouterr().err


def test_another_folder_is_refused(tmp_path, capsys):
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol" / "people.txt").touch()
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "out")], not_called)
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path} has no images: LFW must be a folder with images, protocol/people.txt,")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
