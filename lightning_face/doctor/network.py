"""How fast the ranks add up gradients."""

import time

import torch

from lightning_face.distributed.collectives import all_reduce_max_, all_reduce_sum_
from lightning_face.distributed.world import world_size
from lightning_face.doctor.finding import Finding, size_of

LEAST_GB_PER_S = {"cuda": 2.0, "cpu": 0.05}
"""Below, GPUs wait for the network: NCCL has probably fallen back to a slow interface."""

_MOST_BYTES = 2**28


def check_network(device: torch.device, gradient_bytes: int, least_gb_per_s: float | None = None) -> Finding:
    """Time an all-reduce of one number, and one of the network's gradient; every rank calls.

    Args:
        device: of this rank.
        gradient_bytes: of the network; more than 256 MB are measured as 256 MB.
        least_gb_per_s: bus bandwidth that is no warning; default by device.
    """
    num_ranks = world_size()
    if num_ranks == 1:
        return Finding("ok", "one process: nothing to exchange")
    least = LEAST_GB_PER_S[device.type] if least_gb_per_s is None else least_gb_per_s
    num_bytes = min(max(gradient_bytes, 2**20), _MOST_BYTES)
    latency_s = _seconds(torch.zeros(1, device=device), repeats=20)
    seconds = _seconds(torch.zeros(num_bytes // 4, device=device), repeats=3)
    bandwidth = 2 * (num_ranks - 1) / num_ranks * num_bytes / seconds / 1e9
    figure = (
        f"{size_of(num_bytes)} of gradients in {1e3 * seconds:,.1f} ms ({bandwidth:,.2f} GB/s), one number in"
        f" {1e6 * latency_s:,.0f} us"
    )
    if bandwidth < least:
        advice = (
            f"below {least:g} GB/s: see with NCCL_DEBUG=INFO which interface is used, and choose it by"
            " NCCL_SOCKET_IFNAME or NCCL_IB_HCA (gloo: GLOO_SOCKET_IFNAME)"
        )
        return Finding("warning", figure, advice)
    return Finding("ok", figure)


def _seconds(tensor: torch.Tensor, repeats: int) -> float:
    """The median of the slowest rank, after one all-reduce that connects the ranks."""
    times = []
    for _ in range(repeats + 1):
        _wait(tensor.device)
        started = time.perf_counter()
        all_reduce_sum_(tensor)
        _wait(tensor.device)
        times.append(time.perf_counter() - started)
    median = sorted(times[1:])[repeats // 2]
    return float(all_reduce_max_(torch.tensor(median, device=tensor.device)))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
