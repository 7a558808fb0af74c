"""Every loss of the trainer, at equal budget.

    python -m experiments.all_losses data/lfw runs/all_losses

Scales and margins are smaller than the published ones, which belong to millions of images: this file has all of them in
one table. Center, marginal and range loss train beside softmax; contrastive and triplet loss train alone, FaceNet's
triplet (mined offline, in batches of its own) among semi-hard, hardest-negative, batch-hard and batch-all. MML takes
part in the second half of a run with center loss; `experiments.margin_rule` gives its constants for the arm `center`.
OUT/table.md has means over seeds and paired differences from softmax, OUT/differences.png draws them.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from experiments.arms import Arm
from experiments.command import CONFIGS, carry_out, make_parser
from experiments.comparison import Comparison
from experiments.face_arms import FaceArms, mml
from experiments.plots import differences_figure
from experiments.schemes import MARGINAL, RANGE
from lightning_face.evaluation.drawing import save

SCALE = 24.0
"""Of cosines, for a few thousand classes; published scales are 30 to 64."""


def head(name: str, **options: Any) -> dict[str, Any]:
    """Options of a cosine head."""
    given = {"class_path": name, "init_args": {"scale": SCALE, **options}}
    return {"model.objective.softmax.head": given}


def pairs_alone(name: str, **options: Any) -> dict[str, Any]:
    """Options of a loss over pairs without a classifier."""
    return {"model.objective.softmax": None, f"model.objective.{name}": {"weight": 1.0, **options}}


def triplet(mining: str, **options: Any) -> dict[str, Any]:
    """Options of triplet loss."""
    return pairs_alone("triplet", mining=mining, **options)


WITHOUT_CENTERS: Mapping[str, dict[str, Any]] = {
    "softmax": {},
    "cosface": head("CosFace", margin=0.25),
    "cosface_rarity": head("CosFace", margin=0.35, rarity_power=0.25),
    "arcface": head("ArcFace", margin_rad=0.25),
    "arcface_subcenters": {**head("ArcFace", margin_rad=0.25), "model.objective.softmax.rows_per_class": 3},
    "cosface_sampled": {**head("CosFace", margin=0.25), "model.objective.softmax.sample_rate": 0.3},
    "adaface": head("AdaFace", margin=0.25),
    "magface": head("MagFace", margin_low_rad=0.15, margin_high_rad=0.4, norm_weight=5.0),
    "curricularface": head("CurricularFace", margin_rad=0.25),
    "elastic_cosface": head("ElasticCosFace", margin=0.25),
    "elastic_arcface": head("ElasticArcFace", margin_rad=0.25),
    "sphereface": head("SphereFace", margin=1.5, lambda_start=5.0, lambda_floor=0.0),
    "uniface": head("UniFace", margin=0.2),
    "sphereface2": {**head("SphereFace2", margin=0.2), "model.objective.softmax.weight": 10.0},
    "contrastive": pairs_alone("contrastive"),
    "marginal": {"model.objective.marginal": MARGINAL},
    "range": {"model.objective.range": RANGE},
    # 42 triplets, two images less than a batch of the others.
    "triplet_facenet": {**triplet("offline"), "data.mine_every_n_steps": 20, "data.global_batch_size": 126},
    "triplet_semi_hard": triplet("semi_hard"),
    "triplet_hardest_negative": triplet("hardest_negative"),
    "triplet_batch_hard": triplet("batch_hard", margin=None, squared=False, normalise=False),
    "triplet_batch_all": triplet("batch_all", reduction="mean_nonzero"),
}
"""Options of each loss over those of the config."""

CENTER_UNIT = {**head("CosFace", margin=0.25), "model.objective.center": {"weight": 0.5, "normalise": True}}
WITH_CENTERS = ("center", "center_unit", "center_mml")

APART = ("triplet_facenet",)
"""Mined triplets are an order of data of their own."""

REFERENCES: Mapping[str, str | None] = {
    name: None if name == "softmax" else "softmax" for name in (*WITHOUT_CENTERS, *WITH_CENTERS)
}


def arms_of(faces: FaceArms, seed: int) -> Iterator[Arm]:
    """All arms of a seed."""
    for name, options in WITHOUT_CENTERS.items():
        yield faces.anew(name, seed, {"model.objective.center": None, **options})
    center = faces.anew("center", seed, {})
    yield center
    yield faces.anew("center_unit", seed, CENTER_UNIT)
    yield faces.anew("center_mml", seed, late_mml(faces, center))


def late_mml(faces: FaceArms, center: Arm) -> dict[str, Any]:
    """Options of MML in the second half of a run like a finished one."""
    margin, weight = faces.rule(center)
    return mml(margin, weight, from_step=center.checkpoint.step // 2)


def report(out: Path) -> None:
    """Write `table.md` and `differences.png`."""
    comparison = Comparison.read(out, REFERENCES, apart=APART)
    figures = comparison.held_out("/accuracy", "/auc", "/tar@far=1e-2")
    (out / "table.md").write_text(f"# All losses\n\n{comparison.table(figures)}")
    save(differences_figure(comparison, figures), out / "differences.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Finish all arms and write the report."""
    config = CONFIGS / "experiments" / "lfw.yaml"
    parser = make_parser(__doc__, config, "folder with train, and sets with pairs")
    parser.add_argument("--epochs", type=int, default=20, help="of each arm (default: %(default)s)")
    options = parser.parse_args(arguments)
    faces = FaceArms(options.data, options.out, options.config, options.epochs, further_epochs=0)
    carry_out(partial(arms_of, faces), options, report)


if __name__ == "__main__":
    main()
