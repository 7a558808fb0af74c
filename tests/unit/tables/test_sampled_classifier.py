"""What a step of sampled softmax touches, on one rank; its values are tested in tests/distributed."""

import pytest
import torch
from torch import Tensor

from lightning_face.distributed.batch import GlobalBatch
from lightning_face.losses import Scoring, at_once, softmax_loss
from lightning_face.optim.row_config import RowOptimizerConfig, RowOptimizerKind
from lightning_face.tables.placement import Classifier, make_classifier
from lightning_face.tables.sampled_classifier import SampledClassifier
from lightning_face.tables.sharded_classifier import ShardedClassifier

NUM_CLASSES, DIM, NUM_SAMPLES = 41, 16, 8
LABELS = torch.tensor([0, 3, 3, 40, 39, 0, 4, 40])


def options(kind: RowOptimizerKind = "sgd") -> dict[str, object]:
    optimizer = RowOptimizerConfig(kind=kind, weight_decay=0.1)
    return {"optimizer": optimizer, "init_std": 1.0, "seed": 3, "device": torch.device("cpu")}


def train(table: Classifier, step: int, labels: Tensor = LABELS) -> Tensor:
    """One step of two micro-batches; returns the features' gradients."""
    features = torch.randn(NUM_SAMPLES, DIM, generator=torch.Generator().manual_seed(step)).requires_grad_()
    for part in (slice(0, 4), slice(4, 8)):
        softmax_loss(*table.scores(GlobalBatch(features[part], labels[part]), Scoring())[:2]).sum().backward()
    table.step(0.1)
    return features.grad


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_row_that_is_not_sampled_keeps_its_momentum_and_is_not_decayed(kind: RowOptimizerKind) -> None:
    table = SampledClassifier(NUM_CLASSES, DIM, sample_rate=0.9, **options(kind))
    train(table, 0)  # nearly every row has momentum now
    table._sample_rate = 1e-9
    before = {name: value.clone() for name, value in table.state().items()}
    train(table, 1)
    seen = set(LABELS.tolist())
    others = [c for c in range(NUM_CLASSES) if c not in seen]
    moving = [name for name, value in before.items() if value.ndim]
    assert len(moving) == (2 if kind == "sgd" else 3)
    for name in moving:
        assert (before[name][others] != 0).any(1).float().mean() > 0.8
        assert torch.equal(table.state()[name][others], before[name][others])
        assert (table.state()[name][sorted(seen)] != before[name][sorted(seen)]).any(1).all()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("classes_at_once", [1, 7, 100])
def test_a_sample_of_all_classes_gives_the_bits_of_no_sampling(
    kind: RowOptimizerKind, classes_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_once, "NUMBERS_ON_CPU", classes_at_once * DIM)
    whole = ShardedClassifier(NUM_CLASSES, DIM, **options(kind))
    sampled = SampledClassifier(NUM_CLASSES, DIM, sample_rate=1.0, **options(kind))
    for step in range(3):
        assert torch.equal(train(sampled, step), train(whole, step))
    for name, value in whole.state().items():
        assert torch.equal(sampled.state()[name], value), name


def test_only_classes_that_are_seen_are_computed() -> None:
    table = SampledClassifier(100_000, DIM, sample_rate=0.01, **options())
    rows = sum(len(chunk.rows) for _, chunk in table.chunks(LABELS))
    assert rows == pytest.approx(1000, abs=5 * 1000**0.5)


def test_each_step_has_a_sample_of_its_own_and_its_micro_batches_share_it() -> None:
    table = SampledClassifier(NUM_CLASSES, DIM, sample_rate=0.5, **options())
    sample = torch.cat([part for part, _ in table.chunks(LABELS)])
    assert torch.equal(torch.cat([part for part, _ in table.chunks(LABELS)]), sample)
    train(table, 0)
    assert not torch.equal(torch.cat([part for part, _ in table.chunks(LABELS)]), sample)


def test_what_is_seen_decides_the_kind_of_table() -> None:
    small = {"num_classes": 6, "dim": DIM, **options()}
    assert isinstance(make_classifier("auto", sample_rate=0.5, **small), SampledClassifier)
    assert isinstance(make_classifier("sharded", sample_rate=0.5, **small), SampledClassifier)
    assert type(make_classifier("sharded", sample_rate=1.0, **small)) is ShardedClassifier
    assert "classifier.num_steps" not in make_classifier("sharded", sample_rate=1.0, **small).state()
