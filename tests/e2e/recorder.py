"""A callback that writes down which samples each rank trained on."""

from pathlib import Path

from pytorch_lightning import Callback


class RecordIds(Callback):
    """Appends `epoch micro_step id id ...` to a file of the rank's own, once the batch is trained."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        faces, _ = batch
        ids = " ".join(map(str, faces.sample_ids_B.tolist()))
        path = Path(trainer.run_dir) / f"ids-{trainer.world_size}-{trainer.global_rank}.txt"
        with path.open("a") as file:
            file.write(f"{faces.epoch} {faces.micro_step} {ids}\n")


def recorded_ids(run_dir):
    """The ids of each (epoch, micro-step), ranks one after the other; the last attempt counts."""
    steps = {}
    for path in sorted(Path(run_dir).glob("ids-*.txt"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        _, world, rank = path.stem.split("-")
        for line in path.read_text().splitlines():
            epoch, micro_step, *ids = map(int, line.split())
            steps.setdefault((epoch, micro_step), {})[int(world), int(rank)] = ids
    return steps
