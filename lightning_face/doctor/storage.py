"""Whether the run's folder is one for all nodes, and large enough for what will be kept there."""

import contextlib
import os
import secrets
import shutil
import socket
from pathlib import Path

from lightning_face.checkpoint.directory import checkpoints_of
from lightning_face.distributed.agreement import gather_objects, on_every_rank
from lightning_face.distributed.world import rank, world_size
from lightning_face.doctor.finding import Finding, nodes_of, size_of
from lightning_face.errors import ConfigError


def check_run_folder(run_dir: Path) -> Finding:
    """Every rank writes a file there; rank 0 must see all of them, and all must see rank 0's; every rank calls.

    Raises:
        ConfigError: on every rank, if one cannot write.
    """
    token = gather_objects(secrets.token_hex(4))[0]
    probes = [run_dir / f".doctor-{token}-{number}" for number in range(world_size())]
    try:
        on_every_rank(lambda: _write(run_dir, probes[rank()]))
        wanted = range(world_size()) if rank() == 0 else [0]
        unseen = gather_objects([number for number in wanted if not os.path.isfile(probes[number])])
    finally:
        gather_objects(None)  # all have looked
        with contextlib.suppress(OSError):  # what could not be written
            probes[rank()].unlink()
    hosts = gather_objects(socket.gethostname())
    for looking, missing in enumerate(unseen):
        for other in missing:
            figure = f"rank {looking} on {hosts[looking]} does not see what rank {other} on {hosts[other]} wrote"
            return Finding("fails", f"{run_dir}: {figure}", "choose a --run_dir on a file system that all nodes share")
    return Finding("ok", f"{run_dir}, written and seen by {world_size()} ranks on {nodes_of(hosts)}")


def _write(run_dir: Path, probe: Path) -> None:
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise ConfigError(
            f"{run_dir} cannot be written on {socket.gethostname()} ({error.strerror}); choose another --run_dir, or"
            " mend its rights"
        ) from error


def check_space(run_dir: Path, checkpoint_bytes: int, keep: int) -> Finding:
    """Room for the checkpoints that are kept and the one that is being written; quotas are not seen. Every rank calls.

    Args:
        run_dir: there, or to be made.
        checkpoint_bytes: of one checkpoint.
        keep: newest checkpoints; the best and the newest at a multiple of so many steps may come on top.
    """
    free, there = gather_objects(on_every_rank(lambda: _free_and_used(run_dir) if rank() == 0 else (0, 0)))[0]
    wanted = (keep + 3) * checkpoint_bytes - there
    figure = (
        f"{size_of(free)} free; a checkpoint takes {size_of(checkpoint_bytes)}, up to {keep + 2} are kept while another"
        " is written"
    )
    if free < min(2 * checkpoint_bytes, wanted):
        return Finding("fails", figure, "free space, or choose another --run_dir")
    if free < wanted:
        return Finding("warning", figure, "free space, choose another --run_dir, or lower checkpoint.keep")
    return Finding("ok", figure)


def _free_and_used(run_dir: Path) -> tuple[int, int]:
    """Bytes free on the file system, and those of the run's checkpoints."""
    there = next(folder for folder in (run_dir.absolute(), *run_dir.absolute().parents) if folder.is_dir())
    files = [path for path in checkpoints_of(run_dir).glob("step-*/**/*") if path.is_file()]
    return shutil.disk_usage(there).free, sum(path.stat().st_size for path in files)
