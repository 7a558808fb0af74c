"""Margin and weight of MML, and the rule that derives both for embeddings of another scale.

    python -m experiments.sweeps data/generated runs/sweeps

All arms begin with a finished center model. For each of two embedding sizes: the constants of the rule
(`experiments.margin_rule`), those that it gave for the *other* size, and the paper's, each against the control of its
size. For the first size the margin then takes factors of the rule's at the rule's weight, and the weight at the rule's
margin. OUT/table.md has all figures; OUT/sweeps.png shows total loss, by which the paper chose, and held-out TAR and
AUC, as paired differences from the control.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path

from experiments.arms import Arm
from experiments.center_model import CenterModel
from experiments.comparison import Comparison
from experiments.face_arms import FaceArms, compare, mml
from experiments.margin_rule import PAPER, share_of
from experiments.plots import sweep_figure
from experiments.schemes import SCHEMES
from lightning_face.evaluation.drawing import save

DIMS = (128, 512)
"""Embedding sizes that the rule is tested on; the first is that of the sweeps."""

MARGINS = (0.25, 0.5, 2.0, 4.0)
WEIGHTS = (0.01, 0.1, 3.0, 10.0)
"""Factors of the rule's margin, and of its weight; the rule itself is arm `rule_128`, factor 1 of both."""

COLUMNS = ("/accuracy", "/auc", "/tar@far=1e-1", "/tar@far=1e-2", "last loss", "gradient share")
DRAWN = {"last loss": "total loss", "/tar@far=1e-1": "TAR at FAR 0.1", "/auc": "AUC"}
"""Endings of figures, with their labels."""


def _swept(kind: str, factors: Sequence[float]) -> dict[float, str]:
    """The arm of each factor of an option, rising."""
    return dict(sorted({1.0: f"rule_{DIMS[0]}", **{factor: f"{kind}_x{factor:g}" for factor in factors}}.items()))


BY_MARGIN, BY_WEIGHT = _swept("margin", MARGINS), _swept("weight", WEIGHTS)


def references() -> dict[str, str | None]:
    """All arms, and what each is compared with."""
    named: dict[str, str | None] = {f"center_{dim}": None for dim in DIMS}
    named |= {f"control_{dim}": f"center_{dim}" for dim in DIMS}
    named |= {f"{kind}_{dim}": f"control_{dim}" for dim in DIMS for kind in ("rule", "borrowed", "paper")}
    return named | {arm: f"control_{DIMS[0]}" for arm in (*BY_MARGIN.values(), *BY_WEIGHT.values())}


def arms_of(faces: FaceArms, seed: int) -> Iterator[Arm]:
    """All arms of a seed; those of each size come once its center model is finished."""
    sized = {dim: {**SCHEMES["center"], "model.backbone.embedding_dim": dim} for dim in DIMS}
    centers = {dim: faces.anew(f"center_{dim}", seed, options) for dim, options in sized.items()}
    yield from centers.values()
    constants = {dim: faces.rule(center) for dim, center in centers.items()}
    margin, weight = constants[DIMS[0]]
    for dim, other in zip(DIMS, reversed(DIMS), strict=True):
        begun = partial(_with_mml, faces, centers[dim], cache(partial(faces.measured, centers[dim])))
        yield faces.after(centers[dim], f"control_{dim}", seed, {})
        yield begun(f"rule_{dim}", seed, *constants[dim])
        yield begun(f"borrowed_{dim}", seed, *constants[other])
        yield begun(f"paper_{dim}", seed, PAPER.margin, PAPER.weight)
        if dim == DIMS[0]:
            yield from (begun(BY_MARGIN[factor], seed, factor * margin, weight) for factor in MARGINS)
            yield from (begun(BY_WEIGHT[factor], seed, margin, factor * weight) for factor in WEIGHTS)


def _with_mml(
    faces: FaceArms, center: Arm, model: Callable[[], CenterModel], name: str, seed: int, margin: float, weight: float
) -> Arm:
    share = {"share": lambda _: {"gradient share": share_of(model(), margin, weight)}}
    return faces.after(center, name, seed, mml(margin, weight), share)


def report(out: Path) -> None:
    """Write `table.md` and `sweeps.png`."""
    comparison = Comparison.read(out, references())
    (out / "table.md").write_text(f"# Margin and weight of MML\n\n{comparison.table(comparison.held_out(*COLUMNS))}")
    panels = {"margin, of the rule's": BY_MARGIN, "weight, of the rule's": BY_WEIGHT}
    drawn = {(comparison.held_out(ending) or [ending])[0]: label for ending, label in DRAWN.items()}
    save(sweep_figure(comparison, panels, drawn), out / "sweeps.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Finish all arms and write the report."""
    compare(__doc__, "generated.yaml", "folder with train, and sets with pairs", arms_of, report, arguments)


if __name__ == "__main__":
    main()
