"""One screen before the first step: what is trained on what, how, and where it is written."""

from pytorch_lightning import Callback
from rich.console import Console
from rich.table import Table

from lightning_face.module import FaceModule
from lightning_face.objectives.objective import Objective
from lightning_face.trainer import FaceTrainer


class Summary(Callback):
    """Prints the summary on rank 0."""

    def on_train_start(self, trainer: FaceTrainer, pl_module: FaceModule) -> None:
        """Print before the first step, when everything is in place."""
        if trainer.is_global_zero:
            Console().print(summary_table(trainer, pl_module))


def summary_table(trainer: FaceTrainer, pl_module: FaceModule) -> Table:
    """The rows of the summary."""
    data, order = trainer.datamodule, trainer.datamodule.order
    accumulation, world = trainer.accumulate_grad_batches, trainer.world_size
    per_rank = order.global_batch_size // world // accumulation
    backbone = pl_module.backbone
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    table = Table(title="lightning_face", show_header=False, title_justify="left")
    rows = {
        "data": f"{order.num_samples:,} images, {data.num_classes:,} identities,"
        f" {len(data.faces.shards.manifest.shards)} shards in {data.faces.shards.source}",
        "verification": ", ".join(data.verification) or "none",
        "identification": ", ".join(data.identification) or "none",
        "model": f"{pl_module.backbone_name}, {parameters:,} parameters, {backbone.embedding_dim}-D,"
        f" {data.image_size}x{data.image_size}{' grey' if data.channels == 1 else ''}",
        "objective": _objective_line(pl_module),
        "class tables": _tables_line(pl_module.objective),
        "ranks": f"{world} x {trainer.strategy.root_device.type}, {type(trainer.strategy).__name__},"
        f" precision {trainer.precision}",
        "batch": f"{order.global_batch_size} = {world} ranks x {per_rank} x {accumulation} micro-batches;"
        f" {order.steps_per_epoch:,} steps an epoch",
        "order": f"{order}, {data.num_workers} workers a rank",
        "starts at": f"step {trainer.global_step:,} (epoch {data.position.epoch}, sample {data.position.consumed:,})",
        "run folder": str(trainer.run_dir),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _tables_line(objective: Objective) -> str:
    tables, held = objective.state(), objective.held()
    parts = [
        f"{name} {f'{len(held[name]):,} classes here' if name in held else 'replicated'}"
        for name, tensor in tables.items()
        if tensor.ndim
    ]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tables.values())
    return f"{', '.join(parts) or 'none'}; {size / 2**20:,.1f} MiB on rank 0"


def _objective_line(pl_module: FaceModule) -> str:
    parts = []
    for name, term in pl_module.objective_config.terms.items():
        head = getattr(term, "head", None)
        what = f"{name} with {type(head).__name__}" if head is not None else name
        parts.append(f"{term.weight:g} x {what} ({term.reduction})")
    return " + ".join(parts)
