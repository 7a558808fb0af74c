"""Whether the ranks run the same software, on devices of their own, with the same clock."""

import os
import platform
import socket
import time
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch

from lightning_face.distributed.agreement import gather_objects
from lightning_face.doctor.finding import Finding, nodes_of

LIBRARIES = ("torch", "pytorch-lightning", "numpy", "torchvision", "timm", "deepspeed", "safetensors", "simplejpeg")

MAX_CLOCK_DIFFERENCE_S = 1.0


def versions() -> dict[str, str]:
    """Versions by name, as this rank imports them; of this program, a digest of its sources."""
    found = {"python": platform.python_version(), "cuda": str(torch.version.cuda)}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    sources = sorted(Path(__file__).parents[1].rglob("*.py"))
    found["lightning_face"] = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    return found


def check_versions() -> Finding:
    """Every rank must import what rank 0 does; every rank calls."""
    everywhere = gather_objects(versions())
    own = everywhere[0]
    differences = [
        f"{name}: {own[name]} on rank 0, {found[name]} on rank {rank}"
        for name in own
        for rank, found in enumerate(everywhere)
        if found[name] != own[name]
    ]
    if differences:
        more = f", and {len(differences) - 3} more" if len(differences) > 3 else ""
        advice = "start all ranks in one environment or container, at the same path on every node"
        return Finding("fails", "; ".join(differences[:3]) + more, advice)
    shown = ", ".join(f"{name} {own[name]}" for name in ("python", "torch", "pytorch-lightning", "cuda"))
    return Finding("ok", f"{shown}; the same on {_ranks(len(everywhere))}")


class Device(NamedTuple):
    """What a rank computes on; `memory` tells two GPUs of a host apart, `cores` are those that it may use."""

    host: str
    name: str
    memory: str
    cores: int


def own_device(device: torch.device) -> Device:
    """That of this rank."""
    host, cores = socket.gethostname(), len(os.sched_getaffinity(0))
    if device.type != "cuda":
        return Device(host, "CPU", "host", cores)
    properties = torch.cuda.get_device_properties(device)
    return Device(host, properties.name, str(properties.uuid), cores)


def check_devices(devices: Sequence[Device]) -> Finding:
    """Of all ranks, in rank order: no GPU serves two, and no core of a CPU."""
    at: dict[tuple[str, str], list[int]] = {}
    for rank, device in enumerate(devices):
        at.setdefault((device.host, device.memory), []).append(rank)
    shown = ", ".join(f"{count} x {name}" for name, count in Counter(device.name for device in devices).items())
    figure = f"{shown} on {nodes_of(device.host for device in devices)}"
    for (host, memory), ranks in at.items():
        if memory != "host" and len(ranks) > 1:
            advice = "start one rank for each GPU, and let all ranks of a node see all of its GPUs: --gpus-per-node"
            return Finding("fails", f"ranks {ranks} share one {devices[ranks[0]].name} on {host}", advice)
        if memory == "host" and len(ranks) > devices[ranks[0]].cores:
            cores = devices[ranks[0]].cores
            advice = "start fewer ranks there, or give the job more cores"
            return Finding("warning", f"{len(ranks)} ranks share {cores} cores on {host}", advice)
    if len({device.name for device in devices}) > 1:
        return Finding("warning", figure, "the slowest sets the pace of all: ask for nodes of one kind")
    return Finding("ok", figure)


def clocks() -> list[float]:
    """What the clock of each rank shows at about the same moment, seconds; every rank calls."""
    gather_objects(None)
    return gather_objects(time.time())


def check_clocks(times: Sequence[float]) -> Finding:
    """Logs and file times of all nodes are compared by people and by file systems."""
    difference = max(times) - min(times)
    figure = f"{difference:.2f} s apart at most"
    if difference > MAX_CLOCK_DIFFERENCE_S:
        return Finding(
            "warning", f"{figure}, rank {times.index(max(times))} ahead", "have the nodes' clocks set by NTP"
        )
    return Finding("ok", figure)


def _ranks(number: int) -> str:
    return f"all {number} ranks" if number > 1 else "one rank"
