"""What a run ends with, to be compared bit for bit."""

import csv

import torch
from safetensors.torch import load_file


def final(run_dir):
    """Everything that training ends with: weights, optimizer, schedule, position, tables."""
    checkpoint = run_dir / "checkpoints" / "last"
    dense = torch.load(checkpoint / "dense.ckpt", weights_only=True)
    kept = ("state_dict", "optimizer_states", "lr_schedulers", "FaceDataModule", "global_step")
    tables = {path.name: load_file(path) for path in sorted(checkpoint.glob("tables-*"))}
    return {name: dense[name] for name in kept} | {"tables": tables}


def differences(one, other, path=""):
    """Paths at which two states are not bit for bit the same."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        return [found for name in one for found in differences(one[name], other[name], f"{path}/{name}")]
    if isinstance(one, list | tuple):
        assert len(one) == len(other), path
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, (a, b) in pairs for found in differences(a, b, f"{path}/{number}")]
    same = torch.equal(one, other) if torch.is_tensor(one) else one == other
    return [] if same else [path]


def losses(run_dir):
    """Loss of each step, as written to metrics.csv."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [(int(row["step"]), float(row["train/loss"])) for row in csv.DictReader(file) if row["train/loss"]]
