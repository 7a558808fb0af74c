"""Takes the place of `python -m lightning_face fit` in a job, and ends within milliseconds as PLAN says.

PLAN has a word for each attempt: an exit code, with `+` after leaving a newer checkpoint, or `wait`: save at a signal.
"""

import os
import signal
import sys
from pathlib import Path

SIGNALS = {signal.SIGUSR1, signal.SIGTERM}


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    attempt = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    of_slurm = [os.environ.get(f"SLURM_{name}") for name in ("PROCID", "NTASKS", "CPUS_PER_TASK", "STEP_GPUS")]
    print("rank {} of {}, {} CPUs, GPUs {}".format(*of_slurm))
    word = os.environ["PLAN"].split("_")[attempt]
    run_dir = Path(sys.argv[-1])
    (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
    (run_dir / f"arguments-{attempt}").write_text(" ".join(sys.argv[1:]))
    if word == "wait":
        signal.sigwait(SIGNALS)
        (run_dir / "saved").touch()
        return 75
    if word.endswith("+"):
        last = run_dir / "checkpoints" / "last"
        last.unlink(missing_ok=True)
        last.symlink_to(f"step-{attempt + 1:08d}")
    return int(word.rstrip("+"))


if __name__ == "__main__":
    sys.exit(main())
