"""The value of the loss over all ranks, and what is logged beside it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_face.distributed.collectives import all_gather_rows
from lightning_face.objectives.long_tail import Figures, means_by_bucket, sums_by_bucket

Parts = dict[str, tuple[float, Tensor]]
"""Of each term its weight, and this rank's part of its unweighted value."""


@dataclass(frozen=True)
class LossValue:
    """Loss of one micro-batch.

    Args:
        total: scalar: its value is the global batch's, its gradient that of this rank's part.
        terms: each term's unweighted global value, detached; a term that is not due in this step is left out.
        facts: other figures worth logging, by name, the same on every rank; means over samples or classes for each
            bucket of `BUCKETS` that has any.
    """

    total: Tensor
    terms: dict[str, Tensor]
    facts: dict[str, Tensor]


@dataclass(frozen=True)
class Facts:
    """Figures worth logging beside the terms, scalars by name.

    Args:
        everywhere: the same on every rank.
        added: of this rank, to be added up over ranks.
        least: of this rank; the smallest counts.
    """

    everywhere: dict[str, Tensor] = field(default_factory=dict)
    added: dict[str, Tensor] = field(default_factory=dict)
    least: dict[str, Tensor] = field(default_factory=dict)


def loss_over_ranks(parts: Parts, facts: Facts, figures: Figures, buckets_C: Tensor) -> LossValue:
    """Give the weighted sum of this rank's parts the value of the global loss, keeping its own gradient.

    Whatever ranks have to tell each other goes in one exchange.

    Args:
        parts: at least one.
        facts: beside them.
        figures: of this rank's samples and classes.
        buckets_C: of all classes.
    """
    own_sums = sums_by_bucket(figures, buckets_C)
    added = torch.stack([part.detach() for _, part in parts.values()] + list(facts.added.values()))
    added_K, least = _over_ranks(torch.cat([added, own_sums.flatten()]), list(facts.least.values()))
    values, facts_added, sums = added_K.split([len(parts), len(facts.added), own_sums.numel()])
    weights = values.new_tensor([weight for weight, _ in parts.values()])
    own = torch.stack([weight * part for weight, part in parts.values()]).sum()
    total = own + ((weights * values).sum() - own).detach()
    terms = dict(zip(parts, values.unbind(), strict=True))
    means = means_by_bucket(list(figures), sums.view_as(own_sums).cpu())
    found = dict(zip([*facts.added, *facts.least], [*facts_added.unbind(), *least], strict=True))
    besides = facts.everywhere | found | {name: mean for name, mean in means.items() if name not in terms}
    return LossValue(total, terms, besides)


def _over_ranks(added_K: Tensor, least: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Sums over ranks of some numbers, and the smallest of others."""
    own = torch.cat([added_K, torch.stack(least)]) if least else added_K
    numbers_WN = all_gather_rows(own.unsqueeze(0))
    return numbers_WN[:, : len(added_K)].sum(0), list(numbers_WN[:, len(added_K) :].amin(0).unbind()) if least else []
