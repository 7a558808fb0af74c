"""The five schemes of the MML paper, and the control that its gain must be measured against.

    python -m experiments.schemes data/lfw runs/schemes_lfw
    python -m experiments.schemes data/generated runs/schemes_generated --config configs/experiments/generated.yaml

Softmax, + center, + marginal, + range; and, begun with the finished center model, + MML by the rule of
`experiments.margin_rule`, + MML with the paper's constants, and the control: as many further steps with weight 0. MML's
effect is its difference from the control, not from the center model, which was trained for less long. OUT/table.md has
means over seeds and paired differences, OUT/differences.png draws them.

Source: Wei et al., "Minimum Margin Loss for Deep Face Recognition", arXiv 1805.06741.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.arms import Arm
from experiments.comparison import Comparison
from experiments.face_arms import FaceArms, compare, mml
from experiments.margin_rule import PAPER
from experiments.plots import differences_figure
from lightning_face.evaluation.drawing import save

# A hundredth of the published weight, and for range loss a tenth of those of public code, whose margin of 20,000
# presumes larger embeddings: with more, both do harm here; docs/experiments.md.
MARGINAL: Mapping[str, float] = {"weight": 0.01}
RANGE: Mapping[str, float] = {"intra_weight": 1e-5, "inter_weight": 1e-4, "margin": 200.0}

SCHEMES: Mapping[str, dict[str, Any]] = {
    "softmax": {"model.objective.center": None},
    "center": {},
    "marginal": {"model.objective.center": None, "model.objective.marginal": MARGINAL},
    "range": {"model.objective.center": None, "model.objective.range": RANGE},
}
"""What begins anew, by name: options over those of the config, which has softmax and center loss."""

REFERENCES: Mapping[str, str | None] = {
    "softmax": None,
    "center": "softmax",
    "marginal": "softmax",
    "range": "softmax",
    "control": "center",
    "mml": "control",
    "mml_paper": "control",
}
"""All arms, and what each is compared with."""

VERIFICATION = ("/accuracy", "/auc", "/tar@far=1e-1", "/tar@far=1e-2")
FREQUENCY = [
    (figure, [f"known {bucket}/{figure}" for bucket in ("all", "head", "middle", "tail")])
    for figure in ("identification", "auc", "tar", "far")
]


def arms_of(faces: FaceArms, seed: int) -> Iterator[Arm]:
    """All arms of a seed; those that begin with the center model come once it is finished."""
    begun = {name: faces.anew(name, seed, options) for name, options in SCHEMES.items()}
    yield from begun.values()
    center = begun["center"]
    yield faces.after(center, "control", seed, {})
    yield faces.after(center, "mml", seed, mml(*faces.rule(center)))
    yield faces.after(center, "mml_paper", seed, mml(PAPER.margin, PAPER.weight))


def report(out: Path) -> None:
    """Write `table.md` and `differences.png`."""
    comparison = Comparison.read(out, REFERENCES)
    verification = comparison.held_out(*VERIFICATION)
    parts = ["# Schemes: verification\n", comparison.table(verification)]
    for figure, names in FREQUENCY:
        if comparison.names(names[0]):
            parts += [f"# By class frequency: {figure}\n", comparison.table(names)]
    (out / "table.md").write_text("\n".join(parts))
    save(differences_figure(comparison, verification), out / "differences.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Finish all arms and write the report."""
    compare(
        __doc__,
        "lfw.yaml",
        "folder with train, and sets with pairs; known, if there is one",
        arms_of,
        report,
        arguments,
    )


if __name__ == "__main__":
    main()
