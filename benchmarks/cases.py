"""What is measured: the terms of the objective on class tables shared out over ranks, and what others do instead."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pytorch_metric_learning.losses import ArcFaceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_face.distributed.world import rank, world_size
from lightning_face.objectives.center import CenterConfig
from lightning_face.objectives.config import ObjectiveConfig
from lightning_face.objectives.minimum_margin import MinimumMarginConfig
from lightning_face.objectives.objective import Objective
from lightning_face.objectives.softmax import SoftmaxConfig
from lightning_face.tables.block import held_places
from lightning_face.tables.centers import Centers

CLASSIFIER, SAMPLED = "classifier", "sampled classifier"
CENTERS, CENTERS_MML = "centers", "centers + MML"
MML_VS_ALL, MML_VS_ALL_CLOSE = "centers + MML vs all", "MML vs all, all close"
DENSE, DENSE_CENTERS, ARCFACE = "dense softmax", "dense centers", "ArcFace of PML"
OWN: tuple[str, ...] = (CLASSIFIER, SAMPLED, CENTERS, CENTERS_MML, MML_VS_ALL, MML_VS_ALL_CLOSE)
PEERS: tuple[str, ...] = (DENSE, DENSE_CENTERS, ARCFACE)
QUICK = (CENTERS, CENTERS_MML)  # timed over several steps

# Shapes: G global batch, B samples of this rank, C classes, D embedding dimension.


@dataclass(frozen=True)
class Setting:
    """Sizes of one measurement.

    Args:
        num_classes: C.
        num_ranks: W.
        batch: G, a multiple of W.
        dim: D.
        device: cpu, or cuda, where each rank has a device of its own.
        threads: of each rank, whatever their number: a rank stands for a device.
        cores: threads of a peer, which is alone.
    """

    num_classes: int
    num_ranks: int
    batch: int
    dim: int
    device: str
    threads: int
    cores: int


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Args:
        step: forward, backward and update.
        held_bytes: what stays between steps, on this rank.
    """

    step: Callable[[], None]
    held_bytes: int


def make_case(name: str, setting: Setting) -> Case:
    """Own cases are made on every rank; peers on one, with the whole batch."""
    device = torch.device(f"cuda:{rank()}" if setting.device == "cuda" else "cpu")
    generator = torch.Generator().manual_seed(1)
    features_GD = torch.randn((setting.batch, setting.dim), generator=generator)
    labels_G = torch.randint(setting.num_classes, (setting.batch,), generator=generator)
    if name in PEERS:
        return _peer(name, features_GD.to(device).requires_grad_(), labels_G.to(device), setting)
    local = setting.batch // world_size()
    own = slice(rank() * local, (rank() + 1) * local)
    config = _config(name, setting.dim)
    objective = Objective(config, num_classes=setting.num_classes, dim=setting.dim, seed=1, device=device)
    if objective.centers is not None:
        _settle(objective.centers, features_GD.to(device), labels_G.to(device))
    return _objective_case(objective, features_GD[own].to(device).requires_grad_(), labels_G[own].to(device))


def _config(name: str, dim: int) -> ObjectiveConfig:
    """The terms of an own case.

    Squared distances of centers that lie as the features do are 2 D on average, with a deviation of (8 D)^1/2: 1.5 D
    is four deviations below at D = 512, as where training has separated the classes. About one class in a thousand
    then has a close partner in the batch. With all pairs close, `batch_vs_all` needs twice the products.
    """
    if name in (CLASSIFIER, SAMPLED):
        return ObjectiveConfig(SoftmaxConfig(placement="sharded", sample_rate=0.1 if name == SAMPLED else 1.0), None)
    every_pair, few_pairs = 100.0 * dim, 1.5 * dim
    margins = {
        CENTERS: None,
        CENTERS_MML: MinimumMarginConfig(margin=every_pair),
        MML_VS_ALL: MinimumMarginConfig(margin=few_pairs, scope="batch_vs_all"),
        MML_VS_ALL_CLOSE: MinimumMarginConfig(margin=every_pair, scope="batch_vs_all"),
    }
    return ObjectiveConfig(None, CenterConfig(placement="sharded", init_std=1.0), margins[name])


def _settle(centers: Centers, features_GD: Tensor, labels_G: Tensor) -> None:
    """As late in training: every center has moved before, and those of the batch are where its samples are."""
    centers.moved_at_H.zero_()
    held, places = held_places(centers.held, labels_G)
    centers.rows_HD[places] = features_GD[held]


def _objective_case(objective: Objective, features_BD: Tensor, labels_B: Tensor) -> Case:
    def step() -> None:
        # A new leaf, as a backbone gives one: the objective watches each one's gradient.
        objective(features_BD.detach().requires_grad_(), labels_B).total.backward()
        assert objective.what_is_not_finite([]) is None
        objective.step(0.1)

    return Case(step, sum(tensor.nbytes for tensor in objective.state().values()))


def _peer(name: str, features_GD: Tensor, labels_G: Tensor, setting: Setting) -> Case:
    if name == ARCFACE:
        head = ArcFaceLoss(setting.num_classes, setting.dim).to(features_GD.device)
        return _dense_case(lambda: head(features_GD, labels_G), head.W, features_GD)
    rows_CD = nn.Parameter(torch.zeros((setting.num_classes, setting.dim), device=features_GD.device))
    if name == DENSE:
        return _dense_case(lambda: F.cross_entropy(F.linear(features_GD, rows_CD), labels_G), rows_CD, features_GD)
    optimizer = torch.optim.SGD([rows_CD], lr=0.5)
    loss = lambda: (features_GD - rows_CD[labels_G]).square().sum(1).mean() / 2  # noqa: E731
    return _dense_case(loss, rows_CD, features_GD, optimizer.step)


def _dense_case(
    loss: Callable[[], Tensor], rows: Tensor, features_GD: Tensor, update: Callable[[], object] = lambda: None
) -> Case:
    def step() -> None:
        features_GD.grad = rows.grad = None
        loss().backward()
        update()

    return Case(step, rows.nbytes)
